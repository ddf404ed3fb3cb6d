# shellcheck shell=sh disable=SC2154 # packaging/build sets the variables
# The licences of what is in static programs: binary copies have to carry them.

# A crate that leaves the choice is used under the Apache License 2.0, which oci-apparmor itself has.
# Its text is not repeated, but a NOTICE is (section 4). Of all others, the files are copied.

# licences PACKAGE...: prints them for the programs of these packages.
licences() {
    cat <<END
oci-apparmor $version
Copyright: the contributors of oci-apparmor
License: Apache-2.0

The text of the Apache License, version 2.0, is in /usr/share/common-licenses/Apache-2.0 on Debian,
and in the file LICENSE of the source, of the image and of the archive.

The programs are static. They contain the GNU C Library, under the GNU Lesser General Public
License, version 2.1 or later (/usr/share/common-licenses/LGPL-2.1 on Debian, the file LGPL-2.1 of
the image and of the archive); its source is the package glibc of Debian. The source of oci-apparmor
and of all crates is public, so the programs can be linked again with another version of it. They
contain the standard library of Rust, Copyright The Rust Project Developers, used under the Apache
License, version 2.0. They contain the crates below, from crates.io, where their source is.

END
    crates_of "$@" >"$work/linked"
    : >"$work/texts"
    while IFS='	' read -r crate number licence unpacked; do
        case $licence in
            *AND* | *'('*) pattern='LICEN[CS]E* COPYING* NOTICE*' ;;
            Apache-2.0) pattern='NOTICE*' ;;
            'Apache-2.0 OR '* | *' OR Apache-2.0' | *' OR Apache-2.0 OR '*)
                pattern='NOTICE*'
                licence="$licence; used under Apache-2.0"
                ;;
            *) pattern='LICEN[CS]E* COPYING* UNLICENSE* NOTICE*' ;;
        esac
        echo "$crate $number: $licence"
        found=
        for file in $(cd "$unpacked" && eval "ls -d $pattern" 2>/dev/null); do
            [ -f "$unpacked/$file" ] || continue
            found=1
            sum=$(tr -d '\r' <"$unpacked/$file" | sha256sum)
            printf '%s\t%s %s\t%s\n' "${sum%% *}" "$crate" "$number" "$unpacked/$file" >>"$work/texts"
        done
        [ -n "$found" ] || [ "$pattern" = 'NOTICE*' ] || die "$crate $number has no licence file: $licence"
    done <"$work/linked"
    # Each text once.
    cut -f 1 "$work/texts" | awk '!seen[$0]++' | while read -r sum; do
        printf '\n%s\n' '------------------------------------------------------------------------'
        awk -F'\t' -v sum="$sum" '$1 == sum { printf "%s%s", comma, $2; comma = ", " } END { print ":\n" }' "$work/texts"
        tr -d '\r' <"$(awk -F'\t' -v sum="$sum" '$1 == sum { print $3; exit }' "$work/texts")"
    done
}

# put_licences DIRECTORY PACKAGE...: the files for an image or an archive.
put_licences() {
    texts=$1
    shift
    licences "$@" >"$work/copyright"
    lgpl=/usr/share/common-licenses/LGPL-2.1
    [ -f "$lgpl" ] || die "$lgpl is missing; install the package base-files"
    install -D -m 0644 "$work/copyright" "${texts:?}/copyright"
    install -m 0644 LICENSE "${texts:?}/LICENSE"
    install -m 0644 "$lgpl" "${texts:?}/LGPL-2.1"
}
