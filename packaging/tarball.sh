# shellcheck shell=sh disable=SC2154 # packaging/build sets the variables
# install.sh with all that it installs, in the places where it looks for it, and the programs in bin/.

make_tarball() {
    tree=$work/tarball/$name
    mkdir -p "$tree"
    "$root/install.sh" --list | while read -r mode file _; do
        case $file in
            PROGRAMS/*) install -D -m "$mode" "$bindir/${file#PROGRAMS/}" "$tree/bin/${file#PROGRAMS/}" ;;
            *) install -D -m "$mode" "$file" "$tree/$file" ;;
        esac
    done
    install -D -m 0644 config/config.toml "$tree/config/config.toml"
    install -m 0755 install.sh "$tree/install.sh"
    put_licences "$tree" oci-apparmor oci-apparmor-cli
    archive "$work/tarball" | gzip -n >"$work/$name.tar.gz"
    made "$work/$name.tar.gz"
}
