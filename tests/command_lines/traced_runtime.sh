#!/bin/sh
# sh traced_runtime.sh ROOT DIRECTORY INJECTION
#
# As the first process of a mount and PID namespace of its own: runs DIRECTORY/calls, a script, in
# the tree ROOT, and writes what it asks of files to DIRECTORY/trace. The low-level runtimes that
# it calls find containers that are running, cannot change anything, and cannot send a signal.
set -e
root=${1%/} directory=$2 injection=$3
if [ -n "$root" ]; then
    mount --rbind /proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
fi
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --bind "$directory" "$root/mnt"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs tmp "$root/tmp"

# Every container is this process.
started=$(cut -d ' ' -f 22 /proc/1/stat)
sed -i "s/@STARTED@/$started/" "$root/mnt/state/state.json" "$root/mnt/state/status"
for roots in "$root"/mnt/t/r? "$root/run/runc" "$root/run/xdg/crun"; do
    mkdir -p "$roots"
    while read -r id; do
        cp -r "$root/mnt/state" "$roots/$id"
    done <"$root/mnt/ids"
done

mount -o remount,ro "$root/run"
mount --bind "$root/mnt/t" "$root/mnt/t"
mount -o remount,bind,ro "$root/mnt/t"
mount -t tmpfs w "$root/mnt/t/w"
cd "$root/mnt"
strace -f --seccomp-bpf -s 4096 -o "$root/mnt/trace" \
    -e inject=kill,pidfd_send_signal:"$injection" -e trace=%file,kill,pidfd_send_signal \
    chroot "${root:-/}" env -i GOMAXPROCS=1 GOGC=off PATH=/usr/sbin:/usr/bin:/sbin:/bin XDG_RUNTIME_DIR=/run/xdg \
    sh /mnt/calls
