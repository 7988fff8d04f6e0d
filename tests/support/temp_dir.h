/* temp_dir: a folder under /tmp for the files of a test. What cannot be made
 * fails the running test.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TEMP_DIR_H
#define SEQD_TEMP_DIR_H

#include <stddef.h>

/* temp_dir_make: its path, of at most 63 bytes. temp_dir_drop removes the files
 * that are left in it and the folder; one without is left alone. */
void temp_dir_make(char path[64]);
void temp_dir_drop(const char *path);
/* temp_file_put: a file in it, of n bytes, and of a text. */
void temp_file_put(const char *dir, const char *name, const void *p, size_t n);
void temp_file_text(const char *dir, const char *name, const char *text);
/* temp_file_digest: "sha256:<hex>" of the named files (up to NULL), one after
 * the other, by another road than seqd's; their length in *n. */
void temp_file_digest(const char *dir, const char *const *names, char out[72],
                      size_t *n);

#endif
