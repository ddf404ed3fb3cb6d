# shellcheck shell=sh disable=SC2154 # packaging/build sets the variables
# The Debian package: what install.sh stages for /usr, in the form that Debian's policy wants, with
# maintainer scripts that leave engines and loaded profiles alone. dpkg-deb makes it: cargo-deb would
# need a second list of the files, and is a tool of 70 crates that has to be built first.

# The text of a function of install.sh, so that both ask the same.
function_of_install() { # name
    text=$(sed -n "/^$1() {\$/,/^}\$/p" "$root/install.sh")
    [ -n "$text" ] || die "install.sh has no function $1"
    echo "$text"
}

make_deb() {
    with dpkg-deb dpkg
    tree=$work/deb
    doc=$tree/usr/share/doc/oci-apparmor
    control=$tree/DEBIAN
    "$root/install.sh" --bindir "$bindir" --destdir "$tree" --prefix /usr >"$work/staged" ||
        die 'install.sh could not stage the files'

    # The licence is in the copyright file, and the changelog is where Debian looks for it.
    rm "$doc/LICENSE"
    mv "$doc/CHANGELOG.md" "$doc/changelog"
    licences oci-apparmor oci-apparmor-cli >"$doc/copyright"
    cat >"$doc/changelog.Debian" <<END
oci-apparmor ($version-$revision) unstable; urgency=medium

  * Version $version; changelog.gz says what is new.

 -- $(sed -n 's/^Maintainer: //p' "$here/debian/control")  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END
    find "$tree/usr/share/man" "$doc/changelog" "$doc/changelog.Debian" -type f -exec gzip -n -9 {} +
    install -D -m 0644 "$here/debian/lintian-overrides" "$tree/usr/share/lintian/overrides/oci-apparmor"

    mkdir -p "$control"
    size=$(find "$tree" -path "$control" -prune -o -type f -printf '%s\n' -o -printf '1024\n' |
        awk '{ kib += int(($1 + 1023) / 1024) } END { print kib }')
    sed "s/@VERSION@/$version-$revision/; s/@ARCH@/$arch/; s/@SIZE@/$size/" "$here/debian/control" >"$control/control"
    echo /etc/oci-apparmor/config.toml >"$control/conffiles"
    install -m 0755 "$here/debian/postinst" "$here/debian/postrm" "$control/"
    # All that can be enabled.
    units=$(cd "$tree/usr/lib/systemd/system" && grep -l '^\[Install\]' -- * | tr '\n' ' ')
    function_of_install callers >"$work/callers"
    sed "s/@UNITS@/${units% }/
        /^@CALLERS@\$/{
            r $work/callers
            d
        }" "$here/debian/prerm" >"$control/prerm"
    chmod 0755 "$control/prerm"
    (cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$control/md5sums"
    find "$tree" ! -type l -exec chmod go-w {} +

    package=oci-apparmor_$version-${revision}_$arch.deb
    # One thread: how xz divides the work among several is seen in the result.
    dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$tree" "$work/$package" >"$work/dpkg-deb" ||
        die 'dpkg-deb could not make the package'
    made "$work/$package"
}
