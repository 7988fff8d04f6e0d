/* alphabet: GPT-2's way of writing bytes as characters that print. Bytes that
 * do so already stand for themselves, the others for U+0100 and on, in order
 * (Radford et al. 2019, encoder.py).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ALPHABET_H
#define SEQD_ALPHABET_H

#include <stddef.h>
#include <stdint.h>

struct alphabet {
    uint16_t char_of[256];
    uint8_t byte_of[68]; /* of U+0100 and on */
};

void alphabet_init(struct alphabet *a);
/* alphabet_read: the bytes that s [n] stands for when all of it is in the
 * alphabet, else s itself, into out [n], which may be s. Returns their number.
 */
size_t alphabet_read(const struct alphabet *a, const char *s, size_t n,
                     char *out);

#endif
