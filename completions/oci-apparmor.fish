# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_oci_apparmor_global_optspecs
    string join \n v/verbose color= h/help V/version
end

function __fish_oci_apparmor_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_oci_apparmor_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_oci_apparmor_using_subcommand
    set -l cmd (__fish_oci_apparmor_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -s V -l version -d 'Print version'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "status" -d 'List profiles: source, mode, differences from the source, and users'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "ps" -d 'List containers, their labels, and whether each process has its container\'s label'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "check" -d 'Check whether this node can confine containers, and what to fix'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "explain" -d 'Show which profile a bundle would get, and which rules decide'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "denials" -d 'Show what AppArmor refused, and to which containers'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "why" -d 'Tell whether a loaded profile allows an access, and why'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "report" -d 'Report whether this node confines its containers, and what AppArmor refused'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "metrics" -d 'Print metrics of this node for Prometheus'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "load" -d 'Load profiles from their sources, where the kernel differs from them'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "unload" -d 'Remove a profile from the kernel, unless anything uses it'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "mode" -d 'Set a profile to enforce or complain mode on this node'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "gc" -d 'Remove old records, locks, temporary files and compiled policy'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "lint" -d 'Compile profiles without loading them, and report problems'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "render" -d 'Print AppArmorProfile manifests as AppArmor profiles'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "sync" -d 'Take the profiles that come from a Kubernetes cluster'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "node" -d 'Manage this machine as a node of a Kubernetes cluster'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "configure" -d 'Let an engine call the wrapper'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "unconfigure" -d 'Take the wrapper out of an engine\'s configuration'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "new" -d 'Write a profile to start from, made from the configuration of a container'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "suggest" -d 'Suggest the rules that a profile lacks, from what was denied'
complete -c oci-apparmor -n "__fish_oci_apparmor_needs_command" -f -a "learn" -d 'Run a command while its profile only complains, and suggest the rules that it lacks'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand status" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand status" -l all -d 'Also list everything else that the kernel holds'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand status" -l json -d 'Print a JSON list'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand status" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand ps" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand ps" -l json -d 'Print a JSON list, with every process'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand ps" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand ps" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand check" -l config -d 'Check this configuration instead of the node\'s' -r -F
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand check" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand check" -l json -d 'Print a JSON list'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand check" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand explain" -l id -d 'The container\'s id, as engines give it to the runtime' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand explain" -l config-json -d 'The name of the configuration in the bundle' -r -F
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand explain" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand explain" -l json -d 'Print one JSON object'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand explain" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand denials" -l since -d 'Leave out what is older: an RFC 3339 time, 10m, 2h, boot, or @SECONDS since 1970' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand denials" -l container -d 'Only what is, or may be, of this container: its id, the beginning of a long one, or its name' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand denials" -l pod -d 'Only what is, or may be, of the containers of this pod' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand denials" -l profile -d 'Only what this profile, or a child of it, decided' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand denials" -l source -d 'Where to read: auto, netlink, audit-log, kmsg, journal, a FILE, or - for standard input' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand denials" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand denials" -s f -l follow -d 'Go on with what happens from now on, until a signal; earlier events only with --since'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand denials" -l json -d 'Print one JSON object for each event, and one for the end'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand denials" -l show-denies -d 'Follow, and let the kernel log what explicit deny rules refuse, on the whole node, until the end of this command'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand denials" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand denials" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l container -d 'A container that was made through the wrapper: its id, the beginning of a long one, or its name' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l profile -d 'A loaded profile, a child (web//child), or a stack (web//&base)' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l source -d 'Ask about the profile in this file, instead of the loaded one' -r -F
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l path -d 'A file, as a process under the profile sees it; that of a directory ends with /' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l link-to -d 'With --path: the file that a hard link PATH is made to' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l capability -d 'A capability, for example sys_admin' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l network -d 'A socket, for example inet,stream or inet,raw,icmp' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l signal -d 'A signal, for example term; needs --peer' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l mount -d 'A mount at this directory' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l device -d 'With --mount: what is mounted' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l fstype -d 'With --mount: the type of the file system' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l flags -d 'With --mount: its flags, for example ro,bind' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l umount -d 'An umount of this directory' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l change-profile -d 'A change to this label' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l event -d 'The access of an event: a line of a log' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l peer -d 'The label of the other process, for --signal and --ptrace' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l access -d 'What is done' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l ptrace -d 'Tracing, or reading /proc of another process; needs --peer'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l userns -d 'A new user namespace'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l dangers -d 'Accesses that help an intruder: which of them are allowed?'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l no-lines -d 'Do not look for the lines of the source that decide'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -l json -d 'Print one JSON object'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand report" -l html -d 'Write one HTML page to FILE, which only its owner can read' -r -F
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand report" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand report" -l json -d 'Print one JSON object'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand report" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand metrics" -l output -d 'Replace FILE, whose name ends in .prom, in one step' -r -F
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand metrics" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand metrics" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand metrics" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand load" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand load" -l all -d 'Load all sources of this node, except those in /etc/apparmor.d itself'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand load" -l watch -d 'Stay, and load again whenever a source changes'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand load" -l json -d 'Print a JSON list'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand load" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand load" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unload" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unload" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand mode" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand mode" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand mode" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand gc" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand gc" -l json -d 'Print one JSON object'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand gc" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand gc" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand lint" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand lint" -l strict -d 'Exit with 5 if there are warnings'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand lint" -l json -d 'Print a JSON list'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand lint" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand lint" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand render" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand render" -l json -d 'Print a JSON list, refusals included'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand render" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand render" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand sync" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand sync" -l json -d 'Print one JSON object, as in the status file'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand sync" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand sync" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand node; and not __fish_seen_subcommand_from status" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand node; and not __fish_seen_subcommand_from status" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand node; and not __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand node; and not __fish_seen_subcommand_from status" -f -a "status" -d 'Show what the cluster is told about this node'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand node; and __fish_seen_subcommand_from status" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand node; and __fish_seen_subcommand_from status" -l json -d 'Print one JSON object'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand node; and __fish_seen_subcommand_from status" -l write -d 'Write it into the file that the agent reads, and print it only with --json'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand node; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand node; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand configure" -l config -d 'The file to change, or the drop-in to make; by default the one that is in force here' -r -F
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand configure" -l root -d 'Work on the tree of a node\'s image in this directory, instead of this node' -r -f -a "(__fish_complete_directories)"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand configure" -l runtime-name -d 'The runtime\'s name in the engine; a RuntimeClass has it as its handler' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand configure" -l low-level -d 'The low-level runtime to call; by default the one that the engine calls now' -r -f -a "runc\t'opencontainers/runc'
crun\t'containers/crun'
youki\t'youki-dev/youki'"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand configure" -l programs -d 'The directory of the wrapper\'s links, as the engine will see it' -r -f -a "(__fish_complete_directories)"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand configure" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand configure" -l dry-run -d 'Show what would change, as diff(1) does, without changing it'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand configure" -l set-default -d 'Make it the engine\'s default, for every container that names no other runtime'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand configure" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand configure" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unconfigure" -l config -d 'The file to change, or the drop-in to make; by default the one that is in force here' -r -F
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unconfigure" -l root -d 'Work on the tree of a node\'s image in this directory, instead of this node' -r -f -a "(__fish_complete_directories)"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unconfigure" -l runtime-name -d 'The runtime\'s name in the engine, if configure did not add it' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unconfigure" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unconfigure" -l all -d 'Every engine that was configured'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unconfigure" -l dry-run -d 'Show what would change, as diff(1) does, without changing it'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unconfigure" -l force -d 'Do it even if containers exist that were made through the wrapper'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unconfigure" -l before-uninstall -d 'Exit with 75 if an engine must be restarted before the wrapper can be removed; for install.sh'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unconfigure" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand unconfigure" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand new" -l container -d 'A container that exists: its id, the beginning of it, or its name if it was made through the wrapper' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand new" -l bundle -d 'The bundle of a container: a directory with a config.json' -r -f -a "(__fish_complete_directories)"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand new" -l image-like -d 'Add what a well-known kind of program needs' -r -f -a "nginx\t'A web server or proxy: its configuration, pages, caches and logs'
redis\t'A Redis server: its data, configuration and socket'
postgres\t'A PostgreSQL server: its programs, data, configuration and socket'
python\t'A Python program: the interpreter, its modules, and connections'
shell\t'A shell job: the programs of the image, and temporary files'"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand new" -l output -d 'Write this file instead; - is standard output' -r -F
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand new" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand new" -l force -d 'Replace an existing file'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand new" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand new" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand suggest" -l since -d 'Only events since then: 10m, 2h, boot, 2026-11-26T16:00:00Z' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand suggest" -l from -d 'Logs to read instead of this node\'s; - is standard input' -r -F
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand suggest" -l source -d 'Where events are read from: auto, audit-log, kmsg, journal, a file, or -' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand suggest" -l generalise -d 'When several names become one pattern' -r -f -a "none\t'Never'
some\t'For process ids, UUIDs, hashes, long numbers and random names'
more\t'Also for fewer names that differ in numbers, and for files of one kind in a directory'"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand suggest" -l output -d 'What is printed' -r -f -a "diff\t'The changes, as diff -u prints them'
profile\t'The whole source'
manifest\t'An AppArmorProfile manifest'"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand suggest" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand suggest" -l json -d 'Print one JSON object'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand suggest" -l apply -d 'Replace the source, and load the profile. The old source is kept'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand suggest" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand suggest" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand learn" -l for -d 'Learn for this time, from containers that run already: 10m, 2h' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand learn" -l source -d 'Where events are read from: auto, netlink, kmsg, journal, or a file that grows' -r
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand learn" -l generalise -d 'When several names become one pattern' -r -f -a "none\t'Never'
some\t'For process ids, UUIDs, hashes, long numbers and random names'
more\t'Also for fewer names that differ in numbers, and for files of one kind in a directory'"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand learn" -l output -d 'What is printed' -r -f -a "diff\t'The changes, as diff -u prints them'
profile\t'The whole source'
manifest\t'An AppArmorProfile manifest'"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand learn" -l color -d 'When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand learn" -l json -d 'Print one JSON object'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand learn" -l apply -d 'Replace the source, and load the profile. The old source is kept'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand learn" -s v -l verbose -d 'Report what is being done, on standard error'
complete -c oci-apparmor -n "__fish_oci_apparmor_using_subcommand learn" -s h -l help -d 'Print help (see more with \'--help\')'
