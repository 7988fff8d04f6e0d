# Shell tests that print cmocka's lines, so that tests/run.sh counts them.
# Source this file, call `check NAME command ...` for each test (the command's
# status is the verdict; its output is shown when it fails), end with `finish`.
# SPDX-License-Identifier: MIT
n_ok=0 n_failed=0 failed_names=""
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$work"' EXIT

check() {
    local name=$1 out
    shift
    echo "[ RUN      ] $name"
    if out=$("$@" 2>&1); then
        echo "[       OK ] $name"
        n_ok=$((n_ok + 1))
    else
        printf '%s\n' "$out"
        echo "[  FAILED  ] $name"
        n_failed=$((n_failed + 1))
        failed_names="$failed_names $name"
    fi
}

# fails_with PATTERN command ...: the command fails and says PATTERN.
fails_with() {
    local pattern=$1 out
    shift
    if out=$("$@" 2>&1); then
        echo "'$*' passed; it should have said: $pattern"
        return 1
    fi
    printf '%s\n' "$out" | grep -qE -- "$pattern" && return 0
    printf "'%s' did not say '%s' but:\n%s\n" "$*" "$pattern" "$out"
    return 1
}

finish() {
    echo "[  PASSED  ] $n_ok test(s)."
    [ "$n_failed" -eq 0 ] && exit 0
    echo "[  FAILED  ] shell: $n_failed test(s), listed below:"
    for n in $failed_names; do echo "[  FAILED  ] $n"; done
    exit 1
}
