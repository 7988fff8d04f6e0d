/* curve: the learning curve as CSV and as a plot (SVG), rewritten after each
 * validation.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"
#include "models/train/train.h"

#define WIDTH 720
#define HEIGHT 400
#define LEFT 60
#define RIGHT 20
#define TOP 40
#define BOTTOM 46

int curve_add(struct curve *c, const struct curve_point *p, struct err *e)
{
    if (c->n == c->cap) {
        int cap = c->cap * 2 + 64;
        struct curve_point *v = mem_grow(c->v, (size_t)cap, sizeof *v);
        if (v == NULL)
            return err_nomem(e);
        c->v = v;
        c->cap = cap;
    }
    c->v[c->n++] = *p;
    return 0;
}

struct frame {
    double x0, x1, y0, y1;
};

static struct frame frame_of(const struct curve *c)
{
    struct frame f = {0, c->v[c->n - 1].epoch, 1e30, -1e30};
    for (int i = 0; i < c->n; i++) {
        const struct curve_point *p = &c->v[i];
        double low = p->train < p->valid ? p->train : p->valid;
        double high = p->train > p->valid ? p->train : p->valid;
        f.y0 = low < f.y0 ? low : f.y0;
        f.y1 = high > f.y1 ? high : f.y1;
    }
    if (f.y1 - f.y0 < 1e-3)
        f.y1 = f.y0 + 1e-3;
    if (f.x1 <= 0)
        f.x1 = 1;
    return f;
}

static double place_x(const struct frame *f, double x)
{
    return LEFT + (x - f->x0) / (f->x1 - f->x0) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const struct frame *f, double y)
{
    return HEIGHT - BOTTOM -
           (y - f->y0) / (f->y1 - f->y0) * (HEIGHT - TOP - BOTTOM);
}

static void add_line(struct buf *b, const struct curve *c,
                     const struct frame *f, int valid, const char *colour)
{
    buf_addf(b,
             "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" "
             "points=\"",
             colour);
    for (int i = 0; i < c->n; i++)
        buf_addf(b, "%.1f,%.1f ", place_x(f, c->v[i].epoch),
                 place_y(f, valid ? c->v[i].valid : c->v[i].train));
    buf_add_str(b, "\"/>\n");
}

static void add_ticks(struct buf *b, const struct frame *f)
{
    for (int i = 0; i <= 5; i++) {
        double y = f->y0 + (f->y1 - f->y0) * i / 5;
        double x = f->x0 + (f->x1 - f->x0) * i / 5;
        buf_addf(b,
                 "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" "
                 "stroke=\"#ddd\"/>\n",
                 LEFT, WIDTH - RIGHT, place_y(f, y), place_y(f, y));
        buf_addf(b,
                 "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>"
                 "\n",
                 LEFT - 6, place_y(f, y) + 4, y);
        buf_addf(b,
                 "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.3g"
                 "</text>\n",
                 place_x(f, x), HEIGHT - BOTTOM + 18, x);
    }
}

static void add_plot(struct buf *b, const struct curve *c)
{
    struct frame f = frame_of(c);
    buf_addf(b,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
             "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
             "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
             WIDTH, HEIGHT);
    add_ticks(b, &f);
    add_line(b, c, &f, 0, "#1f77b4");
    add_line(b, c, &f, 1, "#d62728");
    buf_addf(b,
             "<text x=\"%d\" y=\"24\" fill=\"#1f77b4\">training loss</text>"
             "\n<text x=\"%d\" y=\"24\" fill=\"#d62728\">validation loss"
             "</text>\n",
             LEFT, LEFT + 110);
    buf_addf(b,
             "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">epochs</text>"
             "\n</svg>\n",
             WIDTH / 2, HEIGHT - 10);
}

int curve_write(const struct trainer *t, struct err *e)
{
    struct buf b;
    int rc = 0;
    buf_init(&b, (size_t)64 << 20);
    buf_add_str(&b, "step,epoch,tokens,seconds,lr,train_nats,valid_nats,"
                    "valid_accuracy\n");
    for (int i = 0; i < t->curve.n; i++) {
        const struct curve_point *p = &t->curve.v[i];
        buf_addf(&b, "%lld,%.4f,%lld,%.1f,%.6g,%.6f,%.6f,%.6f\n",
                 (long long)p->step, p->epoch, (long long)p->tokens, p->seconds,
                 p->lr, p->train, p->valid, p->accuracy);
    }
    rc = save_file(t->o.out, "curve.csv", &b, e);
    buf_clear(&b);
    if (rc == 0 && t->curve.n > 0) {
        add_plot(&b, &t->curve);
        rc = save_file(t->o.out, "curve.svg", &b, e);
    }
    buf_fini(&b);
    return rc;
}
