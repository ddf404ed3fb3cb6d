#!/bin/sh
# run.sh [--rounds N]   measures, and writes the results into docs/performance.md and its plot
# run.sh --check        counts, and fails if a call costs more than benches/budget.json allows
# run.sh --budget       counts, and writes benches/budget.json: a change that costs more says why
#
# As root, since a mount namespace is needed; no kernel with AppArmor. Times are worth something only
# on a machine that does nothing else.
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
need valgrind valgrind
need apparmor_parser apparmor

calls() { cargo bench --locked --quiet --bench calls -- "$@"; }
case ${1-} in
    --check) calls --check ;;
    --budget) calls --count --json benches/budget.json ;;
    '' | --rounds) calls --document "$@" ;;
    *) echo "usage: benches/run.sh [--rounds N | --check | --budget]" >&2; exit 2 ;;
esac
