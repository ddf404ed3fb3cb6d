#!/bin/sh
# A low-level runtime that makes no containers. It records how it was called in
# /run/calls/NUMBER, keeps the state directory that its namesake would keep, and obeys:
#   /run/stand-in/exit   the exit code; nothing else is then done
#   /run/stand-in/keep   `delete` leaves the container where it is
#   /run/stand-in/wait   a FIFO: `run` in the foreground closes its output and waits for a line
PATH=/usr/bin:/bin
me=${0##*/}
number=0
while ! mkdir "/run/calls/$number" 2>/dev/null; do number=$((number + 1)); done
record=/run/calls/$number
echo "$0" >"$record/program"
echo $$ >"$record/pid"
cat /proc/$$/cmdline >"$record/argv"
cat /proc/$$/environ >"$record/environ"
# Without another process: a shell that forks blocks signals meanwhile.
while read -r name value; do
    case $name in SigBlk: | SigIgn:) echo "$name $value" ;; esac
done </proc/$$/status >"$record/signals"
for fd in /proc/$$/fd/*; do
    target=$(readlink "$fd") || continue
    # The script itself, and nothing else of ours.
    [ "$target" = "$(readlink -f "$0")" ] || echo "${fd##*/} $target"
done >"$record/fds"

root=/run/$me bundle='.' config='' process='' subcommand='' id=''
while [ $# -gt 0 ]; do
    case $1 in
    --root=* | --bundle=* | --config=* | --process=*)
        name=${1%%=*}
        eval "${name#--}=\${1#*=}"
        ;;
    --root | --bundle | --config | --process)
        eval "${1#--}=\${2-}"
        [ $# -lt 2 ] || shift
        ;;
    --log | --log-format | --pid-file | --image-path) [ $# -lt 2 ] || shift ;;
    -*) ;;
    *)
        if [ -z "$subcommand" ]; then subcommand=$1; elif [ -z "$id" ]; then id=$1; fi
        ;;
    esac
    shift
done
# crun takes --config from where it is called.
[ -n "$config" ] || config=$bundle/config.json
if [ -e "$config" ]; then
    cp "$config" "$record/config"
    stat -c %i "$config" >"$record/inode"
fi
[ ! -e "$process" ] || cp "$process" "$record/process"

if [ -e /run/stand-in/exit ]; then
    echo "$me: told to fail" >&2
    exit "$(cat /run/stand-in/exit)"
fi
case $subcommand in
create | run | restore)
    mkdir -p "$root" && mkdir "$root/$id" || exit 1
    case $me in
    runc) printf '{"id":"%s","config":{"labels":["a=b","bundle=%s"]}}' \
        "$id" "$(readlink -f "$bundle")" >"$root/$id/state.json" ;;
    crun)
        cp "$config" "$root/$id/config.json"
        printf '{"pid":1,"bundle":"%s"}' "$(readlink -f "$bundle")" >"$root/$id/status"
        ;;
    youki) printf '{"id":"%s","bundle":"%s"}' \
        "$id" "$(readlink -f "$bundle")" >"$root/$id/state.json" ;;
    esac
    if [ "$subcommand" = run ] && [ -p /run/stand-in/wait ]; then
        exec >&- 2>&- 5>&-
        read -r _ </run/stand-in/wait
        [ -e /run/stand-in/keep ] || rm -r "${root:?}/$id"
    fi
    ;;
delete) [ -e /run/stand-in/keep ] || rm -r "${root:?}/$id" ;;
esac
