/* hosts: by which names a server may be asked that anybody on its machine may
 * use: bound to loopback, without a key. A page of somebody else's can let its
 * own name point to 127.0.0.1 and then reads our answers as its own (DNS
 * rebinding); it cannot make its browser say "localhost" or an address.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HOSTS_H
#define SEQD_HOSTS_H

#include "server/config.h"

/* hosts_allow: 1 when such a server may be asked as `host` ("name[:port]";
 * NULL: the client does not say), from a page of `origin` (NULL: from none). 0:
 * *wrong is the header at fault. Other servers are asked by any name. */
int hosts_allow(const struct config *cfg, const char *host, const char *origin,
                const char **wrong);

#endif
