#!/bin/sh
# in_root.sh TREE PACKAGES DIRECTORY COMMAND: runs a command of the shell in a root tree of Debian, in
# namespaces of its own. What it changes is in memory, and gone afterwards. It finds PACKAGES as
# /mnt; DIRECTORY is an empty one to mount things on.
set -eu
tree=$1 packages=$2 directory=$3 command=$4
if [ -z "${IN_ROOT_NAMESPACES:-}" ]; then
    exec env IN_ROOT_NAMESPACES=1 unshare --mount --pid --fork --kill-child --propagation private \
        "$0" "$@"
fi
mount -t tmpfs tmpfs "$directory"
cd "$directory"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=$tree,upperdir=upper,workdir=work" root
mount -t proc proc root/proc
mount -t tmpfs -o mode=755 tmpfs root/run
mount --bind "$packages" root/mnt
exec chroot root env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
    /bin/sh -ec "$command"
