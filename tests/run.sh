#!/bin/sh
# run.sh [quick]: all tests of this project, in one go, from nothing.
#
# Installs the Debian packages that it needs, checks format, lints and dependencies, and runs every
# tier: unit tests and all suites that need no kernel here, the real-kernel suites on a kernel with
# AppArmor, and the engines of two releases of Debian each in a root tree of its own
# (tests/vm/README.md). `quick` leaves the virtual machines out. It runs in any directory, as root, also by sudo. The last line is
# "N passed, N failed".
set -u
# Emulated guests are slow where two of them share two cores.
export OCI_APPARMOR_VM_TIMEOUT="${OCI_APPARMOR_VM_TIMEOUT:-2400}"
cd "$(dirname "$0")/.." || exit 1

# A root tree of Debian has devices in it, which /tmp and home directories may not allow.
if [ -z "${OCI_APPARMOR_VM_CACHE:-}" ] && findmnt -n -o OPTIONS -T . | grep -qw nodev; then
    export OCI_APPARMOR_VM_CACHE=/var/cache/oci-apparmor-tests
fi

case ${1-} in
    '') kernel=yes ;;
    quick) kernel=no ;;
    *) echo "usage: tests/run.sh [quick]" >&2; exit 2 ;;
esac

passed=0
failed=0
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# What a step says is shown when it ends, so that two can run at the same time.
step() { # name, command…
    name=$1
    shift
    began=$(date +%s)
    "$@" >"$logs/$name" 2>&1
    echo $? >"$logs/$name.status"
    {
        flock 9
        echo "== $name ($(($(date +%s) - began)) s)"
        cat "$logs/$name"
    } 9>"$logs/lock"
}

# Adds up a step: cargo's own counts where it has any, else one for the step itself.
count() { # name
    status=$(cat "$logs/$1.status" 2>/dev/null || echo 1)
    ok=$(sed -n 's/^test result: .* \([0-9]*\) passed; .*/\1/p' "$logs/$1" | awk '{n += $1} END {print n + 0}')
    bad=$(sed -n 's/^test result: .*; \([0-9]*\) failed; .*/\1/p' "$logs/$1" | awk '{n += $1} END {print n + 0}')
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    elif [ "$ok" -eq 0 ] && [ "$bad" -eq 0 ]; then
        ok=1
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
}

# One of two lanes, which share these steps: it takes the next one that the other has not taken.
lane() { # name…
    for next; do
        mkdir "$logs/$next.taken" 2>/dev/null && "run_$next"
    done
}

# Both lanes, and what came of it.
lanes() { # name…
    lane "$@" &
    lane "$@"
    wait
    for each; do count "$each"; done
}

# All that are for a shell, whatever their names. Not by git, which refuses a checkout that is not
# the caller's.
scripts() {
    find . \( -name target -o -name .git -o -name artifacts \) -prune -o -type f \
        -exec awk 'FNR == 1 && /^#!\/bin\/(ba)?sh/ { print FILENAME } { nextfile }' {} + |
        LC_ALL=C sort >"$logs/scripts"
    [ -s "$logs/scripts" ] && xargs -d '\n' shellcheck -x -S warning <"$logs/scripts"
}

# The programs and all tests, of every package. `--workspace` stands in each call of cargo: without
# it, crates would be built once more, with the features that one package wants.
build() {
    cargo build --locked --workspace && cargo test --locked --workspace --no-run
}

# The suites that run here: `--test NAME` for each that is not called kernel_*.
suites() {
    for file in tests/*.rs tests/*/main.rs crates/*/tests/*.rs crates/*/tests/*/main.rs; do
        [ -e "$file" ] || continue
        suite=${file%/main.rs}
        suite=${suite##*/}
        case $suite in
            kernel_*) ;;
            *) echo "--test ${suite%.rs}" ;;
        esac
    done | sort -u
}

# A newcomer finds a test by the name of its file, and each suite is run.
names() {
    twice=$(find tests \( -name '*.rs' -o -name '*.sh' \) ! -path 'tests/data/*' \
        ! -name main.rs ! -name mod.rs -printf '%f\n' | sort | uniq -d)
    [ -z "$twice" ] || echo "file names that are there twice in tests: $twice"
    missing=$(for suite in tests/kernel_*; do
        grep -q -e "--test ${suite##*/}\b" tests/run.sh || echo "${suite##*/}"
    done)
    [ -z "$missing" ] || echo "suites that tests/run.sh does not run: $missing"
    [ -z "$twice$missing" ]
}

# What the engines' suites boot.
roots() {
    for release in bookworm trixie; do
        OCI_APPARMOR_VM_RELEASE=$release tests/vm/setup || return 1
    done
}

engines() { # release, arguments of the suite…
    release=$1
    shift
    OCI_APPARMOR_VM_RELEASE=$release cargo test --locked --workspace --no-fail-fast --test kernel_engines -- "$@"
}

need() { # command, package…
    command -v "$1" >/dev/null 2>&1 && return
    shift
    [ "$(id -u)" -eq 0 ] || { echo "run as root, or install: $*" >&2; exit 1; }
    apt-get update -qq || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" || exit 1
}

# With sudo, the toolchain is the caller's, and PATH was cut short. Cargo's own
# directory stays root's: what root writes into a user's, the user could not replace.
if ! command -v cargo >/dev/null 2>&1 && [ "${SUDO_UID:-0}" != 0 ]; then
    caller=$(getent passwd "$SUDO_UID" | cut -d: -f6)
    PATH=${caller:?}/.cargo/bin:$PATH
    export PATH RUSTUP_HOME="${RUSTUP_HOME:-$caller/.rustup}"
fi

need cargo cargo
need cc gcc libc6-dev
need c++ g++
need strace strace
need runc runc
need crun crun
need shellcheck shellcheck
need jq jq
need dpkg-deb dpkg
need strip binutils
need lintian lintian
need skopeo skopeo
need valgrind valgrind
need flock util-linux

if [ "$kernel" = yes ]; then
    echo "== setting up a kernel with AppArmor"
    tests/vm/setup || { echo "0 passed, 1 failed"; exit 1; }
    # While the tests are built.
    step roots roots &
fi

# Cargo runs one of these at a time, and is not held up by a guest yet.
step build build
count build
# What the suites install, while clippy looks.
step packages tests/packages/prepare.sh &
step clippy cargo clippy --locked --workspace --all-targets -- -D warnings
# Nothing else has to be built before a suite (tests/vm/cargo-runner).
export OCI_APPARMOR_BUILT=1
wait
count packages
[ "$kernel" = no ] || count roots

cargo_test() { # arguments of cargo test…
    cargo test --locked --workspace --no-fail-fast "$@"
}
run_containers() { step containers cargo_test --test kernel_containers --test kernel_off; }
run_labelled() { step labelled cargo_test --test kernel_labelled; }
run_profiles() { step profiles cargo_test --test kernel_profiles; }
# That an engine does the same as ever for what asks for nothing is looked at with one of its
# versions: docker's and systemd's newer ones, containerd's and CRI-O's callers' older.
run_bookworm() { step bookworm engines bookworm --skip docker::same_behaviour --skip podman::systemd; }
run_trixie() {
    step trixie engines trixie --skip crio_recorded::crio_sees --skip containerd_unchanged \
        --skip ctr::a_task_of_ctr_that_asks
}
# shellcheck disable=SC2046 # two words for each suite
run_tests() { step tests cargo_test --lib $(suites); }
run_format() { step format cargo fmt --all --check; }
run_shellcheck() { step shellcheck scripts; }
run_dependencies() { step dependencies tests/dependencies.sh; }
run_names() { step names names; }
run_budget() { step budget benches/run.sh --check; }
run_fuzz() { step fuzz fuzz/run.sh --seconds 3; }

# The longest first, so that no lane is left with one at the end.
guests=
if [ "$kernel" = yes ] && [ "$failed" -eq 0 ]; then
    guests='trixie bookworm containers profiles'
fi
count clippy
# shellcheck disable=SC2086 # a word for each
lanes format names shellcheck dependencies $guests tests ${guests:+labelled} budget fuzz

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
