# shellcheck shell=bash
# What the scripts in this folder share. Sourced, not run.

# Progress and errors go to standard error: standard output is for results.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# die STATUS SENTENCE...: one line for people, then out.
die() {
    local status=$1
    shift
    say "$@"
    exit "$status"
}

# Prints the script's own header comment, from its second line to the first
# line that is not a comment. It is the help text, so that there is only one.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; }

# The folder that fetched and built things are kept in.
cache_folder() {
    local base=${HULL_CACHE:-}
    if [[ -z $base ]]; then
        base=${XDG_CACHE_HOME:-${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}/.cache}/hull
    fi
    mkdir -p "$base" 2>/dev/null ||
        die 1 "cannot make the cache folder $base; set HULL_CACHE to a folder you may write to"
    (cd "$base" && pwd)
}

# need COMMAND...: stops with the way out if a program is missing.
need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null ||
            die 3 "$program is not installed; scripts/setup installs what Hull needs"
    done
}

# Administration tools that an ordinary user's PATH lacks on Debian.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# A command that fails where no failure was expected still gets its line.
trap 'say "stopped at its line $LINENO, where this failed: $BASH_COMMAND"' ERR
