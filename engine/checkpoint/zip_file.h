/* zip_file: the directory of a zip archive in memory, for archives whose
 * entries are stored as they are (PKWARE APPNOTE 6.3, sections 4.3 and 4.5.3).
 * Enforced: one disk, no encryption, each stored entry inside the file behind a
 * local header of the same name, names unique and without NUL, at most 131,072
 * entries, the end record at the end of the file. Sizes may be those of zip64.
 * Checksums are not compared, as torch does not, which can be told to write
 * none (torch.serialization.set_crc32_options). Immutable after zip_file_parse;
 * any thread may read.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ZIP_FILE_H
#define SEQD_ZIP_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct zip_file;

/* zip_file_parse: of [p, p + n), which must live longer. ERR_FORMAT,
 * ERR_UNSUPPORTED (encrypted), ERR_TOO_LARGE, ERR_NOMEM. */
int zip_file_parse(const uint8_t *p, size_t n, const char *label,
                   struct zip_file **out, struct err *e);
void zip_file_free(struct zip_file *z);
/* zip_file_stored: 0, or ERR_UNSUPPORTED with the name of an entry that is
 * compressed. zip_file_has: 1 when there is an entry of this name. */
int zip_file_stored(const struct zip_file *z, const char *label, struct err *e);
int zip_file_has(const struct zip_file *z, const char *name);
/* zip_file_first: the name of the first entry, not terminated; *n 0: none. */
const char *zip_file_first(const struct zip_file *z, size_t *n);
/* zip_file_find: the bytes of a stored entry; NULL: no such one. */
const uint8_t *zip_file_find(const struct zip_file *z, const char *name,
                             size_t *n);

#endif
