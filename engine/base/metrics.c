/* metrics: see metrics.h. A family is a fixed array of pointers to series that
 * only ever grows: readers walk it without a lock, makers take a mutex.
 * Values are doubles in atomic 64-bit words (compare and swap). Histograms of
 * sizes count every size up to 1024 by itself, so that metric_count is exact;
 * the buckets of the text form are sums over them.
 * Source: Prometheus exposition formats, text format 0.0.4.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/metrics_process.h"

#define MAX_SERIES 256 /* a metric */
#define MAX_LABELS 3
#define VALUE_BYTES 96
#define MAX_SIZE 1024 /* sizes above share the last count */

enum kind { COUNTER, GAUGE, HISTOGRAM };
enum buckets { NONE, DURATION, SIZE };

static const double duration_le[] = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30};
#define N_DURATIONS ((int)(sizeof(duration_le) / sizeof(duration_le[0])))
static const double size_le[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
#define N_SIZES ((int)(sizeof(size_le) / sizeof(size_le[0])))

struct metric_def {
    const char *name, *labels, *help;
    enum kind kind;
    enum buckets buckets;
};

static const struct metric_def defs[N_METRICS] = {
#define METRIC_DEF(id, kind, name, labels, buckets, help)                      \
    {name, labels, help, kind, buckets},
    METRICS(METRIC_DEF)
#undef METRIC_DEF
};

struct labels {
    char v[MAX_LABELS][VALUE_BYTES];
};

struct metric_series {
    enum buckets buckets;
    struct labels label;
    _Atomic uint64_t value; /* bits of a double; the sum of a histogram */
    int n_counts;           /* one more than the limits: the rest */
    _Atomic uint64_t *counts;
};

struct family {
    atomic_int n;
    struct metric_series *_Atomic series[MAX_SERIES];
    struct metric_series other;
    _Atomic uint64_t other_counts[MAX_SIZE + 2];
};

static struct family families[N_METRICS];
static pthread_mutex_t make_lock = PTHREAD_MUTEX_INITIALIZER;

static int count_slots(enum buckets b)
{
    return b == DURATION ? N_DURATIONS + 1 : b == SIZE ? MAX_SIZE + 2 : 0;
}

/* A label value, cut to what a series stores. */
static void set_label(char dst[VALUE_BYTES], const char *v)
{
    snprintf(dst, VALUE_BYTES, "%s", v ? v : "");
}

static int same_labels(const struct labels *a, const struct labels *b)
{
    for (int i = 0; i < MAX_LABELS; i++)
        if (strcmp(a->v[i], b->v[i]) != 0)
            return 0;
    return 1;
}

static struct metric_series *find(struct family *f, const struct labels *l)
{
    int n = atomic_load_explicit(&f->n, memory_order_acquire);
    for (int i = 0; i < n; i++) {
        struct metric_series *s =
            atomic_load_explicit(&f->series[i], memory_order_relaxed);
        if (same_labels(&s->label, l))
            return s;
    }
    return NULL;
}

static struct metric_series *make(const struct metric_def *d,
                                  const struct labels *l)
{
    int n_counts = count_slots(d->buckets);
    struct metric_series *s = mem_zalloc(sizeof *s);
    _Atomic uint64_t *counts = mem_zarray((size_t)n_counts + 1, sizeof *counts);
    if (!s || !counts) {
        mem_free(s);
        mem_free(counts);
        return NULL;
    }
    s->buckets = d->buckets;
    s->n_counts = n_counts;
    s->counts = counts;
    s->label = *l;
    return s;
}

/* The overflow series: static, so that it is there without memory. */
static struct metric_series *overflow(enum metric m)
{
    struct family *f = &families[m];
    struct metric_series *s = &f->other;
    if (!s->counts) {
        const char *p = defs[m].labels;
        for (int i = 0; i < MAX_LABELS && *p; i++) {
            set_label(s->label.v[i], "other");
            p += strcspn(p, ",");
            p += *p == ',';
        }
        s->buckets = defs[m].buckets;
        s->n_counts = count_slots(s->buckets);
        s->counts = f->other_counts;
    }
    return s;
}

struct metric_series *metrics_series(enum metric m, const char *v1,
                                     const char *v2, const char *v3)
{
    struct family *f = &families[m];
    struct labels l;
    set_label(l.v[0], v1);
    set_label(l.v[1], v2);
    set_label(l.v[2], v3);
    struct metric_series *s = find(f, &l);
    if (s)
        return s;
    pthread_mutex_lock(&make_lock);
    s = find(f, &l); /* another thread may have been first */
    int n = atomic_load(&f->n);
    if (!s && n < MAX_SERIES) {
        s = make(&defs[m], &l);
        if (s) {
            atomic_store(&f->series[n], s);
            atomic_store_explicit(&f->n, n + 1, memory_order_release);
        }
    }
    if (!s)
        s = overflow(m);
    pthread_mutex_unlock(&make_lock);
    return s;
}

static double from_bits(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

static uint64_t to_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

void metric_add(struct metric_series *s, double v)
{
    uint64_t old = atomic_load_explicit(&s->value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(
        &s->value, &old, to_bits(from_bits(old) + v), memory_order_relaxed,
        memory_order_relaxed)) {
    }
}

void metric_set(struct metric_series *s, double v)
{
    atomic_store_explicit(&s->value, to_bits(v), memory_order_relaxed);
}

static int slot_of(enum buckets b, double v)
{
    if (b == SIZE) {
        double up = ceil(v);
        return up <= 0 ? 0 : up > MAX_SIZE ? MAX_SIZE + 1 : (int)up;
    }
    int i = 0;
    while (i < N_DURATIONS && v > duration_le[i])
        i++;
    return i;
}

void metric_observe(struct metric_series *s, double v)
{
    if (s->n_counts == 0 || isnan(v))
        return;
    atomic_fetch_add_explicit(&s->counts[slot_of(s->buckets, v)], 1,
                              memory_order_relaxed);
    metric_add(s, v);
}

/* Observations in slots [from, to]. */
static uint64_t sum_slots(const struct metric_series *s, int from, int to)
{
    uint64_t sum = 0;
    for (int i = from; i <= to; i++)
        sum += atomic_load_explicit(&s->counts[i], memory_order_relaxed);
    return sum;
}

uint64_t metric_count(const struct metric_series *s, double at_least)
{
    int from = 0;
    if (at_least > 0 && s->n_counts) {
        from = slot_of(s->buckets, at_least);
        /* Of durations only whole buckets count: never too many. */
        from += s->buckets == DURATION;
    }
    return sum_slots(s, from, s->n_counts - 1);
}

static const char *const kind_names[] = {"counter", "gauge", "histogram"};

/* `name="value",` of each label; quotes, backslashes and line feeds escaped. */
static void put_labels(struct buf *out, const struct metric_def *d,
                       const struct metric_series *s)
{
    const char *p = d->labels;
    for (int i = 0; i < MAX_LABELS && *p; i++) {
        size_t n = strcspn(p, ",");
        buf_addf(out, "%.*s=\"", (int)n, p);
        for (const char *v = s->label.v[i]; *v; v++) {
            if (*v == '\n') {
                buf_add_str(out, "\\n");
                continue;
            }
            if (*v == '"' || *v == '\\')
                buf_add_char(out, '\\');
            buf_add_char(out, *v);
        }
        buf_add_str(out, "\",");
        p += n;
        p += *p == ',';
    }
}

static void put_sample(struct buf *out, const struct metric_def *d,
                       const char *suffix, const struct metric_series *s)
{
    buf_addf(out, "seqd_%s%s", d->name, suffix);
    if (d->labels[0]) {
        buf_add_char(out, '{');
        put_labels(out, d, s);
        out->len -= !out->failed; /* the last comma */
        buf_add_char(out, '}');
    }
    buf_add_char(out, ' ');
}

static void put_histogram(struct buf *out, const struct metric_def *d,
                          const struct metric_series *s)
{
    int sizes = s->buckets == SIZE;
    const double *le = sizes ? size_le : duration_le;
    int n = sizes ? N_SIZES : N_DURATIONS;
    uint64_t sum = 0;
    int next = 0;
    for (int i = 0; i <= n; i++) {
        int last = i == n ? s->n_counts - 1 : slot_of(s->buckets, le[i]);
        sum += sum_slots(s, next, last);
        next = last + 1;
        buf_addf(out, "seqd_%s_bucket{", d->name);
        put_labels(out, d, s);
        buf_add_str(out, "le=\"");
        if (i == n)
            buf_add_str(out, "+Inf");
        else
            buf_add_double(out, le[i]);
        buf_addf(out, "\"} %llu\n", (unsigned long long)sum);
    }
    put_sample(out, d, "_sum", s);
    buf_add_double(out, from_bits(atomic_load(&s->value)));
    buf_add_char(out, '\n');
    put_sample(out, d, "_count", s);
    buf_addf(out, "%llu\n", (unsigned long long)sum);
}

static void put_series(struct buf *out, const struct metric_def *d,
                       const struct metric_series *s)
{
    if (d->kind == HISTOGRAM) {
        put_histogram(out, d, s);
        return;
    }
    put_sample(out, d, "", s);
    buf_add_double(out, from_bits(atomic_load(&s->value)));
    buf_add_char(out, '\n');
}

int metrics_write(struct buf *out)
{
    metric_set(metrics_series(METRIC_LOG_LOST, NULL, NULL, NULL),
               (double)log_lost());
    for (int m = 0; m < N_METRICS; m++) {
        const struct metric_def *d = &defs[m];
        struct family *f = &families[m];
        buf_addf(out, "# HELP seqd_%s %s\n# TYPE seqd_%s %s\n", d->name,
                 d->help, d->name, kind_names[d->kind]);
        int n = atomic_load_explicit(&f->n, memory_order_acquire);
        for (int i = 0; i < n; i++)
            put_series(out, d, atomic_load(&f->series[i]));
        if (n == MAX_SERIES) {
            pthread_mutex_lock(&make_lock);
            put_series(out, d, overflow((enum metric)m));
            pthread_mutex_unlock(&make_lock);
        }
    }
    metrics_write_process(out);
    return out->failed ? -1 : 0;
}
