#!/bin/bash
# demo.sh PROGRAMS [KERNEL]: demonstrates oci-apparmor with real containers on this kernel.
# PROGRAMS is the directory of its programs. KERNEL is `guest` in a virtual machine of its own.
# `./install.sh --demo` builds the programs and chooses the kernel.
#
# Each line with a tick is checked against the output of podman, runc and the kernel; the first
# check that fails ends the demo with status 1. It uses no network and no existing storage. What it
# creates is removed at the end, except the profile in the kernel.
set -eu

programs=$1
kernel_is=${2:-native}
examples=$(cd "$(dirname "$0")" && pwd)
profile=oci-apparmor-demo
source=/etc/oci-apparmor/profiles/$profile

# shellcheck source=examples/printing.sh
. "$examples/printing.sh"

# --- Requirements.

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

# podman with a separate storage.
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
    # Do not delete through a storage that is still mounted.
    rm -rf --one-file-system "$work"
    # shellcheck disable=SC2086 # paths without spaces
    [ -z "$made" ] || rm -rf $made
    exit $status
}
trap clean EXIT
trap 'exit 130' HUP INT TERM

# The wrapper, linked by the names of the runtimes, as it is installed.
mkdir -p "$ours" "$work/image/bin" "$work/image/data" "$work/image/tmp"
install -m 755 "$programs/oci-apparmor-runtime" "$programs/oci-apparmor" "$work/"
ln -s ../oci-apparmor-runtime "$ours/crun"
ln -s ../oci-apparmor-runtime "$ours/runc"

# An image without network access: one static program under its usual names.
install -m 755 "$(command -v busybox)" "$work/image/bin/busybox"
for name in sh cat sleep echo touch; do ln -s busybox "$work/image/bin/$name"; done
tar -C "$work/image" -cf "$work/image.tar" .
pod import "$work/image.tar" localhost/demo >/dev/null 2>&1 || fail 'podman cannot import an image'

# The profile is installed where the node's profiles are; what did not exist is removed later.
for path in /etc/oci-apparmor /etc/oci-apparmor/profiles "$source"; do
    if [ -e "$path" ]; then continue; fi
    made="$made $path"
    case $path in
        "$source") install -m 644 "$examples/$profile" "$source" ;;
        *) install -d -m 755 "$path" ;;
    esac
done
# An earlier demo left it loaded. Unload it, unless a process runs under it.
if [ -n "$(loaded)" ] && ! grep -qs "^$profile " /proc/[0-9]*/attr/current; then
    apparmor_parser --remove "$source" 2>/dev/null || :
fi

# --- The demo.

printf '%sA container that names an AppArmor profile runs under it, or does not start.%s\n' "$bold" "$plain"
echo "$(uname -sr), $(podman --version), $(crun --version | head -n 1), $(runc --version | head -n 1)"

step '1. The profile is a file on this node. It is not loaded yet.'
show "cat $source"
output "$(grep -v '^ *#' "$source" | grep -e '^profile' -e 'audit deny')"
show "grep $profile $kernel"
[ -z "$(loaded)" ] || fail "it is loaded already, and a process runs under it: $(loaded)"
good 'not loaded'

step '2. A container requests it by an annotation. It is loaded now, and process 1 runs under it.'
annotation=oci-apparmor/profile=$profile
command="echo secret >/data/from-init; exec sleep 300"
show "podman --runtime $ours/crun run -d --name web --annotation $annotation demo sh -c '$command'"
answer=$(pod run -d --name web --network none --log-driver k8s-file --annotation "$annotation" \
    localhost/demo sh -c "$command" 2>&1) || { output "$answer" && fail 'podman run failed'; }
show "grep $profile $kernel"
expect "$profile (enforce)" "$(loaded)" 'loaded when it was needed, in enforce mode'
pid=$(pod inspect --format '{{.State.Pid}}' web)
show "cat /proc/$pid/attr/apparmor/current"
expect "$profile (enforce)" "$(cat "/proc/$pid/attr/apparmor/current")" 'process 1 runs under it'

step '3. The profile denies writing to /data, and allows the rest.'
show 'podman logs web'
expect 'Permission denied' "$(pod logs web 2>&1)" 'process 1 could not write to /data'
show "podman exec web sh -c 'echo fine >/tmp/file; cat /tmp/file'"
expect fine "$(pod exec web sh -c 'echo fine >/tmp/file; cat /tmp/file' 2>&1)" 'it could write elsewhere'

step '4. A process that is exec-ed later is confined as well, although podman starts it without the profile.'
show 'podman exec web cat /proc/self/attr/current'
expect "$profile (enforce)" "$(pod exec web cat /proc/self/attr/current 2>&1)" 'the same profile'
show "podman exec web touch /data/from-exec"
expect 'Permission denied' "$(pod exec web touch /data/from-exec 2>&1)" 'and the same denial'

step '5. A container that names a profile which does not exist is refused, with one line that says why.'
show "podman --runtime $ours/crun run --annotation oci-apparmor/profile=no-such-profile demo echo started"
answer=$(pod run --rm --network none --annotation oci-apparmor/profile=no-such-profile \
    localhost/demo echo started 2>&1) && fail "it started: $answer"
expect 'refused: the profile no-such-profile' "$answer" 'refused; nothing has run'

step '6. The same with runc alone, without an engine.'
mkdir "$work/bundle"
cp -a "$work/image" "$work/bundle/rootfs"
(
    cd "$work/bundle"
    runc spec
    # Only two lines of the bundle are changed.
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

step '7. The kernel has logged the denials.'
show 'oci-apparmor denials'
# If auditd runs, the lines are in its log instead of the kernel's.
answer=$({ dmesg; cat /var/log/audit/audit.log 2>/dev/null || :; } |
    "$work/oci-apparmor" denials - | grep -A 1 "^$profile .*/data/from-")
expect '/data/from-exec' "$answer" 'each denial, with the profile, the file and the program'

printf '\n%sAll checks passed.%s' "$bold" "$plain"
if [ "$kernel_is" = native ]; then
    echo " The containers and their storage are removed. The profile stays loaded until the next"
    echo "boot; to unload it: apparmor_parser --remove $examples/$profile"
else
    echo ' The virtual machine is discarded.'
fi
