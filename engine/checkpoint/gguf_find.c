/* gguf_find: which file a model path stands for (gguf.h).
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/checkpoint/gguf.h"

#define SUFFIX ".gguf"

int gguf_is(const char *path)
{
    char magic[4];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return 0;
    int yes = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
              pread(fd, magic, 4, 0) == 4 && memcmp(magic, "GGUF", 4) == 0;
    close(fd);
    return yes;
}

static int has_suffix(const char *name)
{
    size_t n = strlen(name), m = strlen(SUFFIX);
    return n > m && strcmp(name + n - m, SUFFIX) == 0;
}

/* The only name with the suffix. */
static int only_file(const char *dir, char *out, size_t cap)
{
    DIR *d = opendir(dir);
    int found = 0, len = 0;
    if (!d)
        return 0;
    for (struct dirent *f = readdir(d); f; f = readdir(d))
        if (has_suffix(f->d_name) && found++ == 0)
            len = snprintf(out, cap, "%s/%s", dir, f->d_name);
    closedir(d);
    return found == 1 && len > 0 && (size_t)len < cap;
}

int gguf_find_file(const char *path, char *out, size_t cap)
{
    struct stat st;
    if (stat(path, &st))
        return 0;
    if (S_ISREG(st.st_mode)) {
        int len = snprintf(out, cap, "%s", path);
        return len > 0 && (size_t)len < cap;
    }
    if (!S_ISDIR(st.st_mode))
        return 0;
    int len = snprintf(out, cap, "%s/config.json", path);
    if (len < 0 || (size_t)len >= cap || stat(out, &st) == 0)
        return 0;
    return only_file(path, out, cap);
}

void gguf_label(const char *name, const char *file, char *out, size_t cap)
{
    const char *slash = strrchr(file, '/');
    int named = name && name[0];
    snprintf(out, cap, "%s%s%.80s", named ? name : "", named ? "/" : "",
             slash ? slash + 1 : file);
}
