/* class_rules: see class_rules.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/class_rules.h"

#include <string.h>

#include "engine/base/mem.h"

#define MOST_WINDOW (1 << 20)
/* A text is read so many times at most, where parts lie over each other. */
#define MOST_READ 4

static const char TEMPERATURE[] = "seqd_temperature", BIAS[] = "seqd_bias",
                  WINDOWS[] = "seqd_windows";

struct reading {
    const struct hparams *h;
    const struct model_info *info;
    const char *label;
};

static int read_number(const struct reading *r, const char *key,
                       const struct json *v, double least, double most,
                       double *out, struct err *e)
{
    double x = json_number(v);

    if (json_type(v) != JSON_NUMBER)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: '%s' holds %s, expected numbers",
                       r->label, key, json_type_name(json_type(v)));
    if (!(x >= least && x <= most))
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: '%s' holds %g, expected %g..%g",
                       r->label, key, x, least, most);
    *out = x;
    return 0;
}

/* One number for each label, or (where one is allowed) one for all of them. */
static int read_list(const struct reading *r, const char *key, int one_for_all,
                     double least, double most, double **out, struct err *e)
{
    const struct json *v = hparams_json(r->h, key);
    int n = r->info->cols[OUT_CLASS], list = json_type(v) == JSON_ARRAY;

    if (!list && !one_for_all)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: '%s' is %s, expected a list", r->label,
                       key, json_type_name(json_type(v)));
    if (list && json_size(v) != n)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: '%s' has %d numbers, the model %d "
                       "labels",
                       r->label, key, json_size(v), n);
    *out = mem_array((size_t)n, sizeof **out);
    if (!*out)
        return err_nomem(e);
    const struct json *at = list ? json_child(v) : v;
    for (int i = 0; i < n; i++, at = list ? json_next(at) : at)
        if (read_number(r, key, at, least, most, &(*out)[i], e))
            return -1;
    return 0;
}

/* A member that nobody reads would leave a default in force, unseen. */
static int check_members(const struct reading *r, struct err *e)
{
    const struct json *map = hparams_json(r->h, WINDOWS);

    if (json_type(map) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: '%s' is %s, expected an object",
                       r->label, WINDOWS, json_type_name(json_type(map)));
    for (const struct json *v = json_child(map); v; v = json_next(v))
        if (strcmp(json_key(v), "length") != 0 &&
            strcmp(json_key(v), "stride") != 0)
            return err_set(e, ERR_FORMAT,
                           "%s: config.json: '%s.%.40s', expected length or "
                           "stride",
                           r->label, WINDOWS, json_key(v));
    return 0;
}

static int read_windows(const struct reading *r, int n_around,
                        struct class_rules *out, struct err *e)
{
    const struct port *p = &r->info->state.port[PORT_TARGET];
    int64_t context = p->context_length, most, length, stride;

    if (p->unit != UNIT_TOKENS || r->info->state.n_ports > 1)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: '%s' is for models that read a text",
                       r->label, WINDOWS);
    most = context > 0 && context < MOST_WINDOW ? context : MOST_WINDOW;
    if (check_members(r, e) || hparams_int(r->h, "seqd_windows.length",
                                           n_around + 1, most, &length, e))
        return -1;
    int64_t room = length - n_around, least = (room - 1) / MOST_READ + 1;
    if (hparams_int_or(r->h, "seqd_windows.stride", least, room, room, &stride,
                       e))
        return -1;
    out->window = (int)length;
    out->stride = (int)stride;
    return 0;
}

/* A key where it says nothing. */
static int refuse(const struct reading *r, const char *key, const char *what,
                  struct err *e)
{
    return err_set(e, ERR_FORMAT, "%s: config.json: '%s' is for %s", r->label,
                   key, what);
}

int class_rules_read(const struct hparams *h, const struct model_info *info,
                     int n_around, const char *label, struct class_rules *out,
                     struct err *e)
{
    static const char *const keys[] = {TEMPERATURE, BIAS, WINDOWS};
    const struct reading r = {h, info, label};

    *out = (struct class_rules){0};
    for (int i = 0; i < 3; i++) {
        if (!hparams_has(h, keys[i]))
            continue;
        if (info->cols[OUT_CLASS] < 1)
            return refuse(&r, keys[i], "models with labels", e);
        if (i < 2 && info->scores == SCORE_RAW)
            return refuse(&r, keys[i], "probabilities, and the scores are not",
                          e);
    }
    if (hparams_has(h, TEMPERATURE) &&
        read_list(&r, TEMPERATURE, 1, CLASS_LEAST_TEMPERATURE,
                  CLASS_MOST_TEMPERATURE, &out->temperature, e))
        return -1;
    if (hparams_has(h, BIAS) && read_list(&r, BIAS, 0, -CLASS_MOST_BIAS,
                                          CLASS_MOST_BIAS, &out->bias, e))
        return -1;
    return hparams_has(h, WINDOWS) ? read_windows(&r, n_around, out, e) : 0;
}

void class_rules_fini(struct class_rules *r)
{
    mem_free(r->temperature);
    mem_free(r->bias);
    *r = (struct class_rules){0};
}

void class_rules_scale(const struct class_rules *r, int n, const float *row,
                       float *out)
{
    for (int i = 0; i < n; i++) {
        double z = (double)row[i];
        z = r->temperature ? z / r->temperature[i] : z;
        out[i] = (float)(r->bias ? z + r->bias[i] : z);
    }
}
