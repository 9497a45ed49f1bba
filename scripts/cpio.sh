# shellcheck shell=bash
# Writes a cpio archive, entry by entry, to standard output. Sourced, not run.
# By hand, because cpio cannot put in a device node without root, and keeps
# owners and times that differ from one machine to the next.

# An entry of a "newc" archive (Linux's buffer-format.rst): a header of
# thirteen 8-digit numbers, the name, the content, each filled up to a multiple
# of four.
inode=0
pad() { # SIZE
    local zeros=$(((4 - $1 % 4) % 4))
    ((zeros == 0)) || printf '\0%.0s' $(seq "$zeros")
}
header() { # NAME MODE(octal) SIZE [MAJOR MINOR]
    ((++inode))
    printf '070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x' \
        "$inode" "0$2" 0 0 1 0 "$3" 0 0 "${4:-0}" "${5:-0}" $((${#1} + 1)) 0
    printf '%s\0' "$1"
    pad $((110 + ${#1} + 1))
}
folder() { header "$1" 40755 0; }
device() { header "$1" 20600 0 "$2" "$3"; }
file() { # NAME FILE MODE
    local size
    size=$(stat -L -c %s "$2")
    header "$1" "100$3" "$size"
    cat "$2"
    pad "$size"
}
text() { # NAME TEXT
    header "$1" 100644 ${#2}
    printf '%s' "$2"
    pad ${#2}
}
trailer() { header 'TRAILER!!!' 0 0; }
