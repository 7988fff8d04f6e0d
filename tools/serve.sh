#!/usr/bin/env bash
# Run a server in the foreground so that Ctrl-C ends it and not the make above
# it: on a terminal the program gets a process group of its own (job control),
# takes the interrupt, drains and exits 0, and make sees a success. Without a
# terminal it simply replaces this script. If this script is killed, the
# program is told (parent-death signal).
# SPDX-License-Identifier: MIT
if [ -t 0 ] && [ -t 1 ] && command -v setpriv >/dev/null; then
    set -m
    setpriv --pdeathsig TERM "$@"
    exit $?
fi
exec "$@"
