#!/usr/bin/env bash
# Run each test program named on the command line: cmocka programs and scripts
# that print the same lines. Shows the output of what failed (of all with V=1),
# the names of what failed, and the sum as the last line. The exit code is the
# truth: 0 only when nothing failed. TEST_RUNNER is put before each program
# (an emulator); TEST_TIMEOUT is in seconds; TEST_JOBS programs run side by
# side (1: tests that look at the clock are alone). A test that says "skipped:
# no shared data" although the data is there has failed.
# SPDX-License-Identifier: MIT
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# Each program runs under a timeout that passes this on to all that it began.
trap 'kill $(cat "$dir"/*.pid 2>/dev/null) 2>/dev/null; wait; exit 130' INT TERM
export SEQD_SHARED="${SEQD_SHARED:-../shared}"

# count WORD LOG: the sum of cmocka's "[  WORD ] group: N test(s)" lines.
count() {
    sed -n "s/^\[  $1 *\] \([^:]*: \)\{0,1\}\([0-9]*\) test(s).*/\2/p" "$2" |
        awk '{n += $1} END {print n + 0}'
}

# one I TEST: run it; what is to be said of it in I.say, its sum in I.sum.
one() {
    trap - INT TERM
    local t=$2 log=$dir/$1.log start runner rc p f s
    start=$(date +%s)
    case $t in
    *.sh | *.py) runner="" ;;
    *) runner=${TEST_RUNNER:-} ;;
    esac
    # The shell lets what runs beside it ignore SIGINT; a test may send one.
    # shellcheck disable=SC2086
    timeout -k 10 "${TEST_TIMEOUT:-300}" env --default-signal=INT,QUIT \
        $runner "$t" >"$log" 2>&1 </dev/null &
    echo $! >"$dir/$1.pid"
    wait $!
    rc=$?
    rm -f "$dir/$1.pid"
    p=$(grep -c '^\[       OK \]' "$log")
    f=$(count FAILED "$log")
    s=$(count SKIPPED "$log")
    {
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
    } >"$dir/$1.say"
    echo "$p $f $s $rc $t" >"$dir/$1.sum"
    rm -f "$log"
    mv "$dir/$1.say" "$dir/$1.said"
}

passed=0 failed=0 skipped=0 bad="" begun=0 shown=0
# show: what is done and next in order, so that a log reads as if run one by one
show() {
    while [ -f "$dir/$shown.said" ]; do
        cat "$dir/$shown.said"
        read -r p f s rc t <"$dir/$shown.sum"
        [ "$rc" -ne 0 ] && bad="$bad $t"
        passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
        rm -f "$dir/$shown".*
        shown=$((shown + 1))
    done
}
for t in "$@"; do
    one "$begun" "$t" &
    begun=$((begun + 1))
    while [ "$(jobs -rp | wc -l)" -ge "${TEST_JOBS:-1}" ]; do
        wait -n
        show
    done
done
wait
show
if [ "$shown" -ne "$begun" ]; then
    echo "$((begun - shown)) programs said nothing"
    failed=$((failed + begun - shown))
fi
[ -n "$bad" ] && echo "failing:$bad"
if [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then
    echo "no test ran"
    failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ -z "$bad" ]
