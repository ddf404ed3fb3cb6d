#!/bin/sh
# sh enter.sh NODE PROGRAMS DIRECTORY PRELUDE PROGRAM [WORD...]
#
# In a mount namespace of its own, puts the directories of NODE in the place of this machine's,
# with PROGRAMS in it as /run/programs/bin, and becomes PROGRAM: same process, nothing inherited but what PRELUDE opens.
set -e
node=$1 programs=$2 directory=$3 prelude=$4
shift 4
mount --rbind /dev "$node/dev"
mount --bind "$programs" "$node/run/programs/bin"
# /run last: the checkout may lie below it.
for name in etc sys usr/libexec; do
    mount --bind "$node/$name" "/$name"
done
# What the programs keep across boots, where a test needs it.
[ ! -d "$node/var/lib" ] || mount --bind "$node/var/lib" /var/lib
# The stand-ins are the only low-level runtimes in the usual places (/usr/libexec/crio).
for name in bin sbin local/bin local/sbin; do
    for runtime in runc crun youki; do
        [ ! -e "/usr/$name/$runtime" ] || mount --bind "/usr/libexec/crio/$runtime" "/usr/$name/$runtime"
    done
done
# Only what is needed, and a syslog that the test reads.
mount -t tmpfs -o mode=755 dev /dev
: >/dev/new
mv /dev/new /dev/null
mount --bind "$node/dev/null" /dev/null
ln -s /run/syslog /dev/log
mount --rbind "$node/run" /run
cd "$directory"
eval "$prelude"
exec "$@"
