#!/usr/bin/env bash
# Static analysis of engine/, models/ and server/: clang-tidy (.clang-tidy says
# what), cppcheck, and gcc's analyzer, each over every file; prints what they
# find (paths to a null apart: neither sees that a function that failed has said
# so), exit 1 if anything. `tools/lint.sh FILE ...` looks at some files only.
# SPDX-License-Identifier: MIT
set -u
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- $(find engine models server -name '*.c' 2>/dev/null | sort)
flags="-std=c11 -D_GNU_SOURCE -I. -ffp-contract=off -Ibuild/release"
bad=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT

isa_flags() {
    local avx512="-mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c"

    case $1 in
    *_avx2.c) echo "-mavx2 -mfma -mf16c" ;;
    *_avx512.c) echo "$avx512" ;;
    *_vnni.c) echo "$avx512 -mavx512vnni" ;;
    *_bf16.c) echo "$avx512 -mavx512bf16" ;;
    esac
}
tidy_one() {
    # shellcheck disable=SC2046,SC2086
    clang-tidy --quiet "$1" -- $flags $(isa_flags "$1") 2>/dev/null
}
analyze_one() {
    # shellcheck disable=SC2046,SC2086
    gcc $flags $(isa_flags "$1") -O1 -fanalyzer \
        -Wno-analyzer-null-dereference -Wno-analyzer-null-argument -S -o /dev/null "$1" 2>&1
}
export -f tidy_one analyze_one isa_flags
export flags
each() { # each FUNCTION FILE ...: two at a time
    local f=$1
    shift
    printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c "$f {}"
}

found() { # found TOOL: show what it said in $out
    grep -qE 'warning|error' "$out" || return 0
    grep -E 'warning|error' "$out" | sort -u
    echo "lint: $1"
    bad=1
}

each tidy_one "$@" >"$out"
found clang-tidy
each analyze_one "$@" >"$out"
found 'gcc -fanalyzer'
cppcheck --quiet --std=c11 --enable=warning,portability \
    --inline-suppr --error-exitcode=1 -j "$(nproc)" -I. \
    --suppress=preprocessorErrorDirective --suppress=unknownMacro \
    --suppress=uninitvar --suppress=AssignmentAddressToInteger \
    "$@" 2>"$out" || { cat "$out"; echo "lint: cppcheck"; bad=1; }
[ $bad -eq 0 ] && echo "lint: ok ($# files)"
exit $bad
