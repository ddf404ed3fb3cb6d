#!/bin/sh
# run.sh [--seconds N | --runs N] [TARGET…]: fuzzes each target, from its corpus.
#
# libFuzzer with the compiler's own instrumentation, on stable Rust: without a sanitizer, since
# there is no unsafe code to watch, and with all overflow and debug checks. What it finds stays in
# fuzz/artifacts; inputs that reach something new stay in fuzz/target/corpus/TARGET. The smallest
# ones that reach all that is known are kept in fuzz/corpus/TARGET: `run.sh --keep` chooses them.
set -eu
cd "$(dirname "$0")"

limit=-max_total_time=10
case ${1-} in
    --seconds) limit=-max_total_time=$2 && shift 2 ;;
    --runs) limit=-runs=$2 && shift 2 ;;
    --keep) limit='' && shift ;;
    -*) echo "usage: fuzz/run.sh [--seconds N | --runs N | --keep] [TARGET…]" >&2 && exit 2 ;;
esac
[ $# -gt 0 ] || set -- argv audit blob document manifest name rules settings state text

# Of all crates: what a parser that we use does with its input is worth to be followed, too.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
export RUSTFLAGS
triple=$(rustc -vV | sed -n 's/^host: //p')
cargo build --quiet --locked --release --target "$triple"

status=0
for target; do
    mkdir -p "corpus/$target" "target/corpus/$target" artifacts
    echo "== $target"
    if [ -z "$limit" ]; then
        mkdir -p target/kept
        rm -rf "target/kept/$target" && mkdir "target/kept/$target"
        # By the places that are reached alone, not by how often.
        "target/$triple/release/$target" -merge=1 -use_counters=0 -max_len=1024 -verbosity=0 \
            "target/kept/$target" "corpus/$target" "target/corpus/$target" 2>/dev/null
        rm -rf "corpus/$target" && mv "target/kept/$target" "corpus/$target"
        continue
    fi
    # Inputs are small in the field, too; a slow one is a finding.
    "target/$triple/release/$target" "$limit" -max_len=8192 -timeout=10 -rss_limit_mb=1024 \
        -print_final_stats=1 -verbosity=0 "-artifact_prefix=artifacts/$target-" \
        "target/corpus/$target" "corpus/$target" 2>&1 || status=1
done
exit "$status"
