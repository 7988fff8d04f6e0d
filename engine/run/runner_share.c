/* runner_share: whose turn it is. A model is shared by clients, not by items:
 *
 *   places   a job is admitted for the client that has the fewest running, of
 *            those the one that was served least. When there is no place (or no
 *            memory), the client with the most gives the one of its youngest
 *            job to a client that has at least two fewer: so the count of each
 *            comes to its part of the places, and no place goes to and fro.
 *            Where all have one, a client that has none gets the place of one
 *            that was served TURN tokens more.
 *   rows     see batch.h: the client that was served least first; a step with
 *            light and heavy clients is bounded.
 *
 * A job that gives its place up keeps its state when there is memory for it
 * (parked), so that it costs nothing; parked states are the first to go when
 * memory is short. What a client was served is counted in tokens from the
 * least of those that were there when it came (start-time fair queueing, Goyal
 * et al. 1996), and nobody is further behind than a step or a turn: nobody
 * saves up, by absence or by asking for little, and nobody pays for what was
 * free.
 *
 * A client is there from its first job until LINGER_US after its last, at any
 * model of the process, since models share the compute pool: so one that asks
 * again and again finds steps that are short already.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>

#include "engine/base/metrics.h"
#include "engine/run/runner_impl.h"

#define LINGER_US 1000000
/* A client with so many times the open jobs of another is heavy. */
#define HEAVY 4
#define TURN 256
#define MOST_FLOWS 256 /* of more none is kept that has no job */

static int is_there(const struct runner *r, const struct flow *f, int64_t now)
{
    return atomic_load(&f->open) > 0 ||
           (r->n_flows <= MOST_FLOWS && now - f->left_us < LINGER_US);
}

/* A client that has just come has had as much as the one with the least. */
void runner_meet(struct runner *r, struct flow *f)
{
    uint64_t least = UINT64_MAX;

    if (!f->known) {
        f->known = 1;
        f->peer = r->flows;
        r->flows = f;
        r->n_flows++;
    }
    if (f->head || f->n_active > 0)
        return; /* it has been here */
    for (const struct flow *o = r->flows; o; o = o->peer)
        if ((o->head || o->n_active > 0) && o->served < least)
            least = o->served;
    if (least != UINT64_MAX && f->served < least)
        f->served = least;
}

struct flow *runner_next_flow(const struct runner *r)
{
    struct flow *best = NULL;

    for (struct flow *f = r->flows; f; f = f->peer) {
        if (!f->head)
            continue;
        if (!best || f->n_active < best->n_active ||
            (f->n_active == best->n_active &&
             (f->served < best->served ||
              (f->served == best->served && f->head->age < best->head->age))))
            best = f;
    }
    return best;
}

int runner_victim(const struct runner *r, const struct flow *f, int keep)
{
    const struct flow *most = NULL;
    int at = -1;

    if (r->n_flows < 2)
        return -1;
    for (const struct flow *o = r->flows; o; o = o->peer)
        if (o != f && o->n_active > 0 &&
            (!most || o->n_active > most->n_active ||
             (o->n_active == most->n_active && o->served > most->served)))
            most = o;
    if (!most)
        return -1;
    int turn = keep && f->n_active == 0 && most->served >= f->served + TURN;
    if (most->n_active < f->n_active + 2 && !turn)
        return -1;
    for (int i = 0; i < r->n_active; i++) {
        const struct job *j = r->active[i];
        if (j->flow == most && (at < 0 || j->age > r->active[at]->age))
            at = i;
    }
    return at;
}

/* Who asks for less than it could have falls behind, and so does who comes
 * while nobody else is there. What it is behind it gets first once it asks for
 * more: never more than a step's tokens, or the others would wait for all that
 * they had when nobody wanted it. */
static void catch_up(struct runner *r)
{
    uint64_t lead = 0;
    uint64_t most = (uint64_t)(r->step_tokens > TURN ? r->step_tokens : TURN);

    for (const struct flow *f = r->flows; f; f = f->peer)
        lead = f->served > lead ? f->served : lead;
    for (struct flow *f = r->flows; f; f = f->peer)
        if (lead - f->served > most)
            f->served = lead - most;
}

/* --- heavy and light --- */

/* Jobs that ask for steps. */
static int asking(const struct flow *f)
{
    return atomic_load(&f->open) - f->n_paused;
}

/* The flows that are there; the one with the fewest open jobs, and the next. */
static void find_light(struct runner *r, int64_t now, const struct flow *two[2])
{
    struct flow **at = &r->flows;
    int n = 0;

    two[0] = two[1] = NULL;
    while (*at) {
        struct flow *f = *at;
        int open = atomic_load(&f->open);
        if (!is_there(r, f, now)) {
            struct flow *next = f->peer;
            if (queue_forget(&r->queue, f)) {
                *at = next;
                r->n_flows--;
                continue;
            }
        }
        at = &f->peer;
        n += open > 0;
        if (open > 0 && asking(f) == 0)
            continue; /* all of it is paused: nobody has to be quick for it */
        if (!two[0] || asking(f) < asking(two[0])) {
            two[1] = two[0];
            two[0] = f;
        } else if (!two[1] || asking(f) < asking(two[1])) {
            two[1] = f;
        }
    }
    if (n != r->n_clients) {
        r->n_clients = n;
        metric_set(r->m.clients, n);
    }
}

/* The fewest open jobs (at least 1) of another client than f, which is there at
 * any model; INT_MAX: nobody is. */
static int least_beside(struct runner *r, const struct flow *f, int64_t now,
                        const struct flow *const two[2])
{
    const struct flow *own = two[0] == f ? two[1] : two[0];
    int least = own ? asking(own) : INT_MAX;

    pthread_mutex_lock(&r->s->mu);
    for (struct runner *o = r->s->runners; o; o = o->next) {
        for (int i = 0; o != r && i < 2; i++) {
            int open = atomic_load(&o->light[i].open);
            if (atomic_load(&o->light[i].until) > now &&
                atomic_load(&o->light[i].client) != f->client && open < least)
                least = open;
        }
    }
    pthread_mutex_unlock(&r->s->mu);
    return least < 1 ? 1 : least;
}

void runner_weigh(struct runner *r, int64_t now)
{
    const struct flow *two[2];

    find_light(r, now, two);
    catch_up(r);
    for (int i = 0; i < 2 && two[i]; i++) {
        int open = asking(two[i]);
        atomic_store(&r->light[i].client, two[i]->client);
        atomic_store(&r->light[i].open, open);
        atomic_store(&r->light[i].until,
                     (open > 0 ? now : two[i]->left_us) + LINGER_US);
    }
    for (struct flow *f = r->flows; f; f = f->peer) {
        int open = asking(f);
        f->heavy =
            open >= HEAVY && open / HEAVY >= least_beside(r, f, now, two);
    }
}
