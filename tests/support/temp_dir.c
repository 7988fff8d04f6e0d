/* temp_dir: see temp_dir.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/temp_dir.h"

#include <dirent.h>
#include <unistd.h>

#include <nettle/base16.h>
#include <nettle/sha2.h>

#include "tests/support/unit.h"

void temp_dir_make(char path[64])
{
    snprintf(path, 64, "/tmp/seqd-test-XXXXXX");
    assert_non_null(mkdtemp(path));
}

void temp_dir_drop(const char *path)
{
    char file[512];
    const struct dirent *at;
    DIR *d = opendir(path);

    while (d && (at = readdir(d))) {
        snprintf(file, sizeof file, "%s/%s", path, at->d_name);
        unlink(file);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

static FILE *open_file(const char *dir, const char *name, const char *mode)
{
    char file[512];
    snprintf(file, sizeof file, "%s/%s", dir, name);
    FILE *f = fopen(file, mode);
    assert_non_null(f);
    return f;
}

void temp_file_put(const char *dir, const char *name, const void *p, size_t n)
{
    FILE *f = open_file(dir, name, "wb");
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

void temp_file_text(const char *dir, const char *name, const char *text)
{
    temp_file_put(dir, name, text, strlen(text));
}

void temp_file_digest(const char *dir, const char *const *names, char out[72],
                      size_t *n)
{
    static uint8_t raw[200000];
    uint8_t hash[SHA256_DIGEST_SIZE];
    struct sha256_ctx c;

    sha256_init(&c);
    for (*n = 0; *names; names++) {
        FILE *f = open_file(dir, *names, "rb");
        size_t got = fread(raw, 1, sizeof raw, f);
        assert_true(got < sizeof raw);
        fclose(f);
        sha256_update(&c, got, raw);
        *n += got;
    }
    sha256_digest(&c, sizeof hash, hash);
    memset(out, 0, 72);
    memcpy(out, "sha256:", 7);
    base16_encode_update(out + 7, sizeof hash, hash);
}
