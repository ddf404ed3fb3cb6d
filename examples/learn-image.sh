#!/bin/sh
# learn-image.sh DIR [FROM]: makes DIR the root directory of a small Debian image, with nginx and a
# shell job, from the files of this machine. FROM is where the packages nginx and nginx-common are
# unpacked, if they are not installed.
set -eu

dir=$1
from=${2:-/}
mkdir -p "$dir/usr/bin" "$dir/usr/sbin" "$dir/usr/lib" "$dir/usr/lib64"
cd "$dir"
# As in Debian's own images.
for name in bin sbin lib lib64; do ln -s "usr/$name" "$name"; done
mkdir -p etc proc sys dev run tmp root srv opt in out var/lib/nginx var/log/nginx var/www/html
chmod 1777 tmp

# The programs, with the libraries that they need.
programs='/usr/bin/dash /usr/bin/cat /usr/bin/sort /usr/bin/grep /usr/bin/date /usr/bin/mktemp
    /usr/bin/rm /usr/bin/mv'
# shellcheck disable=SC2086 # several words
libraries=$(ldd "$from/usr/sbin/nginx" $programs | grep -o '/[^ ):]*\.so[^ ):]*' | sort -u)
# shellcheck disable=SC2086 # several words
cp -L --parents $programs $libraries .
cp "$from/usr/sbin/nginx" usr/sbin/nginx
cp "$(command -v busybox)" usr/bin/busybox
ln -s dash usr/bin/sh
cp usr/bin/date opt/tool

cp -r "$from/etc/nginx" /etc/passwd /etc/group /etc/nsswitch.conf etc
echo 'daemon off;' >>etc/nginx/nginx.conf
# The package makes this link when it is installed.
mkdir -p etc/nginx/sites-enabled
ln -sf ../sites-available/default etc/nginx/sites-enabled/default
echo 'it works' >var/www/html/index.html
# What no container should read.
echo 'root:secret' >etc/shadow
echo 'secret' >root/key

# The job sorts a list. Its temporary files have other names each time.
cat >job.sh <<'END'
set -e
list=$(mktemp /tmp/job.XXXXXX)
sorted=$(mktemp /tmp/job.XXXXXX)
unique=$(mktemp /tmp/job.XXXXXX)
grep -v '^#' /in/list >"$list"
sort "$list" >"$sorted"
sort -u "$sorted" >"$unique"
cat "$unique" >/out/result.new
date >>/out/log
mv /out/result.new /out/result
rm "$list" "$sorted" "$unique"
cat /out/result
END
