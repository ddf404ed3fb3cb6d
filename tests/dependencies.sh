#!/bin/sh
# dependencies.sh: checks what the programs are built from, against deny.toml: licences, sources,
# crates that are there twice, crates that the wrapper must not link. Also that everything names the
# same version of Rust. Needs cargo, the crates in Cargo.lock and jq, and no network service.
set -u
cd "$(dirname "$0")/.." || exit 1

status=0
bad() {
    echo "dependencies.sh: $*" >&2
    status=1
}

# The first quoted word of each line of a list in deny.toml, without a version.
listed() { # section, key
    awk -v section="[$1]" -v key="$2 = [" '
        /^\[/ { inside = $0 == section }
        inside && index($0, key) == 1 { open = 1; next }
        /^\]/ { open = 0 }
        open && !/^ *#/ && match($0, /"[^"@]*/) { print substr($0, RSTART + 1, RLENGTH - 1) }
    ' deny.toml
}

# Lines "crate|licence" of the exceptions in deny.toml.
exceptions() {
    sed -n 's/^ *{ crate = "\([^"]*\)", allow = \["\([^"]*\)"\] },$/\1|\2/p' deny.toml
}

# One line for each crate: name, version, and with a format what that has.
tree() { # arguments of cargo tree…
    cargo tree --locked --quiet --prefix none "$@" || echo 'cargo-tree-failed'
}

# --- Licences: an SPDX expression that the allowed ones satisfy.

licences=$(listed licenses allow)
refused=$(tree --workspace -e normal,build,dev --format '{p}|{l}' | sed 's/ (\*)$//; /^$/d' | sort -u |
    awk -F'|' -v list="$licences" -v others="$(exceptions)" '
        function flat(text, i, j, n, m, ways, parts, ok) {
            n = split(text, ways, / OR /)
            for (i = 1; i <= n; i++) {
                m = split(ways[i], parts, / AND /)
                ok = 1
                for (j = 1; j <= m; j++) ok = ok && (parts[j] in allowed)
                if (ok && m) return "yes"
            }
            return "no"
        }
        BEGIN { n = split(list, names, "\n"); for (i = 1; i <= n; i++) allowed[names[i]]; allowed["yes"]
            n = split(others, pairs, "\n"); for (i = 1; i <= n; i++) excepted[pairs[i]] }
        {
            name = $1
            sub(/ .*/, "", name)
            text = $2
            gsub(/ ?\/ ?/, " OR ", text) # the form before SPDX expressions
            while (match(text, /\([^()]*\)/))
                text = substr(text, 1, RSTART - 1) flat(substr(text, RSTART + 1, RLENGTH - 2)) substr(text, RSTART + RLENGTH)
            for (pair in excepted) if (index(pair, name "|") == 1) {
                licence = substr(pair, length(name) + 2)
                extra = !(licence in allowed)
                allowed[licence]
                text = flat(text)
                if (extra) delete allowed[licence]
            }
            if (flat(text) == "no") print $1 ": " ($2 == "" ? "no licence" : $2)
        }')
[ -z "$refused" ] || bad "licences that deny.toml does not allow:
$refused"

shared=$(tree --workspace --exclude oci-apparmor-agent -e normal,build,dev | sed 's/ .*//' | sort -u |
    grep -xF "$(exceptions | sed 's/|.*//')")
[ -z "$shared" ] || bad "licences are excepted in deny.toml for the agent only, but others need:
$shared"

# --- Sources: crates.io, and this workspace.

other=$(grep -h '^source = ' Cargo.lock fuzz/Cargo.lock | sort -u |
    grep -vxF 'source = "registry+https://github.com/rust-lang/crates.io-index"')
[ -z "$other" ] || bad "crates that do not come from crates.io:
$other"
outside=$(tree --workspace -e normal,build,dev | grep -o '(/[^)]*)' | sort -u |
    grep -vE "^\(($(pwd)|$(pwd -P))(/|\))")
[ -z "$outside" ] || bad "crates outside of this workspace:
$outside"

# --- The wrapper and the hook, which run on every container start.

twice=$(tree -p oci-apparmor -e normal --duplicates --depth 0 | sed '/^$/d; s/ .*//' | sort -u |
    grep -vxF "$(listed bans skip)")
[ -z "$twice" ] || bad "more than one version in the wrapper (cargo tree -p oci-apparmor -e normal -d):
$twice"

wrapper_links_nothing_heavy() {
    heavy=$(tree -p oci-apparmor -e normal | sed 's/ .*//' | sort -u |
        grep -xF -e cargo-tree-failed -e "$(listed bans deny)")
    [ -z "$heavy" ] || bad "the wrapper must not link (cargo tree -p oci-apparmor -e normal -i CRATE):
$heavy"
}
wrapper_links_nothing_heavy

# Cargo builds a crate once for all packages of a call, with the features that any of them wants.
# These would change what the wrapper reads or writes.
features=$(tree --workspace -e normal --format '{p}|{f}' | sed -n 's/^serde_json v[^|]*|//p' | tr ',' '\n' |
    grep -xE 'arbitrary_precision|float_roundtrip|preserve_order|unbounded_depth' | sort -u)
[ -z "$features" ] || bad "features of serde_json that a package wants, and the wrapper would have:
$features"

# --- The oldest Rust: one in all packages, and the documents name it.

manifests=Cargo.toml
for manifest in crates/*/Cargo.toml; do
    [ ! -e "$manifest" ] || manifests="$manifests $manifest"
done
# shellcheck disable=SC2086 # a list
rust=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' $manifests | sort -u)
case $rust in
    1.[0-9]*) ;;
    *) bad "no rust-version in Cargo.toml" ;;
esac
[ "$(echo "$rust" | wc -l)" -eq 1 ] || bad "rust-version differs: $(echo "$rust" | tr '\n' ' ')"
# shellcheck disable=SC2086 # a list
lacking=$(grep -LE '^rust-version(\.workspace)? = ' $manifests)
[ -z "$lacking" ] || bad "no rust-version in: $lacking"
grep -qF "Rust $rust " CONTRIBUTING.md || bad "CONTRIBUTING.md does not name Rust $rust, the rust-version of Cargo.toml"
differ=$(grep -noE 'Rust 1\.[0-9]+' README.md CONTRIBUTING.md docs/*.md | grep -v ":Rust $rust\$")
[ -z "$differ" ] || bad "Cargo.toml has rust-version $rust, but:
$differ"

newer=$(cargo metadata --locked --quiet --format-version 1 |
    jq -r --arg ours "$rust" 'def numbers: split(".") | map(tonumber);
        .packages[] | select(.rust_version and (.rust_version | numbers[:2]) > ($ours | numbers[:2]))
        | "\(.name) \(.version): \(.rust_version)"')
[ -z "$newer" ] || bad "crates that need a newer Rust than $rust:
$newer"

exit "$status"
