#!/bin/sh
# mutants.sh [PATTERN…]: changes the rules, one place at a time, and runs the unit tests, which
# should notice (cargo-mutants; installed if it is missing).
#
# PATTERN is a file or a glob below src; by default all that a promise of SECURITY.md depends on
# and that is pure. Copies of the source and the results are in target/mutants: `missed.txt` has
# those that no test noticed. Takes half a minute for each change, and hours for all.
set -eu
cd "$(dirname "$0")/.."

cargo mutants --version >/dev/null 2>&1 || cargo install --locked cargo-mutants
[ $# -gt 0 ] || set -- request.rs decision.rs 'bundle/*.rs' apparmor/name.rs apparmor/blob.rs \
    runtime/argv.rs runtime/argv/scanner.rs

for pattern; do
    shift
    set -- "$@" --file "src/$pattern"
done
mkdir -p target/mutants
# Copies of this tree go there, not into the checkout; they need no debug information.
TMPDIR=$(realpath target/mutants)
export TMPDIR
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0
# Not into the files of this checkout: its own target directory.
unset CARGO_TARGET_DIR
exec nice -n 19 cargo mutants --no-shuffle --jobs 1 --minimum-test-timeout 30 --gitignore true \
    --output target/mutants --cargo-arg=--lib "$@"
