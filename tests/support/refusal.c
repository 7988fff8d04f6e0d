/* refusal: see refusal.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/refusal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "tests/support/model_dir.h"

#define PATH_BYTES 256

char *refusal_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *text = mem_zalloc(REFUSAL_FILE_BYTES);
    assert_non_null(f);
    assert_non_null(text);
    *n = fread(text, 1, REFUSAL_FILE_BYTES - 1, f);
    assert_true(*n > 2 && *n < REFUSAL_FILE_BYTES - 1);
    fclose(f);
    return text;
}

/* The end of the value that begins at `c`: its comma or closing brace. */
static const char *value_end(const char *c)
{
    int depth = 0;
    for (; *c && (depth || (*c != ',' && *c != '}')); c++)
        depth += (*c == '{' || *c == '[') - (*c == '}' || *c == ']');
    while (c[-1] == '\n' || c[-1] == ' ')
        c--;
    return c;
}

/* Changes a key of config.json's top level, which transformers writes with two
 * spaces in front of each. A key that goes becomes one that nobody reads. */
static void change(const char *text, const char *key, const char *value,
                   struct buf *out)
{
    char start[80];
    const char *at;
    snprintf(start, sizeof start, "\n  \"%s\": ", key);
    at = strstr(text, start);
    buf_init(out, 1 << 15);
    if (!at) {
        buf_addf(out, "{\"%s\": %s,%s", key, value, strchr(text, '{') + 1);
        return;
    }
    buf_add(out, text, (size_t)(at - text));
    buf_addf(out, "\"%s\": %s%s", value ? key : "x-gone", value ? value : "0",
             value_end(at + strlen(start)));
}

void refusal_expect(const struct model_arch *arch, const char *name,
                    const struct refusal *r)
{
    struct err e = ERR_INIT;
    struct load_opts o = {.label = "test",
                          .options = &(struct engine_options){.exact = 1}};
    struct model_info info;
    struct checkpoint *c;
    struct buf b;
    char path[PATH_BYTES], dir[64], *text;
    void *self = NULL;
    size_t n;
    memset(&info, 0, sizeof info);
    snprintf(path, sizeof path, "tests/golden/%s/%s/hf/config.json", arch->name,
             name);
    text = refusal_file(path, &n);
    change(text, r->key, r->value, &b);
    snprintf(path, sizeof path, "tests/golden/%s/%s/hf", arch->name, name);
    assert_int_equal(kernels_pick("generic", &o.k, &e), 0);
    if (model_dir_config(path, &b, dir) || checkpoint_open(dir, "test", &c, &e))
        fail_msg("%s with %s: %s", name, r->key, e.msg);
    if (arch->load(&o, c, &info, &self, &e) == 0)
        fail_msg("%s with %s %s was loaded", name, r->key,
                 r->value ? r->value : "-");
    assert_null(self);
    if (!strstr(e.msg, r->part))
        fail_msg("%s with %s: the message '%s' does not hold '%s'", name,
                 r->key, e.msg, r->part);
    checkpoint_close(c);
    model_dir_remove(dir);
    mem_free(text);
    buf_fini(&b);
}
