#!/bin/sh
# sh leftovers.sh RUNTIME BUNDLES WORKERS COUNT
#
# WORKERS at once let COUNT containers each come and go, in five ways, each with the bundle
# BUNDLES/NUMBER. As the first process of a PID namespace, in which nothing may be left of them.
# Says and exits with 1 what it does not expect.
runtime=$1 bundles=$2 workers=$3 count=$4
fail() {
    echo "$id: $*" >&2
    exit 1
}
work() { # number of the worker
    cd "$bundles/$1" || exit 1
    # One more in the runtime, for its script.
    set -- "$1" /proc/self/fd/*
    export DESCRIPTORS=$#
    number=0
    while [ "$number" -lt "$count" ]; do
        id=c$1-$number
        case $((number % 5)) in
        0)
            "$runtime" run --bundle . "$id" || fail "run: $?"
            ;;
        1)
            "$runtime" run --detach --bundle . "$id" || fail "run --detach: $?"
            "$runtime" delete --force "$id" || fail "delete: $?"
            ;;
        2)
            "$runtime" create --bundle . "$id-refused" 2>/dev/null && fail "made"
            # An engine does that, whatever was left.
            "$runtime" delete --force "$id-refused" 2>/dev/null && fail "deleted"
            ;;
        3)
            "$runtime" create --bundle . "$id" || fail "create: $?"
            "$runtime" delete --force "$id" || fail "delete: $?"
            ;;
        4)
            "$runtime" create --bundle . "$id" || fail "create: $?"
            "$runtime" start "$id" || fail "start: $?"
            "$runtime" exec "$id" sh || fail "exec: $?"
            "$runtime" delete "$id" || fail "delete: $?"
            ;;
        esac
        # As it was before the label was written.
        cat config >config.json || fail "no bundle"
        number=$((number + 1))
    done
}
jobs=
worker=0
while [ "$worker" -lt "$workers" ]; do
    work "$worker" &
    jobs="$jobs $!"
    worker=$((worker + 1))
done
for job in $jobs; do
    wait "$job" || exit 1
done
tries=0
while set -- /proc/[0-9]*; [ $# -gt 1 ]; do
    [ "$tries" -lt 300 ] || fail "still there: $(cat /proc/*/comm)"
    sleep 0.1
    tries=$((tries + 1))
done
