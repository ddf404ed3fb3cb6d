# shellcheck shell=sh disable=SC2154 # packaging/build sets the variables
# What is linked into the programs: the crates, from Cargo's own resolution of features, without
# what runs at build time; Rust's standard library and glibc, from what the programs say themselves.

# list_crates: writes $work/crates, one line for each: DEPTH NAME VERSION LICENCE, tab between them,
# in the order of `cargo tree`; depth 0 begins the tree of a package. The packages are resolved
# together, as they are built.
list_crates() {
    cargo tree --quiet --locked -p oci-apparmor -p oci-apparmor-cli -p oci-apparmor-agent \
        -e normal,no-proc-macro --target "$triple" --prefix depth --format '|{p}|{l}' >"$work/tree" ||
        die 'cargo cannot tell which crates are linked'
    sed -n 's/ (\*)$//; s/^\([0-9]*\)|\([^ ]*\) v\([^ |]*\)[^|]*|\(.*\)$/\1\t\2\t\3\t\4/p' "$work/tree" |
        sed 's, */ *, OR ,g' >"$work/crates"
    [ "$(grep -c '^0' "$work/crates")" = 3 ] || die 'cargo tree has changed: there are not three packages'
}

# crates_of PACKAGE...: NAME, VERSION, LICENCE and the directory of the crates of these packages,
# sorted, without those of this workspace.
crates_of() {
    cargo metadata --quiet --locked --format-version 1 --filter-platform "$triple" |
        jq -r '.packages[] | select(.source) | [.name, .version, (.manifest_path | rtrimstr("/Cargo.toml"))] | @tsv' \
            >"$work/directories"
    # A crate that was listed before is listed without what it depends on, so its tree is looked for.
    awk -F'\t' -v wanted=" $* " '
        FILENAME ~ /directories$/ { directory[$1 "\t" $2] = $3; next }
        {
            id = $2 "\t" $3
            licence[id] = $4
            at[$1] = id
            if ($1 > 0) below[at[$1 - 1]] = below[at[$1 - 1]] "\n" id
            else if (index(wanted, " " $2 " ")) todo[++n] = id
        }
        END {
            for (i = 1; i <= n; i++) {
                if (seen[todo[i]]++) continue
                m = split(below[todo[i]], next_ids, "\n")
                for (j = 2; j <= m; j++) todo[++n] = next_ids[j]
            }
            for (id in seen) if (id in directory) print id "\t" licence[id] "\t" directory[id]
        }' "$work/directories" "$work/crates" | sort
}

# said PATTERN: the version that a program names itself, as of the compiler and of glibc.
said() {
    grep -a -o -m 1 "$1" "$bindir/oci-apparmor-agent" | head -n 1 | tr -d '\0'
}

# make_sbom: a CycloneDX document. `dependencies` has the edges of cargo tree; a program depends on
# the package that it is built from.
make_sbom() {
    awk -F' = ' '
        function value() { gsub(/"/, "", $2); return $2 }
        /^\[\[package\]\]/ { name = version = "" }
        $1 == "name" { name = value() }
        $1 == "version" { version = value() }
        $1 == "checksum" { print name "\t" version "\t" value() }' Cargo.lock >"$work/checksums"
    for program in $image_programs; do
        case $program in
            oci-apparmor) package=oci-apparmor-cli ;;
            oci-apparmor-agent) package=oci-apparmor-agent ;;
            *) package=oci-apparmor ;;
        esac
        sum=$(sha256sum "$bindir/$program")
        printf '%s\t%s\t%s\n' "$program" "$package" "${sum%% *}"
    done >"$work/programs"
    rust=$(said 'rustc version [0-9][^ ]*')
    glibc=$(said 'GNU C Library ([^)]*) stable release version [0-9.]*[0-9]')
    jq -n --rawfile crates "$work/crates" --rawfile checksums "$work/checksums" \
        --rawfile programs "$work/programs" --arg version "$version" --arg arch "$arch" \
        --arg rust "${rust##* }" --arg glibc "${glibc##* }" --arg build "$glibc" \
        --argjson time "$SOURCE_DATE_EPOCH" -f "$here/sbom.jq" >"$work/$name.cdx.json" ||
        die 'the list of crates cannot be written'
    made "$work/$name.cdx.json"
}
