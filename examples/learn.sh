#!/bin/bash
# learn.sh PROGRAMS [KERNEL] [NGINX]: goes from no profile to one that enforces, for a web server and
# for a shell job, with real containers on this kernel.
# PROGRAMS is the directory of the programs of oci-apparmor. KERNEL is `guest` in a virtual machine
# of its own. NGINX is where Debian's packages of nginx are unpacked, if they are not installed.
# `./install.sh --demo learn` prepares all that. docs/learning.md explains each step.
#
# Each line with a tick is checked against the output of podman, nginx and the kernel; the first
# check that fails ends the demo with status 1. It uses no network and no existing storage. What it
# creates is removed at the end, except the two profiles in the kernel.
set -eu

programs=$1
kernel_is=${2:-native}
nginx=${3:-/}
examples=$(cd "$(dirname "$0")" && pwd)
sources=/etc/oci-apparmor/profiles
web=learn-demo-web
job=learn-demo-job

# shellcheck source=examples/printing.sh
. "$examples/printing.sh"

# --- Requirements.

[ "$(id -u)" = 0 ] || fail 'this must be run as root'
for command in podman crun apparmor_parser busybox nsenter; do
    command -v "$command" >/dev/null || fail "$command is missing; ./install.sh --demo learn installs it"
done
[ -x "$nginx/usr/sbin/nginx" ] || fail 'nginx is missing; ./install.sh --demo learn fetches it'
kernel=/sys/kernel/security/apparmor/profiles
[ -r "$kernel" ] || fail 'this kernel has no AppArmor; ./install.sh --demo learn starts one that has'

work=$(mktemp -d /tmp/oci-apparmor-learn.XXXXXX)
ours=$work/libexec
made=''

# podman with a separate storage.
podman=(podman --root "$work/storage" --runroot "$work/runroot" --tmpdir "$work/tmp" --runtime "$ours/crun")
pod() { "${podman[@]}" "$@"; }
oci() { "$work/oci-apparmor" "$@"; }

clean() {
    status=$?
    set +e
    {
        pod rm --force --time 0 --all
        pod rmi --force --all
        umount "$work/storage/overlay"
    } >/dev/null 2>&1
    # Do not delete through a storage that is still mounted.
    rm -rf --one-file-system "$work"
    # Also the sources that --apply kept.
    rm -f "$sources/$web" "$sources/$job" /var/lib/oci-apparmor/replaced/learn-demo-*
    # shellcheck disable=SC2086 # paths without spaces
    [ -z "$made" ] || rmdir $made
    exit $status
}
trap clean EXIT
trap 'exit 130' HUP INT TERM

mkdir -p "$ours" "$work/in" "$work/out"
install -m 755 "$programs/oci-apparmor-runtime" "$programs/oci-apparmor" "$work/"
ln -s ../oci-apparmor-runtime "$ours/crun"
printf '# fruits\npear\napple\n' >"$work/in/list"
"$examples/learn-image.sh" "$work/image" "$nginx"
tar -C "$work/image" -c . | pod import - localhost/demo >/dev/null 2>&1 || fail 'podman cannot import an image'
for path in "$sources" /etc/oci-apparmor; do
    [ -e "$path" ] || made="$made $path"
done
mkdir -p "$sources"
for name in "$web" "$job"; do
    [ ! -e "$sources/$name" ] || fail "$sources/$name exists; remove it first"
done

# --- The workloads, as scripts that can be run again and again.

# serve [OPTION...]: starts the web server, gets its page, has it read its configuration again.
cat >"$work/serve" <<END
#!/bin/sh
set -e
${podman[*]} run -d --name web --network none "\$@" localhost/demo nginx
get() { nsenter -t "\$(${podman[*]} inspect -f '{{.State.Pid}}' web)" -n busybox wget -qO- http://127.0.0.1/; }
tries=0
until get; do
    tries=\$((tries + 1))
    [ \$tries -lt 20 ] || { ${podman[*]} logs web; exit 1; }
    sleep 0.5
done
${podman[*]} kill --signal HUP web
sleep 1
get
END
# stop: ends it.
cat >"$work/stop" <<END
#!/bin/sh
${podman[*]} stop --time 5 web && ${podman[*]} rm --force --ignore web
END
cat >"$work/test" <<END
#!/bin/sh
$work/serve "\$@" && $work/stop
END
# sort-list [OPTION...]: runs the job once.
cat >"$work/sort-list" <<END
#!/bin/sh
exec ${podman[*]} run --rm --name job --network none -v $work/in:/in:ro -v $work/out:/out "\$@" \
    localhost/demo sh /job.sh
END
chmod +x "$work/serve" "$work/stop" "$work/test" "$work/sort-list"
named() { echo "--annotation=oci-apparmor/profile=$1"; }

# --- The web server.

printf '%sFrom no profile to one that enforces, for a web server and for a shell job.%s\n' "$bold" "$plain"
echo "$(uname -sr), $(podman --version), $(apparmor_parser --version | head -n 1)"

step '1. A web server runs without a profile. `new` makes one from what its configuration says.'
show './serve'
"$work/serve" >"$work/log" 2>&1 || { output "$(cat "$work/log")" && fail 'the web server does not work'; }
id=$(pod inspect --format '{{.Id}}' web)
show "oci-apparmor new $web --container $id"
expect "wrote $sources/$web" "$(oci new "$web" --container "$id" 2>&1)" 'a profile to start from'
show "oci-apparmor lint $sources/$web"
expect '0 errors, 0 warnings' "$(oci lint "$sources/$web" 2>&1)" 'it compiles, and lint finds nothing'
"$work/stop" >/dev/null 2>&1

step '2. That is not enough yet: what nginx does with it is in no configuration of a container.'
show "./test $(named "$web")"
answer=$("$work/test" "$(named "$web")" 2>&1) && fail "it works already: $answer"
expect 'Permission denied' "$(printf '%s\n' "$answer" | grep emerg | tail -n 1)" 'nginx cannot read its own configuration'
"$work/stop" >/dev/null 2>&1

step '3. `learn` runs it while the profile only complains, and suggests the rules that it lacks.'
show "oci-apparmor learn $web -- ./test $(named "$web")"
answer=$(oci learn "$web" -- "$work/test" "$(named "$web")" 2>&1) ||
    { output "$answer" && fail 'learn failed'; }
expect '/etc/nginx/nginx.conf r,' "$answer" 'the rules that it lacks, as a diff; nothing is changed yet'

step '4. With --apply, the rules are added, and the profile enforces.'
show "oci-apparmor learn $web --apply -- ./test $(named "$web")"
answer=$(oci learn "$web" --apply -- "$work/test" "$(named "$web")" 2>&1) ||
    { output "$answer" && fail 'learn failed'; }
output "$(printf '%s\n' "$answer" | tail -n 8)"
show "grep $web $kernel"
expect "$web (enforce)" "$(grep "^$web (" "$kernel")" 'in enforce mode'

step '5. The web server works, and nothing is denied.'
oci denials --follow --profile "$web" >"$work/denials" 2>/dev/null &
listener=$!
sleep 1
show "./serve $(named "$web")"
answer=$("$work/serve" "$(named "$web")" 2>&1) || { output "$answer" && fail 'the web server does not work'; }
expect 'it works' "$(printf '%s\n' "$answer" | tail -n 1)" 'the page, before and after nginx has read its configuration again'
show "oci-apparmor denials --follow --profile $web"
[ ! -s "$work/denials" ] || { output "$(cat "$work/denials")" && fail 'something is denied'; }
good 'nothing'

step '6. What it does not need is denied, in a process that is exec-ed, too.'
tries='read x </etc/shadow; echo >/etc/passwd; echo >/var/www/html/index.html; /opt/tool'
show "podman exec web busybox sh -c '$tries'"
answer=$(pod exec web busybox sh -c "$tries" 2>&1) && fail "it is allowed: $answer"
output "$answer"
[ "$(printf '%s\n' "$answer" | grep -c 'ermission denied')" = 4 ] || fail 'expected four denials'
good 'four times denied'
sleep 1
kill "$listener" 2>/dev/null && wait "$listener" || :
show "oci-apparmor denials --follow --profile $web"
expect '/etc/shadow' "$(cat "$work/denials")" 'and seen by `denials`'
show "oci-apparmor why --profile $web --path /etc/shadow --path /etc/nginx/nginx.conf"
answer=$(oci why --profile "$web" --path /etc/shadow --path /etc/nginx/nginx.conf 2>&1 || :)
expect 'denied' "$answer" '`why` asks the loaded profile itself'
"$work/stop" >/dev/null 2>&1

# --- The job.

step '7. The same for a shell job, without a container to start from.'
show "oci-apparmor new $job --image-like shell"
expect "wrote $sources/$job" "$(oci new "$job" --image-like shell 2>&1)" 'a profile to start from'
show "oci-apparmor learn $job --apply -- ./sort-list $(named "$job")"
answer=$(oci learn "$job" --apply -- "$work/sort-list" "$(named "$job")" 2>&1) ||
    { output "$answer" && fail 'learn failed'; }
expect '/out/' "$answer" 'the files that it writes'
show "./sort-list $(named "$job")"
expect $'apple\npear' "$("$work/sort-list" "$(named "$job")" 2>&1)" 'it works in enforce mode, with another temporary file'
expect "$job (enforce)" "$(grep "^$job (" "$kernel")" 'and it is in enforce mode'

printf '\n%sAll checks passed.%s' "$bold" "$plain"
if [ "$kernel_is" = native ]; then
    echo ' The containers, their storage and the sources of the profiles are removed. The profiles stay'
    echo "loaded until the next boot; to unload them: oci-apparmor unload $web, oci-apparmor unload $job"
else
    echo ' The virtual machine is discarded.'
fi
