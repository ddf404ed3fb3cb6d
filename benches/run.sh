#!/bin/sh
# run.sh [--rounds N]            measures on a node of files: one minute after the build
# run.sh --kernel [--rounds N]   measures on a kernel with AppArmor: real runc and crun
# run.sh --document              writes docs/performance.md anew from the results
# run.sh --check                 counts, and fails if a call costs more than benches/budget.json allows,
#                                or if docs/performance.md has other figures than benches/results
# run.sh --budget                counts, and writes benches/budget.json: a change that costs more says why
#
# The first two write their results into benches/results and the tables of docs/performance.md. Times
# are worth something only on a machine that does nothing else.
#
# As root, since a mount namespace is needed. --kernel runs in a virtual machine if this kernel has no
# AppArmor (tests/vm/README.md). It keeps all times in target/kernel-calls: if it is interrupted, the
# same command goes on where it was. --rounds is 501; one round of everything takes some 20 s when
# emulated. Further words choose parts and rounds of them: run.sh --kernel containers=1001 herd=11.
set -eu
cd "$(dirname "$0")/.."

need() { # command, package…
    command -v "$1" >/dev/null 2>&1 && return
    shift
    [ "$(id -u)" -eq 0 ] || { echo "run as root, or install: $*" >&2; exit 1; }
    apt-get update -qq || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
need strace strace
need strip binutils
need valgrind valgrind
need apparmor_parser apparmor

calls() { cargo bench --locked --quiet --bench calls -- "$@"; }

native() {
    # `oci-apparmor load` is timed, too. It is of another crate.
    cargo build --locked --quiet --profile bench --package oci-apparmor-cli --bin oci-apparmor
    calls --json benches/results/native.json "$@"
    calls --document
}

kernel() {
    out=${CARGO_TARGET_DIR:-$PWD/target}/kernel-calls
    mkdir -p "$out"
    case " $* " in *' --rounds '*) ;; *) set -- --rounds 501 "$@" ;; esac
    OCI_APPARMOR_VM_OUT=$out OCI_APPARMOR_VM_TIMEOUT=${OCI_APPARMOR_VM_TIMEOUT:-86400} \
        cargo bench --locked --quiet --bench kernel_calls -- \
        --samples "$out/samples.json" --json "$out/kernel.json" "$@"
    # Parts that were not measured now stay as they were.
    results=benches/results/kernel.json
    [ -e "$results" ] || echo '{}' >"$results"
    jq -s '.[0] * .[1]' "$results" "$out/kernel.json" >"$results.new"
    mv "$results.new" "$results"
    calls --document
}

case ${1-} in
    '' | --rounds) native "$@" ;;
    --kernel)
        shift
        need jq jq
        kernel "$@"
        ;;
    --check | --budget | --document) calls "$1" ;;
    *)
        sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
