/* abc_notes: lengths, tuplets and broken rhythm: whether a note fits into what
 * is left of its bar so that the rest can be filled.
 *
 * What a model writes are lengths of two digits at most, over 2 or 4 (up to 16
 * where the bar is no multiple of a quarter of the unit). Within a tuplet or a
 * broken pair the second note has the length of the first: room for it was
 * looked for when the first was complete.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/abc/abc_impl.h"

#define MOST_DEN 16

/* A length that follows from what stands in front: 0: none does. */
static int64_t bound_to(const struct abc *s)
{
    return s->broken ? s->last : s->left && s->each ? s->each : 0;
}

/* As played. */
static int64_t played(const struct abc *s, int64_t u)
{
    if (s->broken)
        u = u * s->broken / 8;
    return s->left ? u * s->q / s->p : u;
}

static int fits(const struct abc *s, int64_t u, int given)
{
    int64_t left = abc_left(s), bound = bound_to(s);

    if (given) { /* not over the bar's end */
        if (s->left && !s->each)
            return u * s->q <= left;
        return played(s, u) <= left;
    }
    if (bound)
        return u == bound;
    if (s->grace && u < s->unit) /* it takes its time from its note */
        return 0;
    if (s->left) /* the first of a tuplet: all of them */
        u *= s->q;
    return u <= left;
}

/* Whether num/den is how a model spells a length. */
static int is_spelled(const struct abc *s, int num, int den)
{
    int64_t finest = bound_to(s) ? MOST_DEN : s->unit / s->grid;

    return den <= finest && (den == 1 || num % 2 == 1);
}

static int try_length(const struct abc *s, int num, int den, int given)
{
    int64_t u = s->unit / den * num;

    return (given || is_spelled(s, num, den)) && fits(s, u, given);
}

/* Some length that begins with num over what may follow. */
static int num_may(const struct abc *s, int num, int given)
{
    int den = s->n_den ? s->den : s->slashes > 1 ? 1 << s->slashes : 0;

    if (s->slashes == 0 && try_length(s, num, 1, given))
        return 1;
    if (den == 1)
        return try_length(s, num, 16, given);
    if (den)
        return try_length(s, num, den, given);
    for (den = 2; den <= MOST_DEN; den *= 2)
        if (try_length(s, num, den, given))
            return 1;
    return 0;
}

/* Some length that begins as the one that is written. */
static int may_become(const struct abc *s, int given)
{
    int from = 1, to = 99;

    if (s->slashes || s->n_num == 2)
        from = to = s->n_num ? s->num : 1;
    else if (s->n_num == 1)
        from = s->num * 10, to = from + 9;
    if (s->n_num == 1 && !s->slashes && (given || s->num > 1) &&
        num_may(s, s->num, given))
        return 1;
    for (int num = from; num <= to; num++)
        if (num_may(s, num, given))
            return 1;
    return 0;
}

int abc_room(const struct abc *s, int given)
{
    struct abc none = *s;

    none.num = none.n_num = none.slashes = none.den = none.n_den = 0;
    if (!bound_to(s) && abc_left(s) <= 0)
        return 0;
    return may_become(&none, given);
}

static int den_digit(struct abc *s, int c)
{
    if (s->slashes != 1)
        return -1;
    if (s->n_den == 1) {
        if (s->den != 1 || c != '6')
            return -1;
        s->den = 16;
    } else if (s->n_den == 0 &&
               (c == '1' || c == '2' || c == '4' || c == '8')) {
        s->den = (uint8_t)(c - '0');
    } else {
        return -1;
    }
    s->n_den++;
    return 0;
}

static int num_digit(struct abc *s, int c)
{
    if (s->n_num == 2 || (s->n_num == 0 && c == '0'))
        return -1;
    s->num = (uint8_t)(s->num * 10 + c - '0');
    s->n_num++;
    return 0;
}

int abc_length(struct abc *s, int c, int given)
{
    if (!abc_digit(c) && c != '/')
        return 1;
    if (c == '/') {
        if (s->n_den || s->slashes >= (given ? 4 : 1) ||
            (!given && s->n_num == 1 && s->num == 1))
            return -1;
        s->slashes++;
    } else if (s->slashes ? den_digit(s, c) : num_digit(s, c)) {
        return -1;
    }
    s->of_prompt = (uint8_t)given;
    s->place = AT_LENGTH;
    return may_become(s, given) ? 0 : -1;
}

/* The length as written; 0: it is not complete, or no spelling. */
static int64_t written(const struct abc *s, int given)
{
    int num = s->n_num ? s->num : 1;
    int den = s->n_den ? s->den : 1 << s->slashes;

    if (s->n_den && s->den == 1 && !given)
        return 0;
    if (!given && s->n_num == 1 && num == 1 && !s->slashes)
        return 0;
    return given || is_spelled(s, num, den) ? s->unit / den * num : 0;
}

int abc_complete(const struct abc *s)
{
    int64_t u = written(s, 1);

    return u > 0 && fits(s, u, 1);
}

/* The length as written, where it fits: as a prompt's or as a model's. */
static int64_t fitting(const struct abc *s, int given)
{
    int64_t u = written(s, given);

    return u > 0 && fits(s, u, given) ? u : 0;
}

int abc_finishes(const struct abc *s)
{
    return fitting(s, s->of_prompt) > 0 || may_become(s, 0);
}

static int tie_fits(const struct abc *s)
{
    return !s->tie ||
           (s->letter == s->tie_letter && s->octave == s->tie_octave);
}

int abc_commit(struct abc *s, int given)
{
    int loose = given || s->of_prompt;
    int64_t u = fitting(s, loose);

    if (u == 0 && loose) /* bound to the note in front, a model can go on */
        u = fitting(s, 0);
    if (u == 0 || (!loose && !tie_fits(s)))
        return -1;
    s->added = played(s, u);
    s->last = u;
    s->t += s->added;
    s->can_break =
        loose || (!s->broken && !s->left && !s->grace && s->letter != 'z');
    if (s->left) {
        s->each = s->each ? s->each : u;
        s->left--;
    }
    s->broken = s->n_broken = 0;
    s->symbol = s->grace = s->tie = 0;
    if (s->letter == '[')
        s->home = s->has_tonic;
    else if (s->letter != 'z')
        s->home = (s->letter | 32) == s->tonic && !s->accidental;
    s->accidental = 0;
    s->tie_letter = s->letter;
    s->tie_octave = s->octave;
    s->fresh = s->blank = 1;
    s->place = AT_ITEM;
    return 0;
}

int abc_break(struct abc *s, int c, int given)
{
    if (s->n_broken == 0) {
        if (!s->fresh || !s->can_break || abc_left(s) < s->last)
            return -1;
        s->sign = (char)c;
        s->fresh = s->blank = 0;
    } else if (c != s->sign || s->n_broken >= (given ? 3 : 2)) {
        return -1;
    }
    int part = 8 >> ++s->n_broken; /* of the note, in eighths */
    int64_t moved = s->added * part / 8;
    s->t += c == '>' ? moved : -moved;
    s->broken = (uint8_t)(c == '>' ? part : 16 - part);
    return 0;
}

int abc_tuplet(struct abc *s, int c, int given)
{
    static const uint8_t of[] = {0, 0, 3, 2, 3, 0, 2, 0, 3, 0};
    int p = c - '0';

    if (p < 2 || p > 9 || (!given && p != 2 && p != 3 && p != 4 && p != 6))
        return -1;
    s->q = of[p] ? of[p] : s->compound ? 3 : 2;
    s->p = s->left = (uint8_t)p;
    s->each = 0;
    s->n = 0;
    s->place = AT_TUPLET;
    return abc_room(s, 0) ? 0 : -1;
}

/* Behind (3 of a prompt: :q:r. 1: the tuplet is complete; -1: no room. */
int abc_tuplet_more(struct abc *s, int c)
{
    if (c == ':' && s->n < 2) {
        s->n++;
        return 0;
    }
    if (s->n == 0 || !abc_digit(c) || c == '0')
        return 1;
    if (s->n == 1)
        s->q = (uint8_t)(c - '0');
    else
        s->left = (uint8_t)(c - '0');
    return abc_room(s, 0) ? 0 : -1;
}
