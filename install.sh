#!/bin/sh
# Installs oci-apparmor on this machine, or uninstalls it. See `install.sh --help`.
#
# No file is overwritten in place: each is written under another name and renamed, so that a running
# program, or an engine that calls it, sees the old file or the new one.
set -eu

usage() {
    cat <<END
Usage: ./install.sh [OPTION]...

Build oci-apparmor if necessary, and install it. No engine is restarted, and no engine is
configured unless --engine names it.

  --prefix DIR    install below DIR (default: /usr/local)
  --engine NAME   configure containerd, crio, podman or docker to call the wrapper, as
                  "oci-apparmor configure NAME" does; may be repeated
  --set-default   with --engine: for all containers, not only for those that request it
  --destdir DIR   install everything below DIR, for packages and node images; nothing outside DIR
                  is changed, and no service has to run
  --bindir DIR    take existing programs from DIR instead of building them (default in a release
                  archive: bin)
  --dry-run       print what would be done, and change nothing
  --uninstall     remove what was installed, and revert the configuration of engines; your
                  configuration and profiles are kept
  --list          print what is installed: mode, file of this checkout, place
  --force         uninstall even if containers or engines still need the wrapper
  --demo [learn]  build, and demonstrate it with real containers, in a virtual machine if the
                  kernel has no AppArmor; installs only the Debian packages of podman, runc,
                  crun, containerd and, for the virtual machine, QEMU, if they are missing;
                  learn: how a profile is made for a web server and for a shell job
  --help          print this help

Examples:
  ./install.sh
  ./install.sh --engine containerd --set-default
  ./install.sh --destdir /tmp/image --prefix /usr

Installed files:
  PREFIX/bin/                         oci-apparmor, oci-apparmor-runtime
  PREFIX/libexec/oci-apparmor/        oci-apparmor-hook; runc, crun, youki: links to the wrapper
  PREFIX/share/oci-apparmor/          hook files, none of them active; a dashboard for Grafana; the
                                      profile of the agent of a cluster, not active
  PREFIX/lib/systemd/system/          oci-apparmor-preload.service, oci-apparmor-gc.service and
                                      oci-apparmor-metrics.service with their timers,
                                      oci-apparmor-sync.service and its path,
                                      oci-apparmor-node-status.service and its timer; not enabled
  PREFIX/lib/tmpfiles.d/              the directories for profiles from a Kubernetes cluster
  PREFIX/share/man/, PREFIX/share/doc/oci-apparmor/
  PREFIX/share/                       completions for bash, zsh and fish, where these look for them
  /etc/oci-apparmor/config.toml       never overwritten; a newer version becomes config.toml.new
  /etc/oci-apparmor/profiles/         for your profiles
  /etc/oci-apparmor/engines/          with --engine: what was changed, to revert it
END
}

die() {
    echo "install.sh: $*" >&2
    exit 1
}

# --- The command line.

prefix=/usr/local
destdir=
bindir=
engines=
set_default=
dry_run=
force=
demo=demo
action=install
while [ $# -gt 0 ]; do
    case $1 in
        --prefix | --destdir | --bindir)
            [ $# -ge 2 ] || die "$1 needs a directory; see --help"
            case $2 in -*) die "$1 needs a directory, not $2" ;; esac
            option=$1 value=$2
            shift
            ;;
        --engine)
            [ $# -ge 2 ] || die "$1 needs a name; see --help"
            option=$1 engines="$engines $2"
            shift
            ;;
        --engine=*) option=$1 engines="$engines ${1#*=}" ;;
        --set-default) option=$1 set_default=$1 ;;
        --prefix=* | --destdir=* | --bindir=*) option=${1%%=*} value=${1#*=} ;;
        --dry-run) option=$1 dry_run=1 ;;
        --list) option=$1 action=list ;;
        --force) option=$1 force=$1 ;;
        --uninstall) option=$1 action=uninstall ;;
        --demo)
            option=$1 action=demo
            case ${2:-} in learn) demo=learn && shift ;; esac
            ;;
        --help | -h) usage && exit 0 ;;
        *) die "unknown option $1; see --help" ;;
    esac
    shift
    case $option in --prefix) prefix=$value ;; --destdir) destdir=$value ;; --bindir) bindir=$value ;; esac
done

for engine in $engines; do
    case $engine in
        containerd | crio | podman | docker) ;;
        *) die "--engine must be containerd, crio, podman or docker, not '$engine'" ;;
    esac
done
[ -z "$set_default" ] || [ -n "$engines" ] || die '--set-default needs --engine'
[ -z "$engines" ] || [ "$action" = install ] || die '--engine is for installing'

# The working directory matters only for directories on the command line.
case $prefix in /*) ;; *) die "--prefix must be an absolute path, not '$prefix'" ;; esac
case $prefix in *[!A-Za-z0-9/._+-]*) die "--prefix has a character that hook files cannot hold" ;; esac
prefix=${prefix%/}
case $destdir in '' | /*) ;; *) destdir=$PWD/$destdir ;; esac
destdir=${destdir%/}
case $bindir in '' | /*) ;; *) bindir=$PWD/$bindir ;; esac
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"

# Paths as they will be on the node; with --destdir, the files are written below that directory.
bin=$prefix/bin
libexec=$prefix/libexec/oci-apparmor
share=$prefix/share/oci-apparmor
doc=$prefix/share/doc/oci-apparmor
man=$prefix/share/man
completions=$prefix/share/bash-completion/completions
units=$prefix/lib/systemd/system
tmpfiles=$prefix/lib/tmpfiles.d
etc=/etc/oci-apparmor

# --- What is installed: MODE FILE PLACE. `PROGRAMS` is the directory of the built programs.

files() {
    cat <<END
0755 PROGRAMS/oci-apparmor $bin/oci-apparmor
0755 PROGRAMS/oci-apparmor-runtime $bin/oci-apparmor-runtime
0755 PROGRAMS/oci-apparmor-hook $libexec/oci-apparmor-hook
0644 hooks/oci-apparmor.json $share/hooks.d/oci-apparmor.json
0644 hooks/always/oci-apparmor.json $share/always-hooks.d/oci-apparmor.json
0644 hooks/podman/oci-apparmor-precreate.json $share/podman-hooks.d/oci-apparmor-precreate.json
0644 config/systemd/oci-apparmor-preload.service $units/oci-apparmor-preload.service
0644 config/systemd/oci-apparmor-gc.service $units/oci-apparmor-gc.service
0644 config/systemd/oci-apparmor-gc.timer $units/oci-apparmor-gc.timer
0644 config/systemd/oci-apparmor-metrics.service $units/oci-apparmor-metrics.service
0644 config/systemd/oci-apparmor-metrics.timer $units/oci-apparmor-metrics.timer
0644 config/systemd/oci-apparmor-node-status.service $units/oci-apparmor-node-status.service
0644 config/systemd/oci-apparmor-node-status.timer $units/oci-apparmor-node-status.timer
0644 config/systemd/oci-apparmor-sync.service $units/oci-apparmor-sync.service
0644 config/systemd/oci-apparmor-sync.path $units/oci-apparmor-sync.path
0644 config/tmpfiles.d/oci-apparmor.conf $tmpfiles/oci-apparmor.conf
0644 config/grafana/oci-apparmor.json $share/grafana/oci-apparmor.json
0644 deploy/node/oci-apparmor-agent $share/profiles/oci-apparmor-agent
0644 docs/man/oci-apparmor.8 $man/man8/oci-apparmor.8
0644 docs/man/oci-apparmor-check.8 $man/man8/oci-apparmor-check.8
0644 docs/man/oci-apparmor-configure.8 $man/man8/oci-apparmor-configure.8
0644 docs/man/oci-apparmor-denials.8 $man/man8/oci-apparmor-denials.8
0644 docs/man/oci-apparmor-explain.8 $man/man8/oci-apparmor-explain.8
0644 docs/man/oci-apparmor-gc.8 $man/man8/oci-apparmor-gc.8
0644 docs/man/oci-apparmor-learn.8 $man/man8/oci-apparmor-learn.8
0644 docs/man/oci-apparmor-lint.8 $man/man8/oci-apparmor-lint.8
0644 docs/man/oci-apparmor-load.8 $man/man8/oci-apparmor-load.8
0644 docs/man/oci-apparmor-metrics.8 $man/man8/oci-apparmor-metrics.8
0644 docs/man/oci-apparmor-mode.8 $man/man8/oci-apparmor-mode.8
0644 docs/man/oci-apparmor-new.8 $man/man8/oci-apparmor-new.8
0644 docs/man/oci-apparmor-node.8 $man/man8/oci-apparmor-node.8
0644 docs/man/oci-apparmor-node-install.8 $man/man8/oci-apparmor-node-install.8
0644 docs/man/oci-apparmor-node-status.8 $man/man8/oci-apparmor-node-status.8
0644 docs/man/oci-apparmor-node-uninstall.8 $man/man8/oci-apparmor-node-uninstall.8
0644 docs/man/oci-apparmor-ps.8 $man/man8/oci-apparmor-ps.8
0644 docs/man/oci-apparmor-render.8 $man/man8/oci-apparmor-render.8
0644 docs/man/oci-apparmor-report.8 $man/man8/oci-apparmor-report.8
0644 docs/man/oci-apparmor-status.8 $man/man8/oci-apparmor-status.8
0644 docs/man/oci-apparmor-suggest.8 $man/man8/oci-apparmor-suggest.8
0644 docs/man/oci-apparmor-sync.8 $man/man8/oci-apparmor-sync.8
0644 docs/man/oci-apparmor-unconfigure.8 $man/man8/oci-apparmor-unconfigure.8
0644 docs/man/oci-apparmor-unload.8 $man/man8/oci-apparmor-unload.8
0644 docs/man/oci-apparmor-why.8 $man/man8/oci-apparmor-why.8
0644 docs/man/oci-apparmor-runtime.8 $man/man8/oci-apparmor-runtime.8
0644 docs/man/oci-apparmor-hook.8 $man/man8/oci-apparmor-hook.8
0644 docs/man/oci-apparmor.toml.5 $man/man5/oci-apparmor.toml.5
0644 completions/oci-apparmor.bash $completions/oci-apparmor
0644 completions/_oci-apparmor $prefix/share/zsh/site-functions/_oci-apparmor
0644 completions/oci-apparmor.fish $prefix/share/fish/vendor_completions.d/oci-apparmor.fish
0644 README.md $doc/README.md
0644 SECURITY.md $doc/SECURITY.md
0644 CHANGELOG.md $doc/CHANGELOG.md
0644 LICENSE $doc/LICENSE
0644 hooks/README.md $doc/hooks/README.md
0644 examples/oci-apparmor-demo $doc/examples/oci-apparmor-demo
0644 examples/kubernetes/beta-annotation.yaml $doc/examples/kubernetes/beta-annotation.yaml
0644 examples/kubernetes/container-annotation.yaml $doc/examples/kubernetes/container-annotation.yaml
0644 examples/kubernetes/field-and-annotation.yaml $doc/examples/kubernetes/field-and-annotation.yaml
0644 examples/kubernetes/field.yaml $doc/examples/kubernetes/field.yaml
0644 examples/kubernetes/pod-annotation.yaml $doc/examples/kubernetes/pod-annotation.yaml
0644 examples/kubernetes/runtime-default.yaml $doc/examples/kubernetes/runtime-default.yaml
0644 examples/kubernetes/runtimeclass.yaml $doc/examples/kubernetes/runtimeclass.yaml
0644 examples/kubernetes/web-read-only-pod.yaml $doc/examples/kubernetes/web-read-only-pod.yaml
0644 examples/kubernetes/web-read-only.yaml $doc/examples/kubernetes/web-read-only.yaml
0644 docs/architecture.md $doc/docs/architecture.md
0644 docs/configuration.md $doc/docs/configuration.md
0644 docs/engines.md $doc/docs/engines.md
0644 docs/formats.md $doc/docs/formats.md
0644 docs/cluster.md $doc/docs/cluster.md
0644 docs/kubernetes.md $doc/docs/kubernetes.md
0644 docs/learning.md $doc/docs/learning.md
0644 docs/limits.md $doc/docs/limits.md
0644 docs/monitoring.md $doc/docs/monitoring.md
0644 docs/performance.md $doc/docs/performance.md
0644 docs/performance.svg $doc/docs/performance.svg
0644 docs/podman.md $doc/docs/podman.md
0644 docs/policy.md $doc/docs/policy.md
0644 docs/profiles.md $doc/docs/profiles.md
0644 docs/troubleshooting.md $doc/docs/troubleshooting.md
END
}

# Links to the wrapper. The name tells the wrapper which runtime to run, and engines that look at
# the name of a runtime see one that they know.
links='runc crun youki'

# The directories that uninstalling removes, the innermost first.
directories() {
    cat <<END
$share/hooks.d
$share/always-hooks.d
$share/podman-hooks.d
$share/grafana
$share/profiles
$share
$doc/docs
$doc/hooks
$doc/examples/kubernetes
$doc/examples
$doc
$libexec
END
}

# --- Change the system, or print the change.

# run COMMAND ARG...: runs the command, or prints it.
run() {
    if [ -n "$dry_run" ]; then
        echo "would run: $*"
    else
        "$@"
    fi
}

said() {
    if [ -n "$dry_run" ]; then echo "would $1 $2"; else echo "$3 $2"; fi
}

owner=
[ "$(id -u)" != 0 ] || owner='-o root -g root'
context=
if command -v selinuxenabled >/dev/null && selinuxenabled; then context=-Z; fi

# has MODE FILE PLACE: whether PLACE already has this content, mode and owner.
has() {
    [ -f "$3" ] && [ ! -L "$3" ] || return 1
    cmp -s "$2" "$3" || return 1
    [ "$(stat -c %a "$3")" = "${1#0}" ] || return 1
    [ -z "$owner" ] || [ "$(stat -c %u:%g "$3")" = 0:0 ]
}

# directory PLACE: creates it and its parents.
announced=
directory() {
    [ ! -d "$destdir$1" ] || return 0
    if [ "$1" = / ]; then
        run mkdir -p "$destdir" || die "cannot make $destdir"
        return
    fi
    case $announced in *" $1 "*) return 0 ;; esac
    directory "$(dirname "$1")"
    announced="$announced $1 "
    said 'make the directory' "$destdir$1" 'made the directory'
    # shellcheck disable=SC2086 # several words, or none
    [ -n "$dry_run" ] || install -d $context -m 0755 $owner "$destdir$1" || exit 1
}

# put MODE FILE PLACE: installs a file with rename(2).
put() {
    if has "$1" "$2" "$destdir$3"; then
        echo "unchanged $destdir$3"
        return
    fi
    directory "$(dirname "$3")"
    said install "$destdir$3" installed
    [ -z "$dry_run" ] || return 0
    temporary=$destdir$(dirname "$3")/.$(basename "$3").new.$$
    # shellcheck disable=SC2086 # several words, or none
    if ! install $context -m "$1" $owner "$2" "$temporary" || ! mv -f "$temporary" "$destdir$3"; then
        rm -f "$temporary"
        die "cannot install $destdir$3"
    fi
}

# link TARGET PLACE: creates a symbolic link with rename(2).
link() {
    if [ -L "$destdir$2" ] && [ "$(readlink "$destdir$2")" = "$1" ]; then
        echo "unchanged $destdir$2"
        return
    fi
    directory "$(dirname "$2")"
    said link "$destdir$2 -> $1" linked
    [ -z "$dry_run" ] || return 0
    ln -s "$1" "$destdir$2.new.$$"
    mv -fT "$destdir$2.new.$$" "$destdir$2"
}

# take PLACE: removes a file or a link.
take() {
    [ -e "$destdir$1" ] || [ -L "$destdir$1" ] || return 0
    said remove "$destdir$1" removed
    [ -n "$dry_run" ] || rm -f "$destdir$1"
}

# --- Requirements.

# packages NAME...: installs Debian packages; on other distributions, it names what is missing.
packages() {
    if [ -n "$dry_run" ]; then
        echo "would install the packages: $*"
        return
    fi
    [ "$(id -u)" = 0 ] || die "must be root to install the packages: $*"
    command -v apt-get >/dev/null || die "missing: $*; install these packages of your distribution"
    echo "installing the packages: $*"
    apt-get -qq update || echo 'install.sh: apt-get update failed; going on' >&2
    messages=$(DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 install \
        --no-install-recommends "$@" </dev/null 2>&1) ||
        die "apt-get could not install $*: $(echo "$messages" | tail -n 1)"
}

# Finds cargo and rustc. With `sudo`, the calling user builds: the toolchain and the checkout belong
# to that user, and sudo has shortened PATH.
toolchain() {
    home=${HOME:-/root}
    as_builder=
    if [ "$(id -u)" = 0 ] && [ "${SUDO_UID:-0}" != 0 ] && [ "$(stat -c %u "$here")" = "$SUDO_UID" ]; then
        home=$(getent passwd "$SUDO_UID" | cut -d: -f6)
        as_builder="setpriv --reuid $SUDO_UID --regid $SUDO_GID --init-groups env HOME=$home"
    fi
    cargo_bin=${CARGO_HOME:-$home/.cargo}/bin
    if [ -x "$cargo_bin/cargo" ]; then PATH=$cargo_bin:$PATH; fi
    command -v cargo >/dev/null ||
        die 'cargo is missing: install a Rust toolchain (https://rustup.rs), or give --bindir'
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    # shellcheck disable=SC2086 # several words, or none
    version=$($as_builder rustc -vV) || die 'rustc does not run'
    host=$(echo "$version" | sed -n 's/^host: //p')
    version=$(echo "$version" | sed -n 's/^release: //p')
    [ "$(printf '%s\n' "$needed" "$version" | sort -V | head -n 1)" = "$needed" ] ||
        die "Rust $version is too old; $needed is needed (rustup update stable)"
}

# architecture PROGRAM: class, byte order and machine of its ELF header (elf(5)).
architecture() {
    od -A n -t x1 -N 20 "$1" | tr -d ' \n' | cut -c 9-12,37-40
}

# current DIR: whether it has the programs, for this machine, and not older than their sources.
current() {
    crates=
    [ ! -d crates ] || crates=crates
    for name in oci-apparmor oci-apparmor-runtime oci-apparmor-hook; do
        [ -x "$1/$name" ] || return 1
        [ "$(architecture "$1/$name")" = "$(architecture /proc/self/exe)" ] || return 1
        # shellcheck disable=SC2086 # one word, or none
        [ -z "$(find src $crates Cargo.toml Cargo.lock .cargo -newer "$1/$name" | head -n 1)" ] || return 1
    done
}

# trusted PATH: refuses it if a user other than root could replace what will be there, because engines
# run that as root. `oci-apparmor configure` and `check` would refuse it, too, with the same message
# (SECURITY.md says why); this check is made before anything is changed.
trusted() {
    above=$1
    while [ ! -d "$above" ]; do above=$(dirname "$above"); done
    for at in "$above" "$(readlink -f "$above")"; do
        while :; do
            judge "$at"
            [ "$at" != / ] || break
            at=$(dirname "$at")
        done
    done
}

# judge DIRECTORY: adds it to $open if its group or others can replace files in it. In a sticky
# directory that only its group can write, such as /nix/store, they cannot (SECURITY.md).
open=
judge() {
    [ ! -L "$1" ] || return 0
    uid=$(stat -c %u "$1") bits=$(stat -c %a "$1")
    [ "$uid" = 0 ] ||
        die "$1 belongs to uid $uid, not to root, so engines must not run what is below it; give --prefix another directory, as /opt/oci-apparmor"
    [ $((0$bits & 022)) != 0 ] && [ $((0$bits & 01022)) != $((01020)) ] || return 0
    why="$1 is writable by group or others (mode $bits, group $(stat -c %g "$1"))"
    # A directory such as /tmp, whose mode is intended.
    [ $((0$bits & 01000)) = 0 ] || die "$why, so engines must not run what is below it; give --prefix another directory, as /opt/oci-apparmor"
    case " $open " in *" $1 "*) return 0 ;; esac
    open="$open $1"
}

# Sets `bindir` to the directory of the programs, and builds them if necessary.
programs() {
    # A release archive has them, and no source.
    if [ -z "$bindir" ] && [ ! -e Cargo.toml ]; then bindir=$here/bin; fi
    if [ -n "$bindir" ]; then
        for name in oci-apparmor oci-apparmor-runtime oci-apparmor-hook; do
            [ -x "$bindir/$name" ] || die "$bindir has no program $name"
        done
        return
    fi
    for bindir in "$here"/target/*/release; do
        if current "$bindir"; then return; fi
    done
    missing=
    command -v cc >/dev/null || missing='gcc'
    # Static programs need libc.a.
    case $(cc -print-file-name=libc.a 2>/dev/null) in */*) ;; *) missing="$missing libc6-dev" ;; esac
    # shellcheck disable=SC2086 # one word per package
    [ -z "$missing" ] || packages $missing
    toolchain
    triple=$host
    musl=${host%%-*}-unknown-linux-musl
    # shellcheck disable=SC2086 # several words, or none
    if $as_builder rustup target list --installed 2>/dev/null | grep -qx "$musl"; then triple=$musl; fi
    # shellcheck disable=SC2086
    target=$($as_builder cargo metadata --format-version 1 --no-deps --offline 2>/dev/null |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    bindir=${target:-$here/target}/$triple/release
    [ -n "$dry_run" ] || echo "building in $bindir (a minute or two the first time)"
    # shellcheck disable=SC2086
    run $as_builder cargo build --quiet --release --locked --target "$triple" || die 'the build failed'
}

# --- What still needs the programs.

# The ids of containers that have a record, whether or not they still exist.
recorded() {
    for record in "$destdir"/run/oci-apparmor/containers/*/*; do
        [ ! -f "$record" ] || printf '%s ' "$(basename "$record")"
    done
}

# The containers that exist and were created through the wrapper, with a profile or without one:
# engines call the programs by their path until the last of them is deleted.
containers() {
    program=$(ours)
    if [ -n "$destdir" ] || [ -z "$program" ]; then
        recorded
    else
        "$program" living
    fi
}

# Files that make an engine call the wrapper.
callers() {
    for file in "$destdir"/etc/containerd/config.toml "$destdir"/etc/containerd/conf.d/* \
        "$destdir"/var/lib/rancher/*/agent/etc/containerd/*.tmpl \
        "$destdir"/var/lib/rancher/*/agent/etc/containerd/*.toml.d/* \
        "$destdir"/etc/k0s/containerd.toml "$destdir"/etc/k0s/containerd.d/* \
        "$destdir"/var/snap/microk8s/current/args/containerd-template.toml \
        "$destdir"/etc/crio/crio.conf "$destdir"/etc/crio/crio.conf.d/* \
        "$destdir"/etc/containers/containers.conf "$destdir"/etc/containers/containers.conf.d/* \
        "$destdir"/etc/docker/daemon.json \
        "$destdir"/usr/share/containers/oci/hooks.d/* "$destdir"/etc/containers/oci/hooks.d/*; do
        [ ! -f "$file" ] || ! grep -v '^[[:space:]]*#' "$file" | grep -qF -e "$libexec/" \
            -e "$bin/oci-apparmor-runtime" || printf '%s ' "$file"
    done
}

# The enabled units of oci-apparmor.
enabled() {
    for unit in oci-apparmor-preload.service oci-apparmor-gc.timer oci-apparmor-metrics.timer \
        oci-apparmor-sync.path oci-apparmor-sync.service oci-apparmor-node-status.timer; do
        for link in "$destdir"/etc/systemd/system/*/"$unit"; do
            [ ! -L "$link" ] || printf '%s ' "$unit"
        done
    done
}

# --- Engines.

# The program that was built, or else the installed one.
ours() {
    for program in ${bindir:+"$bindir/oci-apparmor"} "$destdir$bin/oci-apparmor"; do
        if [ -x "$program" ]; then
            echo "$program"
            return
        fi
    done
}

# configure NAME: makes an engine call the wrapper.
configure() {
    if [ -n "$dry_run" ] && { [ -z "$(ours)" ] || [ ! -e "$destdir$libexec/runc" ]; }; then
        echo "would configure $1"
        return
    fi
    # shellcheck disable=SC2086 # one word, or none
    "$(ours)" configure "$1" --root "${destdir:-/}" --programs "$libexec" \
        $set_default ${dry_run:+--dry-run} || die "installed, but $1 is not configured"
}

# Reverts the configuration of engines. A running engine calls the wrapper until it is restarted.
unconfigure() {
    [ -d "$destdir$etc/engines" ] || return 0
    program=$(ours)
    [ -n "$program" ] || return 0
    status=0
    # shellcheck disable=SC2086 # one word, or none
    "$program" unconfigure --all --before-uninstall --root "${destdir:-/}" $force ${dry_run:+--dry-run} || status=$?
    case $status in
        0) ;;
        75) [ -n "$force" ] || die 'not uninstalled yet: restart the engines as said above, so that they do not call it any more, and run this again (or give --force)' ;;
        *) die 'not uninstalled: engines could not be configured back' ;;
    esac
}

# --- The three actions.

install_all() {
    if [ -z "$destdir" ]; then
        [ "$(id -u)" = 0 ] || [ -n "$dry_run" ] || die 'must be root to install (or give --destdir)'
        trusted "$bin"
        trusted "$libexec"
        [ -z "$open" ] || die "$why, so others than root could replace what engines run as root; run: chmod go-w$open; or give --prefix another directory, as /opt/oci-apparmor"
        [ -x /sbin/apparmor_parser ] || [ -x /usr/sbin/apparmor_parser ] || packages apparmor
    fi
    programs
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
    while read -r mode file place; do
        case $file in
            PROGRAMS/*) file=$bindir/${file#PROGRAMS/} ;;
            *.json)
                sed "s|@LIBEXECDIR@|$libexec|" "$file" >"$scratch/hook.json"
                file=$scratch/hook.json
                ;;
            *.service)
                sed "s|@BINDIR@|$bin|" "$file" >"$scratch/unit.service"
                file=$scratch/unit.service
                ;;
        esac
        if [ ! -f "$file" ] && [ -n "$dry_run" ]; then
            echo "would install $destdir$place"
        else
            put "$mode" "$file" "$place"
        fi
    done <<END
$(files)
END
    for name in $links; do link ../../bin/oci-apparmor-runtime "$libexec/$name"; done
    directory "$etc/profiles"
    if [ ! -e "$destdir$etc/config.toml" ] && [ ! -L "$destdir$etc/config.toml" ]; then
        put 0644 config/config.toml "$etc/config.toml"
    elif cmp -s config/config.toml "$destdir$etc/config.toml"; then
        echo "unchanged $destdir$etc/config.toml"
    else
        echo "kept $destdir$etc/config.toml, which is yours"
        put 0644 config/config.toml "$etc/config.toml.new"
    fi

    for engine in $engines; do configure "$engine"; done

    [ -z "$destdir$dry_run" ] || return 0
    program=$bin/oci-apparmor
    if [ "$(command -v oci-apparmor || :)" = "$program" ]; then program=oci-apparmor; fi
    # systemd finds units below these two prefixes (systemd.unit(5)); others need the path.
    below='' spool=oci-apparmor.conf known='systemctl daemon-reload' metrics='systemctl daemon-reload'
    case $prefix in /usr | /usr/local) ;; *) below=$units/ known="systemctl link $units/oci-apparmor-gc.service" metrics="systemctl link $units/oci-apparmor-metrics.service" spool=$tmpfiles/oci-apparmor.conf ;; esac
    cat <<END

Installed. Check this node:
  $program check
Try it, for example:
  podman --runtime $libexec/crun run --annotation oci-apparmor/profile=NAME IMAGE
Make an engine call the wrapper (containerd, crio, podman, docker):
  $program configure ENGINE
Load all profiles at boot, before the engines start, and whenever their files change:
  systemctl daemon-reload && systemctl enable --now ${below}oci-apparmor-preload.service
Remove old records, locks and compiled policy once a day:
  $known && systemctl enable --now ${below}oci-apparmor-gc.timer
Write metrics for node_exporter once a minute:
  $metrics && systemctl enable --now ${below}oci-apparmor-metrics.timer
Make the directories for profiles from a Kubernetes cluster (docs/cluster.md):
  systemd-tmpfiles --create $spool
END
}

uninstall() {
    [ "$(id -u)" = 0 ] || [ -n "$destdir$dry_run" ] || die 'must be root to uninstall'
    if [ -z "$force" ]; then
        ids=$(containers) || die 'not uninstalled: it cannot be told which containers need it (give --force)'
        [ -z "$ids" ] || die "not uninstalled: these containers were made through it and are not deleted yet: ${ids% }; delete them, or give --force"
        ids=$(recorded)
        [ -z "$ids" ] || die "not uninstalled: there are records of containers that are gone: ${ids% }; run: oci-apparmor gc, or give --force"
        active=$(enabled)
        [ -z "$active" ] || die "not uninstalled: systemd starts ${active% }; run: systemctl disable --now ${active% }, or give --force"
        unconfigure
        using=$(callers)
        [ -z "$using" ] || die "not uninstalled: still named in ${using% }; change that and restart the engine, or give --force"
    else
        unconfigure
    fi
    for name in $links; do take "$libexec/$name"; done
    files | while read -r _ _ place; do take "$place"; done
    take "$etc/config.toml.new"
    directories | while read -r place; do
        [ -d "$destdir$place" ] || continue
        said 'remove the directory' "$destdir$place" 'removed the directory'
        [ -n "$dry_run" ] || rmdir "$destdir$place" 2>/dev/null || echo "kept $destdir$place, which is not empty"
    done
    echo "kept $destdir$etc with its configuration and profiles, and what is loaded in the kernel"
}

demo() {
    [ -z "$destdir" ] || die '--demo installs nothing, so it takes no --destdir'
    [ -e tests/vm/setup ] || die '--demo needs a checkout of the source, with its tests'
    if [ -n "$dry_run" ]; then
        echo "would build, prepare this machine (tests/vm/setup) and run examples/$demo.sh"
        return
    fi
    [ "$(id -u)" = 0 ] || die 'must be root for --demo: it starts containers and loads a profile'
    programs
    tests/vm/setup
    nginx=/
    if [ "$demo" = learn ]; then nginx; fi
    kernel=native
    if tests/vm/native; then
        echo 'This kernel has AppArmor: the containers run right here.'
    else
        kernel=guest
        echo 'This kernel has no AppArmor: the containers run in a virtual machine, which sees'
        echo 'the files of this one and leaves nothing behind. It needs a few seconds to start.'
    fi
    exec tests/vm/run --timeout 600 -- "$here/examples/$demo.sh" "$bindir" "$kernel" "$nginx"
}

# Sets `nginx` to a directory with the files of Debian's nginx. The package is not installed: that
# would start a web server on this machine.
nginx() {
    [ ! -x /usr/sbin/nginx ] || return 0
    nginx=$here/target/demo-nginx
    [ ! -x "$nginx/usr/sbin/nginx" ] || return 0
    command -v apt-get >/dev/null || die 'nginx is missing; install this package of your distribution'
    echo 'fetching the packages nginx and nginx-common, to unpack them'
    rm -rf "$nginx"
    mkdir -p "$nginx/packages"
    apt-get -qq update || echo 'install.sh: apt-get update failed; going on' >&2
    (
        cd "$nginx/packages"
        apt-get -qq -o APT::Sandbox::User=root download nginx nginx-common
        for package in *.deb; do dpkg-deb -x "$package" ..; done
    ) || die 'apt-get could not download nginx'
}

case $action in
    install) install_all ;;
    list) files ;;
    uninstall) uninstall ;;
    demo) demo ;;
esac
