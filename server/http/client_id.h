/* client_id: who asks, as a number for the engine's fair queues. With keys a
 * client is its key, from however many addresses; without keys it is the
 * address at the other end of the connection (of IPv6 the network of 64 bits,
 * which is what one site has). No header is believed: whoever sends
 * X-Forwarded-For can write what it likes into it. Numbers are hashes under the
 * process's key: nobody can choose to be counted as another.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CLIENT_ID_H
#define SEQD_CLIENT_ID_H

#include <stdint.h>
#include <sys/socket.h>

uint64_t client_id_of_key(const char *key);
uint64_t client_id_of_address(const struct sockaddr *a);

#endif
