#!/usr/bin/env bash
# Run each test program named on the command line: cmocka programs and scripts
# that print the same lines. Shows the output of what failed (of all with V=1),
# the names of what failed, and the sum as the last line. The exit code is the
# truth: 0 only when nothing failed. TEST_RUNNER is put before each program
# (an emulator); TEST_TIMEOUT is in seconds. A test that says "skipped: no
# shared data" although the data is there has failed.
# SPDX-License-Identifier: MIT
passed=0 failed=0 skipped=0 bad=""
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export SEQD_SHARED="${SEQD_SHARED:-../shared}"

# count WORD: the sum of cmocka's "[  WORD ] group: N test(s)" lines.
count() {
    sed -n "s/^\[  $1 *\] \([^:]*: \)\{0,1\}\([0-9]*\) test(s).*/\2/p" "$log" |
        awk '{n += $1} END {print n + 0}'
}

for t in "$@"; do
    start=$(date +%s)
    case $t in
    *.sh | *.py) runner="" ;;
    *) runner=${TEST_RUNNER:-} ;;
    esac
    # shellcheck disable=SC2086
    timeout -k 10 "${TEST_TIMEOUT:-300}" $runner "$t" >"$log" 2>&1 </dev/null
    rc=$?
    p=$(grep -c '^\[       OK \]' "$log")
    f=$(count FAILED)
    s=$(count SKIPPED)
    if [ -d "$SEQD_SHARED" ] && grep -q 'skipped: .*shared' "$log"; then
        echo "$t: skipped for want of data that is there"
        f=$((f + s)) s=0 rc=1
    fi
    if [ "$rc" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1
        [ "$rc" -eq 124 ] && echo "$t: timed out"
        echo "$t: exit status $rc"
    elif [ "$rc" -eq 0 ] && [ "$((p + f + s))" -eq 0 ]; then
        f=1 rc=1
        echo "$t: ran no test"
    fi
    if [ "$rc" -ne 0 ] || [ "${V:-0}" = 1 ]; then
        cat "$log"
        [ "$rc" -ne 0 ] && bad="$bad $t"
    else
        grep -ai 'skipped: ' "$log"
        echo "ok $t ($p passed, $s skipped, $(($(date +%s) - start)) s)"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
[ -n "$bad" ] && echo "failing:$bad"
if [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then
    echo "no test ran"
    failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ -z "$bad" ]
