#!/usr/bin/env bash
# Run each test program named on the command line: cmocka programs and scripts
# that print the same lines. Shows the output of what failed (of all with V=1),
# the names of what failed, and the sum as the last line. The exit code is the
# truth: 0 only when nothing failed. TEST_JOBS programs run at a time (1), each
# with TEST_TIMEOUT seconds; TEST_RUNNER is put before each (an emulator). A
# test that says "skipped: no shared data" although the data is there has
# failed.
# SPDX-License-Identifier: MIT
passed=0 failed=0 skipped=0 bad="" n=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SEQD_SHARED="${SEQD_SHARED:-../shared}"

# count LOG WORD: the sum of cmocka's "[  WORD ] group: N test(s)" lines.
count() {
    sed -n "s/^\[  $2 *\] \([^:]*: \)\{0,1\}\([0-9]*\) test(s).*/\2/p" "$1" |
        awk '{n += $1} END {print n + 0}'
}

# run_one PROGRAM N: its sums into N.sum, what is to be shown into N.out.
run_one() {
    local t=$1 log=$work/$2.log start rc p f s runner=${TEST_RUNNER:-}
    start=$(date +%s)
    case $t in *.sh | *.py) runner="" ;; esac
    # shellcheck disable=SC2086
    timeout -k 10 "${TEST_TIMEOUT:-300}" $runner "$t" >"$log" 2>&1 </dev/null
    rc=$?
    p=$(grep -c '^\[       OK \]' "$log")
    f=$(count "$log" FAILED)
    s=$(count "$log" SKIPPED)
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
    else
        grep -ai 'skipped: ' "$log"
        echo "ok $t ($p passed, $s skipped, $(($(date +%s) - start)) s)"
    fi
    echo "$p $f $s $rc" >"$work/$2.sum"
}

for t in "$@"; do
    while [ "$(jobs -rp | wc -l)" -ge "${TEST_JOBS:-1}" ]; do wait -n; done
    n=$((n + 1))
    # All of a program's lines in one piece: another may end beside it.
    { run_one "$t" $n >"$work/$n.out"; cat "$work/$n.out"; } &
done
wait
n=0
for t in "$@"; do
    n=$((n + 1)) p=0 f=1 s=0 rc=1 # where there is no sum
    read -r p f s rc <"$work/$n.sum"
    [ "$rc" -ne 0 ] && bad="$bad $t"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
[ -n "$bad" ] && echo "failing:$bad"
if [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then
    echo "no test ran"
    failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ -z "$bad" ]
