#!/usr/bin/env bash
# tests/run.sh tells the truth: sums, names and status, for programs one by one
# and beside each other.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/lib.sh"

program() { # NAME, its body on standard input
    { echo '#!/bin/sh'; cat; } >"$work/$1.sh"
    chmod +x "$work/$1.sh"
}
program good <<'END'
echo "[       OK ] a"
echo "[       OK ] b"
echo "[  PASSED  ] 2 test(s)."
END
program bad <<'END'
echo "[       OK ] a"
echo "[  FAILED  ] b"
echo "[  FAILED  ] group: 1 test(s), listed below:"
exit 1
END
program crash <<'END'
echo "[       OK ] a"
kill -SEGV $$
END
program none </dev/null
# Passes when the other one runs, too.
for i in 1 2; do
    program "meet$i" <<END
touch "$work/here$i"
for k in \$(seq 200); do
    [ -e "$work/here$((3 - i))" ] && echo "[       OK ] met" && exit 0
    sleep 0.05
done
exit 1
END
done

says() { # JOBS STATUS LAST-LINE NAME ...: what run.sh says of these programs
    local jobs=$1 status=$2 last=$3 out rc
    shift 3
    out=$(V=0 TEST_JOBS=$jobs "$top/tests/run.sh" "${@/#/$work/}" 2>&1)
    rc=$?
    echo "$out"
    [ $rc -eq "$status" ] && [ "$(tail -1 <<<"$out")" = "$last" ]
}
for jobs in 1 3; do
    check "sums_of_good_ones_by_$jobs" says $jobs 0 \
        "6 passed, 0 failed, 0 skipped" good.sh good.sh good.sh
    check "sums_with_a_bad_one_by_$jobs" says $jobs 1 \
        "5 passed, 1 failed, 0 skipped" good.sh bad.sh good.sh
    check "sums_with_a_crash_by_$jobs" says $jobs 1 \
        "3 passed, 1 failed, 0 skipped" good.sh crash.sh
    check "sums_without_a_test_by_$jobs" says $jobs 1 \
        "2 passed, 1 failed, 0 skipped" none.sh good.sh
done
check sums_of_two_that_run_beside_each_other says 2 0 \
    "2 passed, 0 failed, 0 skipped" meet1.sh meet2.sh
names_what_failed() {
    says 2 1 "5 passed, 1 failed, 0 skipped" good.sh bad.sh good.sh |
        grep -q "^failing: .*/bad.sh$"
}
check sums_name_what_failed names_what_failed
finish
