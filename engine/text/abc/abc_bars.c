/* abc_bars: bar lines, and what the bars between them have to add up to.
 *
 * A section begins with the tune or behind || |] :|, and is opened where |:
 * begins it: then :| ends it, else || or |]. Of what abc2midi warns of, this
 * is: an upbeat and the bar in front of it are one bar, also where a repeat
 * leads from the section's end to its own upbeat.
 *
 * What a model writes is kept near to folk tunes, so that what is begun can be
 * gone on with, and that there is an end: sections of 4 to 32 bars, 8 of them
 * at most, an upbeat of half a bar at most, and a last note that is the tonic
 * (but of the eighth section).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/abc/abc_impl.h"

#define LEAST_BARS 4
#define MOST_BARS 32
#define MOST_SECTIONS 8
#define MANY 255

int abc_metre(struct abc *s)
{
    int64_t full = s->full ? s->full : ABC_WHOLE;

    s->full = full;
    if (s->unit == 0) /* the standard's, section 4.4 */
        s->unit = ABC_WHOLE / (4 * full >= 3 * ABC_WHOLE ? 8 : 16);
    s->grid = s->unit / 4;
    while (full % s->grid && s->grid > s->unit / 16)
        s->grid /= 2;
    if (s->upbeat >= full)
        s->upbeat = 0;
    if (s->owed >= full)
        s->owed = 0;
    s->need = s->owed && s->first_bar ? s->owed : full;
    return full < s->grid ? -1 : 0;
}

static void begin_section(struct abc *s, int64_t owed)
{
    s->t = 0;
    s->upbeat = 0;
    s->owed = owed % s->grid ? 0 : owed; /* a model could not write it */
    s->need = s->owed ? s->owed : s->full;
    s->first_bar = 1;
    s->opened = s->ending = s->second = s->n_bars = 0;
}

int abc_bars_begin(struct abc *s)
{
    s->music = 1;
    s->tune_first = 1;
    int rc = abc_metre(s);
    begin_section(s, 0);
    return rc;
}

int abc_last_bar(const struct abc *s)
{
    return s->n_bars + 1 >= MOST_BARS + (s->upbeat > 0);
}

/* It is opened, and not in its second ending: it leads to its beginning. */
static int repeats(const struct abc *s)
{
    return s->opened && s->ending != 2;
}

static void begin_bar(struct abc *s)
{
    s->t = 0;
    s->first_bar = s->tune_first = 0;
    s->n_bars = (uint8_t)(s->n_bars + (s->n_bars < MANY));
    s->need = s->full - (abc_last_bar(s) && repeats(s) ? s->upbeat : 0);
}

/* Something that a note has to follow, or a tuplet that is not complete. */
static int is_open(const struct abc *s)
{
    return s->broken || s->left || s->symbol || s->grace;
}

/* Those that may end the section with this bar. */
static int section_ends(const struct abc *s)
{
    int last = s->n_sections + 1 >= MOST_SECTIONS, is = 0;

    if (repeats(s))
        return s->t == s->full - s->upbeat ? END_REPEAT : 0;
    if (s->t <= s->full && !last)
        is |= END_SECTION;
    if ((s->home || last) && (s->t == s->full || s->t == s->full - s->upbeat ||
                              s->t == s->full - s->begun))
        is |= END_TUNE;
    return is;
}

/* The bar lines that may end the bar as it is. */
static int ends(const struct abc *s)
{
    int is = 0;
    int64_t left = abc_left(s);

    /* What no length that is written can fill, of a prompt's making. */
    if (left <= 0 || left % s->grid)
        is |= END_BAR;
    if (s->first_bar)
        return is | (s->tune_first && 2 * s->t <= s->full ? END_BAR : 0);
    if (s->tie || s->slur || (s->n_bars < LEAST_BARS - 1 && !s->ending))
        return is;
    int of = section_ends(s);
    return of && abc_last_bar(s) ? of : is | of;
}

static void end_bar(struct abc *s)
{
    if (s->first_bar && s->owed)
        s->upbeat = s->t;
    else if (s->tune_first && s->t < s->full)
        s->upbeat = s->begun = s->t;
    if (s->upbeat % s->grid) /* nothing that a model writes completes it */
        s->upbeat = s->begun = 0;
    begin_bar(s);
}

/* `fits`: the bar line is one of ends(); else a prompt has it so. */
static void end_section(struct abc *s, int kind, int fits)
{
    int64_t over = s->full - s->t;
    int once_more = kind == END_REPEAT && s->ending == 1;

    s->closed = kind == END_TUNE || (kind == END_REPEAT && !once_more);
    if (once_more) {
        begin_bar(s);
        s->second = 1;
        return;
    }
    if (kind == END_TUNE || !fits || s->t == 0 || over < 0)
        over = 0;
    s->tune_first = 0;
    s->n_sections = (uint8_t)(s->n_sections + (s->n_sections < MANY));
    begin_section(s, over);
}

int abc_may_end(const struct abc *s)
{
    return s->closed && !s->second && s->t == 0 &&
           (s->home || s->n_sections >= MOST_SECTIONS);
}

/* The first byte of a bar line. */
int abc_bar_line(struct abc *s, int c, int given)
{
    if (given)
        s->symbol = s->grace = 0;
    if (is_open(s) || (s->spaced && !given))
        return -1;
    s->fresh = s->can_break = s->line_start = 0;
    s->asked = given ? c == '|' ? END_BAR : END_REPEAT : 0;
    if (s->t == 0) {
        if (s->second || (!given && (!s->first_bar || s->opened || c == ':')))
            return -1;
        s->may = 0;
        s->place = c == '|' ? given ? AT_PIPE : AT_OPENING : AT_HALF;
        return 0;
    }
    s->may = (uint8_t)ends(s);
    if (c == '|') {
        if (!given && !(s->may & (END_BAR | END_SECTION | END_TUNE)))
            return -1;
        s->place = AT_PIPE;
        return 0;
    }
    if (!given && (!(s->may & END_REPEAT) || s->bare))
        return -1;
    s->place = AT_HALF;
    return 0;
}

static int open_section(struct abc *s)
{
    s->opened = 1;
    s->closed = 0;
    s->place = AT_ITEM;
    s->line_start = s->bare = 0;
    return 0;
}

/* The end of a section, unless a prompt has two bar lines in a row. */
static int end_by(struct abc *s, int kind, int place, int given)
{
    int fits = (s->may & kind) != 0;

    if (!fits && !given && !(s->asked & kind))
        return -1;
    if (s->t > 0)
        end_section(s, kind, fits);
    else if (!s->first_bar)
        begin_section(s, 0);
    s->place = (uint8_t)place;
    return 0;
}

static int behind_pipe(struct abc *s, int c, int given)
{
    if (c == '|')
        return end_by(s, END_SECTION, AT_DOUBLE, given);
    if (c == ']')
        return end_by(s, END_TUNE, AT_FINAL, given);
    if (c == ':' && !given)
        return s->t == 0 && s->first_bar && !s->opened ? open_section(s) : -1;
    if (c == ':') { /* |: of a prompt, behind a bar */
        if (s->t > 0 && end_by(s, END_SECTION, AT_ITEM, 1))
            return -1;
        if (!s->first_bar)
            begin_section(s, 0);
        return open_section(s);
    }
    if (!given && !((s->may | s->asked) & END_BAR))
        return -1;
    if (s->t > 0)
        end_bar(s);
    s->closed = 0;
    s->place = AT_ITEM;
    if (c == '\n') {
        s->place = AT_LINE;
        s->line_start = 1;
        return given || !s->first_bar ? 0 : -1;
    }
    if (given && (c == '1' || c == '2'))
        return abc_ending(s, c, given);
    return abc_item(s, c, given);
}

/* Behind :| || |]. A model goes on in a new line, or with [2. */
static int behind_section(struct abc *s, int c, int given)
{
    int place = s->place;

    s->place = AT_ITEM;
    if (c == '\n' && !s->second) {
        s->place = AT_LINE;
        s->line_start = 1;
        if (given)
            return 0;
        return place != AT_FINAL && s->n_sections < MOST_SECTIONS ? 0 : -1;
    }
    if (c == '[' && s->second) {
        s->place = AT_BRACKET;
        return 0;
    }
    if (!given)
        return -1;
    if (c == ':')
        return s->second ? -1 : open_section(s);
    if (c == '|' || c == ']') {
        s->place = (uint8_t)place;
        return 0;
    }
    if (c == '1' || c == '2')
        return abc_ending(s, c, given);
    if (s->second)
        return c == ' ' || c == '\n' ? 0 : -1;
    return abc_item(s, c, given);
}

int abc_bar_more(struct abc *s, int c, int given)
{
    switch (s->place) {
    case AT_OPENING:
        return c == ':' ? open_section(s) : -1;
    case AT_PIPE:
        return behind_pipe(s, c, given);
    case AT_HALF:
        if (c == ':' && given) { /* :: */
            if (s->second || end_by(s, END_REPEAT, AT_ITEM, 1) || s->second)
                return -1;
            return open_section(s);
        }
        return c == '|' ? end_by(s, END_REPEAT, AT_REPEAT, given) : -1;
    default:
        return behind_section(s, c, given);
    }
}

int abc_ending_may(const struct abc *s)
{
    return s->t == 0 &&
           (s->second || (s->opened && !s->ending && !s->first_bar));
}

int abc_ending(struct abc *s, int c, int given)
{
    if (s->t > 0 || (c != '1' && c != '2'))
        return -1;
    if (c == '2' ? !s->second : (!abc_ending_may(s) || s->second) && !given)
        return -1;
    if (c == '1' && (s->second || s->ending))
        return -1;
    if (s->first_bar) /* a prompt's: the ending is no upbeat */
        begin_bar(s);
    s->opened = 1;
    s->ending = (uint8_t)(c - '0');
    s->need = c == '2' ? s->full : s->need;
    s->second = 0;
    s->place = AT_ITEM;
    s->line_start = s->bare = 0;
    return 0;
}
