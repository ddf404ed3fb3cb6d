#!/bin/sh
# An apparmor_parser that compiles nothing. A source has a line "profile NAME ...", and is kept as
# /run/parser/input. What the test prepared in /run/parser/NAME ("/" as ".") is what comes of it:
#   blob     what -Q prints
#   plain    what -Q prints with --zstd-compress-level=0; without this file that option is unknown
#   text     what -p prints
#   warns    a message that -Q prints besides
#   names    what -N prints
#   appears  the option (-Q or -r) at which the profile appears in the kernel's tree: a file of a
#            test cannot act as the kernel does
#   mode     the mode that it then has; complain under -C
#   fails    instead of all that, this message, and exit status 1
PATH=/usr/bin:/bin
echo "$*" >>/run/parser/calls
if [ "$1" = --version ]; then
    echo 'AppArmor parser version 4.1.0'
    exit
fi
cat >/run/parser/input.$$
name=$(sed -n 's/^profile \([^ ]*\).*/\1/p' /run/parser/input.$$)
mv /run/parser/input.$$ /run/parser/input
prepared=/run/parser/$(printf %s "$name" | tr / .)
if [ -e "$prepared/fails" ]; then
    cat "$prepared/fails" >&2
    exit 1
fi
case " $* " in
*' -N '*) cat "$prepared/names" ;;
*' -p '*)
    [ ! -e "$prepared/text" ] || cat "$prepared/text"
    exit
    ;;
*' --zstd-compress-level=0 '*) cat "$prepared/plain" || exit 1 ;;
*' -Q '*)
    cat "$prepared/blob"
    [ ! -e "$prepared/warns" ] || cat "$prepared/warns" >&2
    ;;
esac
case " $* " in
*" $(cat "$prepared/appears") "*)
    tree=/sys/kernel/security/apparmor/policy/profiles
    stem=$tree/$(printf %s "$name" | tr / .)
    set -- "$@" "$stem".*
    eval "entry=\${$#}"
    if [ ! -e "$entry" ]; then
        entry=$stem.$((1000 + $(ls $tree | wc -l)))
        mkdir "$entry"
        echo "$name" >"$entry/name"
    fi
    mode=$(cat "$prepared/mode")
    case " $* " in *' -C '*) mode=complain ;; esac
    echo "$mode" >"$entry/mode"
    ;;
esac
