/* healthcheck: `seqd healthcheck`: ask a running server whether it is ready,
 * for containers without curl.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HEALTHCHECK_H
#define SEQD_HEALTHCHECK_H

/* healthcheck_command: --url, or /readyz at the server's host and port, which
 * its options, variables and file tell; argv[0] is "healthcheck". The exit
 * status: 0 when the answer is 200 within three seconds, 1 else, 2 for wrong
 * arguments. */
int healthcheck_command(int argc, char *const *argv);

#endif
