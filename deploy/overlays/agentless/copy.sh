#!/bin/sh
# copy.sh PROFILES SPOOL [SECONDS]: makes the spool a copy of a mounted ConfigMap, once, or again and
# again after so many seconds. The files are named NAME.profile (text) or NAME.yaml (a manifest).
set -u
umask 027
profiles=$1 spool=$2 seconds=${3:-0}

# What the spool must contain.
listed() {
    for file in "$profiles"/*.profile "$profiles"/*.yaml; do
        [ -f "$file" ] && printf '%s\n' "${file##*/}"
    done
}

pass() {
    # Each ConfigMap volume has this link. Without it nothing is mounted, and nothing may be removed.
    [ -e "$profiles/..data" ] || { echo "no ConfigMap is mounted at $profiles" >&2; return 1; }
    listed | while IFS= read -r name; do
        cmp -s "$profiles/$name" "$spool/$name" && continue
        # A reader of the spool ignores names that start with a dot.
        cp "$profiles/$name" "$spool/.$name.new" && mv "$spool/.$name.new" "$spool/$name" ||
            exit 1
        echo "$name"
    done || return 1
    for file in "$spool"/*.profile "$spool"/*.yaml; do
        [ -f "$file" ] || continue
        [ -e "$profiles/${file##*/}" ] || { rm -f "$file" && echo "${file##*/} removed"; }
    done
    : > "$spool/.complete"
}

[ "$seconds" != 0 ] || { pass; exit; }
# A shell that is process 1 ignores signals that it does not handle.
trap 'exit 0' TERM INT
while :; do
    pass || echo "the spool is not complete; trying again in $seconds s" >&2
    sleep "$seconds" &
    wait $!
done
