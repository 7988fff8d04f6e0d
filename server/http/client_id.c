/* client_id: see client_id.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/client_id.h"

#include <netinet/in.h>
#include <string.h>

#include "engine/base/hash.h"

#define NETWORK_BYTES 8 /* of an IPv6 address */

/* Keys, IPv4 and IPv6 are told apart by the hash's own key. */
enum kind { KIND_KEY = 1, KIND_V4, KIND_V6 };

static uint64_t hash(enum kind kind, const void *p, size_t n)
{
    uint64_t key[2];

    hash_key(key);
    key[0] ^= (uint64_t)kind;
    return hash_siphash(key, p, n);
}

uint64_t client_id_of_key(const char *key)
{
    return hash(KIND_KEY, key, strlen(key));
}

uint64_t client_id_of_address(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, a, sizeof v4);
        return hash(KIND_V4, &v4.sin_addr, sizeof v4.sin_addr);
    }
    if (a->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, a, sizeof v6);
        const uint8_t *p = v6.sin6_addr.s6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
            return hash(KIND_V4, p + 12, sizeof(struct in_addr));
        return hash(KIND_V6, p, NETWORK_BYTES);
    }
    return 0;
}
