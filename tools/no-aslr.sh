#!/usr/bin/env bash
# Run a command without address randomisation where that is allowed: gcc 12's
# thread sanitizer stops with "unexpected memory mapping" on kernels that
# randomise more bits than it knows.
# SPDX-License-Identifier: MIT
if setarch "$(uname -m)" -R true 2>/dev/null; then
    exec setarch "$(uname -m)" -R "$@"
fi
exec "$@"
