#!/bin/sh
# sh enter.sh NODE DIRECTORY PRELUDE PROGRAM [WORD...]
#
# In a mount namespace of its own, puts the directories of NODE in the place of this machine's,
# and becomes PROGRAM: same process, nothing inherited but what PRELUDE opens.
set -e
node=$1 directory=$2 prelude=$3
shift 3
mount --rbind /dev "$node/dev"
for name in etc run sys usr/libexec; do
    mount --bind "$node/$name" "/$name"
done
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
cd "$directory"
eval "$prelude"
exec "$@"
