#!/bin/sh
# Run each test program named on the command line; print its output when it
# fails or when V=1, the names of what failed, and the sum as the last line.
# The exit code is the truth: 0 only when nothing failed.
passed=0 failed=0 skipped=0 bad=""
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for t in "$@"; do
    start=$(date +%s)
    timeout "${TEST_TIMEOUT:-300}" "$t" >"$log" 2>&1
    rc=$?
    p=$(grep -c '^\[       OK \]' "$log")
    f=$(grep -c '^\[  FAILED  \] [^ ]*$' "$log")
    s=$(grep -c '^\[  SKIPPED \] [^ ]*$' "$log")
    # cmocka prints each failed or skipped name again in its summary.
    s=$(sed -n 's/^\[  SKIPPED \] [^:]*: \([0-9]*\) test(s).*/\1/p' "$log" | head -1)
    f=$(sed -n 's/^\[  FAILED  \] [^:]*: \([0-9]*\) test(s).*/\1/p' "$log" | head -1)
    [ -n "$s" ] || s=0
    [ -n "$f" ] || f=0
    if [ "$rc" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1
        echo "$t: exit status $rc"
    fi
    if [ "$rc" -ne 0 ] || [ "${V:-0}" = 1 ]; then
        cat "$log"
        [ "$rc" -ne 0 ] && bad="$bad $t"
    else
        grep -i 'skipped: ' "$log"
        echo "ok $t ($p passed, $s skipped, $(($(date +%s) - start)) s)"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
[ -n "$bad" ] && echo "failing:$bad"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ -z "$bad" ]
