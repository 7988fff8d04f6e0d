/* save: a checkpoint as models/README.md describes it.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/safetensors.h"
#include "models/train/train.h"

int save_file(const char *dir, const char *name, const struct buf *b,
              struct err *e)
{
    char path[FILE_PATH_BYTES];
    struct file_part p;
    if (b->failed)
        return err_nomem(e);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (file_part_open(&p, path, e) != 0)
        return -1;
    int ok = fwrite(b->p, 1, b->len, p.f) == b->len;
    return file_part_commit(&p, ok, e);
}

static void add_labels(struct buf *b, const struct labels *l)
{
    for (int i = 0; i < l->n; i++) {
        buf_addf(b, "%s\"%d\": ", i == 0 ? ",\n  \"id2label\": {" : ", ", i);
        buf_add_json_string(b, l->name[i], strlen(l->name[i]));
    }
    buf_add_str(b, "}");
}

void save_config_text(const struct trainer *t, struct buf *b)
{
    buf_addf(b, "{\n  \"model_type\": \"%s\"", trainable_type(t->net.family));
    t->net.family->write(&t->net, t->tokenizer, b);
    if (t->objective->labelled)
        add_labels(b, &t->labels);
    else if (!t->objective->pairs && !t->objective->vectors)
        buf_addf(b, ",\n  \"seqd_record\": \"%s\"%s",
                 records_kind_name((enum record_kind)t->o.record),
                 t->o.apart ? ",\n  \"seqd_apart\": true" : "");
    buf_add_str(b, "\n}\n");
}

int save_config(const struct trainer *t, const char *dir, struct err *e)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    save_config_text(t, &b);
    int rc = save_file(dir, "config.json", &b, e);
    buf_fini(&b);
    return rc;
}

void save_as(struct save_tensor *t, int precision, const char *model_type)
{
    static const enum dtype dtypes[] = {
        [PRECISION_F32] = DT_F32,
        [PRECISION_BF16] = DT_BF16,
        [PRECISION_F16] = DT_F16,
        [PRECISION_INT8] = DT_I8,
    };
    t->dtype = dtypes[precision];
    if (t->dtype != DT_I8)
        return;
    if (t->n_dims == 2 && t->dim[0] > 1)
        t->by_column = trainable_by_input(model_type, t->name);
    else
        t->dtype = DT_F32;
}

int save_weights(const struct trainer *t, const real *w, const char *dir,
                 struct err *e)
{
    struct save_tensor s[NET_MAX_TENSORS];
    char path[FILE_PATH_BYTES];
    float *f = mem_floats(t->net.n);
    if (f == NULL)
        return err_nomem(e);
    for (size_t i = 0; i < t->net.n; i++)
        f[i] = (float)w[i];
    for (int i = 0; i < t->net.n_tensors; i++) {
        const struct net_tensor *x = &t->net.t[i];
        s[i] = (struct save_tensor){.name = x->name,
                                    .n_dims = x->n_dims,
                                    .dim = {x->dim[0], x->dim[1]},
                                    .data = f + x->at};
        save_as(&s[i], t->o.precision, trainable_type(t->net.family));
    }
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    int rc = safetensors_save(path, s, t->net.n_tensors, NULL, 0, e);
    mem_aligned_free(f);
    return rc;
}
