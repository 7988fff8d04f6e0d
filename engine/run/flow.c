/* flow: see flow.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/flow.h"

#include "engine/run/job.h"

void flow_add(struct flow *f, struct job *j)
{
    struct job **at = &f->head;

    if (f->head && f->tail->age < j->age)
        at = &f->tail->next;
    while (*at && (*at)->age < j->age)
        at = &(*at)->next;
    j->next = *at;
    *at = j;
    if (!j->next)
        f->tail = j;
}
