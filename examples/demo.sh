#!/bin/bash
# demo.sh PROGRAMS [KERNEL]: shows oci-apparmor at work, with real containers on this kernel.
# PROGRAMS is where its programs were built, KERNEL is `guest` in a virtual machine that nobody
# else uses; `./install.sh --demo` builds the programs, and finds a kernel.
#
# Every line with a tick is computed from what podman, runc and the kernel said; the first that
# does not hold ends the show with status 1. No network is used, and no storage of others: what
# is made here goes away at the end, but for the profile in the kernel.
set -eu

programs=$1
kernel_is=${2:-native}
examples=$(cd "$(dirname "$0")" && pwd)
profile=oci-apparmor-demo
source=/etc/oci-apparmor/profiles/$profile

# --- Words for people.

bold='' dim='' green='' red='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; fi

step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
# The command as one would type it; `ours` and `work` are written short.
show() {
    local text=$*
    text=${text//"$work/"/}
    printf '  %s$ %s%s\n' "$dim" "${text//"$ours/"/}" "$plain"
}
output() { printf '%s\n' "$1" | sed 's/^/    /'; }
good() { printf '  %s✓ %s%s\n' "$green" "$*" "$plain"; }
fail() {
    printf '  %s✗ %s%s\n' "$red" "$*" "$plain" >&2
    exit 1
}

# expect TEXT OUTPUT WHAT: a tick if OUTPUT has TEXT.
expect() {
    output "$2"
    case $2 in
        *"$1"*) good "$3" ;;
        *) fail "expected in the output above: $1" ;;
    esac
}

# --- What the show needs.

[ "$(id -u)" = 0 ] || fail 'this must be run as root'
for command in podman runc crun apparmor_parser busybox; do
    command -v "$command" >/dev/null || fail "$command is missing; ./install.sh --demo installs it"
done
kernel=/sys/kernel/security/apparmor/profiles
[ -r "$kernel" ] || fail 'this kernel has no AppArmor; ./install.sh --demo starts one that has'
loaded() { grep "^$profile (" "$kernel" || :; }

work=$(mktemp -d /tmp/oci-apparmor-demo.XXXXXX)
ours=$work/libexec
made=''

# podman with a storage of its own, which nobody else sees.
podman=(podman --root "$work/storage" --runroot "$work/runroot" --tmpdir "$work/tmp" --runtime "$ours/crun")
pod() { "${podman[@]}" "$@"; }

clean() {
    status=$?
    set +e
    {
        pod rm --force --time 0 --all
        pod rmi --force --all
        "$ours/runc" --root "$work/runc" delete --force alone
        umount "$work/storage/overlay"
    } >/dev/null 2>&1
    # A storage that is still mounted is not emptied through its mounts.
    rm -rf --one-file-system "$work"
    # shellcheck disable=SC2086 # paths without spaces
    [ -z "$made" ] || rm -rf $made
    exit $status
}
trap clean EXIT
trap 'exit 130' HUP INT TERM

# The wrapper under the name of the runtime that it stands for, as it is installed.
mkdir -p "$ours" "$work/image/bin" "$work/image/data" "$work/image/tmp"
install -m 755 "$programs/oci-apparmor-runtime" "$programs/oci-apparmor" "$work/"
ln -s ../oci-apparmor-runtime "$ours/crun"
ln -s ../oci-apparmor-runtime "$ours/runc"

# An image without a network: one static program under its usual names.
install -m 755 "$(command -v busybox)" "$work/image/bin/busybox"
for name in sh cat sleep echo touch; do ln -s busybox "$work/image/bin/$name"; done
tar -C "$work/image" -cf "$work/image.tar" .
pod import "$work/image.tar" localhost/demo >/dev/null 2>&1 || fail 'podman cannot import an image'

# The source of the profile goes where the node's own are; what was not there is removed later.
for path in /etc/oci-apparmor /etc/oci-apparmor/profiles "$source"; do
    if [ -e "$path" ]; then continue; fi
    made="$made $path"
    case $path in
        "$source") install -m 644 "$examples/$profile" "$source" ;;
        *) install -d -m 755 "$path" ;;
    esac
done
# An earlier show left it loaded; nothing runs under it, or it stays.
if [ -n "$(loaded)" ] && ! grep -qs "^$profile " /proc/[0-9]*/attr/current; then
    apparmor_parser --remove "$source" 2>/dev/null || :
fi

# --- The show.

printf '%sA container names an AppArmor profile, and runs under it or not at all.%s\n' "$bold" "$plain"
echo "$(uname -sr), $(podman --version), $(crun --version | head -n 1), $(runc --version | head -n 1)"

step '1. The profile is a file on this node. The kernel does not know it yet.'
show "cat $source"
output "$(grep -v '^ *#' "$source" | grep -e '^profile' -e 'audit deny')"
show "grep $profile $kernel"
[ -z "$(loaded)" ] || fail "the kernel has it already, and a process runs under it: $(loaded)"
good 'not loaded'

step '2. A container asks for it by an annotation. It is loaded now, and process 1 has it.'
annotation=oci-apparmor/profile=$profile
command="echo secret >/data/from-init; exec sleep 300"
show "podman --runtime $ours/crun run -d --name web --annotation $annotation demo sh -c '$command'"
answer=$(pod run -d --name web --network none --log-driver k8s-file --annotation "$annotation" \
    localhost/demo sh -c "$command" 2>&1) || { output "$answer" && fail 'podman run failed'; }
show "grep $profile $kernel"
expect "$profile (enforce)" "$(loaded)" 'loaded just in time, in enforce mode'
pid=$(pod inspect --format '{{.State.Pid}}' web)
show "cat /proc/$pid/attr/apparmor/current"
expect "$profile (enforce)" "$(cat "/proc/$pid/attr/apparmor/current")" 'process 1 runs under it'

step '3. What the profile denies is denied; what it allows is not.'
show 'podman logs web'
expect 'Permission denied' "$(pod logs web 2>&1)" 'process 1 could not write to /data'
show "podman exec web sh -c 'echo fine >/tmp/file; cat /tmp/file'"
expect fine "$(pod exec web sh -c 'echo fine >/tmp/file; cat /tmp/file' 2>&1)" 'but elsewhere it can'

step '4. What is exec-ed later is confined as well, although podman starts it without the profile.'
show 'podman exec web cat /proc/self/attr/current'
expect "$profile (enforce)" "$(pod exec web cat /proc/self/attr/current 2>&1)" 'the same profile'
show "podman exec web touch /data/from-exec"
expect 'Permission denied' "$(pod exec web touch /data/from-exec 2>&1)" 'and the same denial'

step '5. A profile that does not exist: no container, and one line that says why.'
show "podman --runtime $ours/crun run --annotation oci-apparmor/profile=no-such-profile demo echo started"
answer=$(pod run --rm --network none --annotation oci-apparmor/profile=no-such-profile \
    localhost/demo echo started 2>&1) && fail "it started: $answer"
expect 'the profile no-such-profile, which the annotation "oci-apparmor/profile" asks for, is neither loaded nor found' \
    "$answer" 'refused, and nothing has run'

step '6. The same with runc alone, without an engine.'
mkdir "$work/bundle"
cp -a "$work/image" "$work/bundle/rootfs"
(
    cd "$work/bundle"
    runc spec
    # Two lines of the bundle are of interest here.
    sed -i -e 's|"terminal": true|"terminal": false|' -e 's|"sh"$|"sleep", "300"|' \
        -e "1s|{|{ \"annotations\": { \"oci-apparmor/profile\": \"$profile\" },|" config.json
)
show "oci-apparmor explain bundle"
expect "label $profile" "$("$work/oci-apparmor" explain "$work/bundle" | tr -s ' ')" 'the decision, and the rules that led to it'
show "runc run -d --bundle bundle alone"
"$ours/runc" --root "$work/runc" run -d --bundle "$work/bundle" alone </dev/null >"$work/alone.log" 2>&1 ||
    { output "$(cat "$work/alone.log")" && fail 'runc failed'; }
show "runc exec alone cat /proc/1/attr/current /proc/self/attr/current"
answer=$("$ours/runc" --root "$work/runc" exec alone cat /proc/1/attr/current /proc/self/attr/current 2>&1)
expect "$profile (enforce)"$'\n'"$profile (enforce)" "$answer" 'process 1 and the exec-ed one'

step '7. The kernel has kept an account of it.'
show 'oci-apparmor denials'
# Where auditd runs, it has taken the lines out of the kernel's log.
answer=$({ dmesg; cat /var/log/audit/audit.log 2>/dev/null || :; } |
    "$work/oci-apparmor" denials - | grep -A 1 "^$profile .*/data/from-")
expect '/data/from-exec' "$answer" 'each denial, with the profile, the file and the program'

printf '\n%sAll of it holds.%s' "$bold" "$plain"
if [ "$kernel_is" = native ]; then
    echo " The containers and their storage are removed. The profile stays in this kernel"
    echo "until the next start, or: apparmor_parser --remove $examples/$profile"
else
    echo ' The virtual machine goes away, with all that was in it.'
fi
