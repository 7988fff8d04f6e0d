/* golden: see golden.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/golden.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/compute/kernels.h"

int golden_names(const char *dir, struct golden_names *out)
{
    DIR *d = opendir(dir);
    struct dirent *x;
    out->n = 0;
    while (d && (x = readdir(d)))
        if (x->d_name[0] != '.' && out->n < GOLDEN_MAX)
            snprintf(out->name[out->n++], sizeof out->name[0], "%.120s",
                     x->d_name);
    if (d)
        closedir(d);
    return out->n > 0 ? 0 : -1;
}

void golden_each(const struct golden_names *names,
                 void (*open)(const char *name),
                 void (*check)(const char *family))
{
    const struct kernels *k;
    assert_true(names->n > 0);
    for (int i = 0; i < names->n; i++) {
        open(names->name[i]);
        for (int f = 0; (k = kernels_available(f)); f++)
            check(k->name);
    }
}

int golden_floats(const struct json *list, float *v, int max)
{
    int n = 0;
    for (const struct json *x = json_child(list); x; x = json_next(x)) {
        assert_true(n < max);
        v[n++] = (float)json_number(x);
    }
    return n;
}

int golden_ids(const struct json *list, int32_t *ids, int max)
{
    int n = 0;
    for (const struct json *x = json_child(list); x; x = json_next(x)) {
        int64_t id;
        assert_int_equal(json_int(x, &id), 0);
        assert_true(n < max);
        ids[n++] = (int32_t)id;
    }
    return n;
}

static void differ(int i, float got, float want, const char *what, va_list list)
{
    char text[256];
    vsnprintf(text, sizeof text, what, list);
    fail_msg("%s: element %d is %.9g, expected %.9g", text, i, (double)got,
             (double)want);
}

void golden_close(const float *got, const float *want, int n, double tolerance,
                  const char *what, ...)
{
    va_list list;
    va_start(list, what);
    for (int i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)want[i]);
        if (!(d <= tolerance * fmax(1.0, fabs((double)want[i]))))
            differ(i, got[i], want[i], what, list);
    }
    va_end(list);
}

void golden_same(const float *a, const float *b, size_t n, const char *what,
                 ...)
{
    va_list list;
    va_start(list, what);
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a))
            differ((int)i, a[i], b[i], what, list);
    va_end(list);
}
