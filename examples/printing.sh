# shellcheck shell=bash
# How the demonstrations print; demo.sh and learn.sh read this file.

bold='' dim='' green='' red='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; fi

step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
# The command as a user would type it; the paths `ours` and `work` are left out.
show() {
    local text=$*
    text=${text//"$work/"/}
    printf '  %s$ %s%s\n' "$dim" "${text//"$ours/"/}" "$plain"
}
output() { printf '%s\n' "$1" | sed 's/^/    /'; }
good() { printf '  %s✓ %s%s\n' "$green" "$*" "$plain"; }
fail() {
    printf '  %s✗ %s%s\n' "$red" "$*" "$plain" >&2
    exit 1
}

# expect TEXT OUTPUT WHAT: a tick if OUTPUT has TEXT.
expect() {
    output "$2"
    case $2 in
        *"$1"*) good "$3" ;;
        *) fail "expected in the output above: $1" ;;
    esac
}
