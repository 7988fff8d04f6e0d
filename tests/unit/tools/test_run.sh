#!/usr/bin/env bash
# tools/serve.sh under make: Ctrl-C on a terminal ends the server and make sees a
# success; SIGTERM reaches the server; without a terminal it is replaced.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/lib.sh"

# A server that ends with status 0 at SIGINT or SIGTERM and says so.
cat >"$work/server.py" <<'END'
import os
import signal
import sys
def end(n, _):
    os.write(1, b"drained %d\n" % n)  # whole: others write there, too
    sys.exit(0)
signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
while True:
    signal.pause()
END
printf 'run:\n\t@%s python3 %s\n' "$top/tools/serve.sh" "$work/server.py" \
    >"$work/Makefile"
# on_terminal KEY|TERM: make run on a pseudo-terminal; prints make's exit code
# and everything the terminal showed.
cat >"$work/terminal.py" <<'END'
import os, pty, select, signal, subprocess, sys, time
pid, fd = pty.fork()
if pid == 0:  # the session's leader, as a shell would be
    os.chdir(os.path.dirname(sys.argv[0]))
    make = subprocess.Popen(["make", "run"])
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: make.terminate())
    status = make.wait()
    print("status", status, flush=True)
    time.sleep(1)  # the server may still be writing
    os._exit(0)
out, sent, end = b"", False, time.time() + 20
while time.time() < end:
    if select.select([fd], [], [], 0.1)[0]:
        try:
            part = os.read(fd, 1000)
        except OSError:
            break
        if not part:
            break
        out += part
    if b"up" in out and not sent:
        sent = True
        if sys.argv[1] == "KEY":
            os.write(fd, b"\x03")
        else:
            os.kill(pid, signal.SIGTERM)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
print(out.decode())
END

ctrl_c() {
    local out
    out=$(unset MAKEFLAGS MAKELEVEL; python3 "$work/terminal.py" KEY)
    echo "$out"
    [[ $out == *"status 0"* && $out == *"drained 2"* && $out != *"***"* ]]
}
check run_ends_cleanly_on_ctrl_c ctrl_c

terminated() {
    local out
    out=$(unset MAKEFLAGS MAKELEVEL; python3 "$work/terminal.py" TERM)
    echo "$out"
    [[ $out == *"drained 15"* ]]
}
check run_passes_sigterm_on terminated

replaced() {
    "$top/tools/serve.sh" python3 "$work/server.py" >"$work/out" </dev/null &
    local pid=$!
    for _ in $(seq 100); do
        grep -q up "$work/out" && break
        sleep 0.05
    done
    kill -TERM $pid && wait $pid && grep -q 'drained 15' "$work/out"
}
check run_without_a_terminal_is_replaced replaced
finish
