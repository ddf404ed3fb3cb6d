#!/bin/sh
# prepare.sh [PROGRAMS]: makes the packages that the tests install, of the programs in the directory
# PROGRAMS (default: where `cargo build` puts them), in PROGRAMS/test-packages. What is current stays.
#
# The programs are stripped, as a release has them. light-1.deb and light-2.deb are the same package
# as one and as the next revision, without compression: an emulated guest unpacks them.
set -eu

cd "$(dirname "$0")/../.."
host=$(rustc -vV | sed -n 's/^host: //p')
programs=${1:-${CARGO_TARGET_DIR:-target}/$host/debug}
programs=$(cd "$programs" && pwd)
ready=$programs/test-packages

exec 9>"$programs/.test-packages.lock"
flock 9
if [ -e "$ready/made" ] &&
    [ -z "$(find "$programs"/oci-apparmor* packaging install.sh config hooks docs deploy/node completions Cargo.toml Cargo.lock \
        -maxdepth 3 -type f ! -name '*.d' -newer "$ready/made" | head -n 1)" ]; then
    exit 0
fi
new=$(mktemp -d "$ready.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
chmod 755 "$new"
mkdir "$new/bin"
for name in oci-apparmor oci-apparmor-runtime oci-apparmor-hook oci-apparmor-agent; do
    strip -o "$new/bin/$name" "$programs/$name"
done

# A time of no meaning: a checkout without history has none.
SOURCE_DATE_EPOCH=1750000000
export SOURCE_DATE_EPOCH
packaging/build --bindir "$new/bin" --out "$new"
dpkg-deb --raw-extract "$new"/oci-apparmor_*.deb "$new/tree"
for revision in 1 2; do
    sed -i "s/^\(Version: .*\)-[0-9]*$/\1-$revision/" "$new/tree/DEBIAN/control"
    dpkg-deb --root-owner-group -Znone --build "$new/tree" "$new/light-$revision.deb" >/dev/null
done
rm -rf "$new/tree"
touch "$new/made"
rm -rf "$ready"
mv "$new" "$ready"
trap - EXIT
