#!/usr/bin/env bash
# Print the files that hold this machine's Debian package sources (one a line;
# nothing where they are not recognised): for tools that bring packages of
# another architecture or root without touching what is installed here.
# SPDX-License-Identifier: MIT
grep -lsE '^Signed-By:.*debian-archive|^deb[^#]*/debian' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.sources \
    /etc/apt/sources.list.d/*.list 2>/dev/null
exit 0
