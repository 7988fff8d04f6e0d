/* abc: see abc.h. The music between bar lines.
 *
 * A note is complete when a byte comes that does not belong to it: it is
 * counted then, and the byte looked at where an item may begin.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/abc/abc.h"

#include <string.h>

#include "engine/text/abc/abc_impl.h"

#define MOST_OCTAVE 2 /* marks of a note that a model writes */
#define MOST_GIVEN_OCTAVE 5
#define MOST_AT_ONCE 4 /* notes in [] or {} */
#define MOST_GIVEN_AT_ONCE 12
#define LEAST_TUPLET 2 /* notes in whose time three are played */

_Static_assert(sizeof(struct abc) <= CONSTRAINT_STATE_BYTES, "a state");

/* --- notes --- */

static void begin_note(struct abc *s, int letter)
{
    s->letter = (uint8_t)letter;
    s->octave = 0;
    s->num = s->n_num = s->slashes = s->den = s->n_den = 0;
    s->fresh = s->blank = s->can_break = s->of_prompt = 0;
}

static int is_rest(int c, int given)
{
    return c == 'z' || (given && c == 'x');
}

static int note_letter(struct abc *s, int c, int given)
{
    int rest = is_rest(c, given);

    if (!abc_letter(c) && !rest)
        return -1;
    if (rest && (s->accidental || (!given && (s->grace || s->tie))))
        return -1;
    if (!given && s->tie && (c != s->tie_letter || s->accidental))
        return -1;
    if (!abc_room(s, given))
        return -1;
    if (given) /* a prompt may tie what it likes */
        s->tie = 0;
    s->bare = s->line_start && !s->accidental;
    s->line_start = 0;
    begin_note(s, rest ? 'z' : c);
    s->of_prompt = (uint8_t)given;
    s->place = AT_NOTE;
    return 0;
}

static int accidental(struct abc *s, int c, int given)
{
    if (s->accidental >= (given ? 2 : 1) || (!given && s->tie))
        return -1;
    if (s->accidental && c != s->letter)
        return -1;
    if (!abc_room(s, given))
        return -1;
    if (given)
        s->tie = 0;
    s->letter = (uint8_t)c; /* which one, until the note's letter */
    s->accidental++;
    s->fresh = s->can_break = 0;
    s->place = AT_ACCIDENTAL;
    return 0;
}

/* A mark of the octave: 1 when it is none. A tie wants those of its note. */
static int octave(struct abc *s, int c, int given)
{
    int up = c == '\'', most = given ? MOST_GIVEN_OCTAVE : MOST_OCTAVE;
    int high = s->letter >= 'a';

    if (!up && c != ',')
        return 1;
    if (s->letter == 'z')
        return -1;
    s->octave = (int8_t)(s->octave + (up ? 1 : -1));
    if (!given && s->tie)
        return up ? s->octave <= s->tie_octave ? 0 : -1
               : s->octave >= s->tie_octave ? 0
                                            : -1;
    if (!given && up != high)
        return -1;
    return s->octave > most || s->octave < -most ? -1 : 0;
}

static int in_note(struct abc *s, int c, int given)
{
    int rc = s->place == AT_NOTE ? octave(s, c, given) : 1;

    if (rc <= 0)
        return rc || (!given && !abc_finishes(s)) ? -1 : 0;
    if (s->bare && c == ':' && given && s->place == AT_NOTE && !s->octave) {
        s->field = '%'; /* the line is a field: its letter was no note */
        s->place = AT_VALUE;
        s->bare = 0;
        return 0;
    }
    rc = abc_length(s, c, given);
    if (rc <= 0) {
        s->bare = 0;
        return rc || (!given && s->tie && s->octave != s->tie_octave) ? -1 : 0;
    }
    if (c != ':')
        s->bare = 0;
    return abc_commit(s, given) ? -1 : abc_item(s, c, given);
}

/* --- several notes: [CEG] and {ab} --- */

static int in_group(struct abc *s, int c, int given, int end)
{
    int most = given ? MOST_GIVEN_AT_ONCE : end == ']' ? MOST_AT_ONCE : 2;

    if (c == '^' || c == '_' || c == '=') {
        if (s->accidental >= (given ? 2 : 1) || s->n_chord >= most)
            return -1;
        s->accidental++;
        return 0;
    }
    if (abc_letter(c)) {
        if (s->n_chord >= most)
            return -1;
        s->n_chord++;
        s->has_tonic |= (c | 32) == s->tonic && !s->accidental;
        s->accidental = 0;
        s->letter = (uint8_t)c;
        s->octave = 0;
        return 0;
    }
    if (s->accidental || s->n_chord == 0)
        return given && end == '}' && (c == '/' || c == ' ') ? 0 : -1;
    int rc = octave(s, c, given);
    if (rc <= 0)
        return rc;
    if (c != end)
        return given && end == '}' && (abc_digit(c) || c == '/' || c == ' ')
                   ? 0
                   : -1;
    s->place = AT_ITEM;
    return 0;
}

static int in_chord(struct abc *s, int c, int given)
{
    if (given && s->n_chord > 0 && !s->accidental &&
        (abc_digit(c) || c == '/')) {
        /* [C2E2]: the length of the first note is that of all */
        if (s->n_chord == 1 && abc_length(s, c, given))
            return -1;
        s->place = AT_CHORD;
        return 0;
    }
    if ((s->n_num || s->slashes) && !abc_complete(s))
        return -1;
    if (c == ']' && s->n_chord < 2 && !given)
        return -1;
    if (in_group(s, c, given, ']'))
        return -1;
    if (s->place == AT_ITEM) {
        s->letter = '[';
        s->octave = 0;
        s->accidental = 0;
        s->of_prompt = given || s->n_num || s->slashes;
        s->place = AT_LENGTH;
    }
    return 0;
}

static int in_grace(struct abc *s, int c, int given)
{
    if (in_group(s, c, given, '}'))
        return -1;
    if (s->place == AT_ITEM) {
        s->grace = 1;
        s->accidental = 0;
    }
    return 0;
}

/* What stands in front of a note, and may not stand in a tuplet or a pair. */
static int may_lead(const struct abc *s, int given)
{
    return !s->broken && !s->left && !s->grace && abc_room(s, given);
}

static int grace(struct abc *s, int given)
{
    struct abc behind = *s;

    behind.grace = 1;
    if (given)
        s->tie = 0;
    if (!may_lead(s, given) || !abc_room(&behind, 0) || (!given && s->tie))
        return -1;
    s->fresh = s->blank = s->can_break = s->line_start = 0;
    s->n_chord = s->accidental = 0;
    s->place = AT_GRACE;
    return 0;
}

static int bracket(struct abc *s, int c, int given)
{
    int chord =
        abc_room(s, given) && (given || (!s->tie && !s->left)) && !s->second;
    int open = s->broken || s->left || s->symbol || s->grace;

    if (s->place == AT_ITEM) { /* the [ itself */
        if (given)
            s->tie = 0;
        if (!given && !chord && (open || !abc_ending_may(s)))
            return -1;
        s->fresh = s->blank = s->can_break = 0;
        s->line_start = s->bare = 0;
        s->place = AT_BRACKET;
        return 0;
    }
    if (abc_digit(c))
        return open ? -1 : abc_ending(s, c, given);
    if (!chord)
        return -1;
    begin_note(s, 0);
    s->accidental = s->n_chord = s->has_tonic = 0;
    s->place = AT_CHORD;
    return in_chord(s, c, given);
}

/* --- items --- */

static int space(struct abc *s, int given)
{
    int between = s->blank && s->t > 0 && abc_room(s, given) && !s->broken &&
                  !s->left && !s->symbol && !s->grace;

    s->fresh = s->can_break = s->blank = 0;
    s->spaced = 1;
    return given || between ? 0 : -1;
}

static int paren(struct abc *s, int c, int given)
{
    if (s->place == AT_ITEM) {
        if (!given && (!may_lead(s, given) || s->tie ||
                       abc_left(s) < LEAST_TUPLET * s->grid))
            return -1;
        s->fresh = s->blank = s->can_break = s->line_start = 0;
        s->n = (uint8_t)given;
        s->place = AT_PAREN;
        return 0;
    }
    if (abc_digit(c))
        return may_lead(s, given) ? abc_tuplet(s, c, given) : -1;
    if (!s->n || s->slur == 255) /* a prompt's ( alone is a slur's */
        return -1;
    s->slur++;
    s->place = AT_ITEM;
    return abc_item(s, c, given);
}

static int in_tuplet(struct abc *s, int c, int given)
{
    int rc = given ? abc_tuplet_more(s, c) : 1;

    if (rc <= 0)
        return rc;
    s->place = AT_ITEM;
    if (!given && c != '^' && c != '_' && c != '=' && !abc_letter(c))
        return -1;
    return abc_item(s, c, given);
}

static int tie(struct abc *s, int given)
{
    if (!s->fresh || s->broken || s->n_broken ||
        (!given && abc_last_bar(s) && abc_left(s) <= 0) ||
        (!given && (s->left || s->letter == 'z' || s->letter == '[')))
        return -1;
    s->tie = s->letter != '[' && s->letter != 'z';
    s->fresh = s->can_break = 0;
    return 0;
}

static int symbol(struct abc *s, int given)
{
    if (!given && (s->symbol || s->grace || s->broken || s->left ||
                   abc_left(s) < s->unit)) /* too short to be played in */
        return -1;
    if (!abc_room(s, 0)) /* a note that the model can write has to follow */
        return -1;
    s->n_word = s->field = 0;
    s->fresh = s->blank = s->can_break = s->line_start = s->bare = 0;
    s->place = AT_SYMBOL;
    return 0;
}

/* What only a prompt may have. */
static int other(struct abc *s, int c)
{
    s->fresh = s->can_break = 0;
    if (c == '!' || c == '+') {
        s->place = AT_MARK;
        s->field = (uint8_t)c;
        return 0;
    }
    if (c == '%') {
        s->field = '%';
        s->place = AT_VALUE;
        return 0;
    }
    if (c == '\n') {
        s->place = AT_LINE;
        s->line_start = 1;
        return 0;
    }
    return c && strchr(".~uvHTLMOPS\\*\t", c) ? 0 : -1;
}

static int new_line(struct abc *s, int given)
{
    if (!given) /* a model's is behind a bar line */
        return -1;
    s->fresh = s->blank = s->can_break = 0;
    s->place = AT_LINE;
    s->line_start = 1;
    return 0;
}

int abc_item(struct abc *s, int c, int given)
{
    if (s->second && c != '[')
        return -1;
    if (c != '|' && c != ':' && c != '\n') {
        s->closed = 0;
        s->spaced = s->spaced && c == ' ';
    }
    switch (c) {
    case '|':
    case ':':
        return abc_bar_line(s, c, given);
    case '^':
    case '_':
    case '=':
        s->accidental = 0;
        return accidental(s, c, given);
    case '[':
        return bracket(s, c, given);
    case '(':
        return paren(s, c, given);
    case ')':
        if (!s->slur || !s->fresh)
            return -1;
        s->slur--;
        return 0;
    case '{':
        return grace(s, given);
    case '"':
        return symbol(s, given);
    case '>':
    case '<':
        return abc_break(s, c, given);
    case '-':
        return tie(s, given);
    case ' ':
        return space(s, given);
    case '\n':
        return new_line(s, given);
    default:
        s->accidental = 0;
        if (abc_letter(c) || is_rest(c, given))
            return note_letter(s, c, given);
        return given ? other(s, c) : -1;
    }
}

/* The beginning of a line: a field, or music when the header is complete. */
static int line(struct abc *s, int c, int given)
{
    int notes = s->music || abc_field_ready(s, given);

    if (!given && !s->music && notes && c == 'L' && !(s->seen & SEEN_L))
        return abc_field_letter(s, c, given);
    if (!notes ||
        (given && (c == '%' || (c != 'x' && c != 'z' && !abc_letter(c) &&
                                (c | 32) >= 'a' && (c | 32) <= 'z'))))
        return abc_field_letter(s, c, given);
    if (!s->music) {
        if (given && (c == '\n' || c == ' '))
            return -1;
        if (abc_bars_begin(s))
            return -1;
    }
    s->line_start = 1;
    s->place = AT_ITEM;
    return abc_item(s, c, given);
}

static int next(void *state, unsigned char byte, int given)
{
    struct abc *s = state;
    int c = byte;

    if (c == 0) /* strings of the parts end there */
        return -1;
    if (given && c == '\r')
        return 0;
    switch (s->place) {
    case AT_LINE:
        return line(s, c, given);
    case AT_COLON:
        return abc_field_colon(s, c);
    case AT_VALUE:
        return abc_field_value(s, c, given);
    case AT_ACCIDENTAL:
        if (c == '^' || c == '_' || c == '=')
            return accidental(s, c, given);
        return note_letter(s, c, given);
    case AT_NOTE:
    case AT_LENGTH:
        return in_note(s, c, given);
    case AT_PAREN:
        return paren(s, c, given);
    case AT_TUPLET:
        return in_tuplet(s, c, given);
    case AT_BRACKET:
        return bracket(s, c, given);
    case AT_CHORD:
        return in_chord(s, c, given);
    case AT_GRACE:
        return in_grace(s, c, given);
    case AT_SYMBOL:
        return abc_symbol(s, c, given);
    case AT_MARK:
        if (c == s->field)
            s->place = AT_ITEM;
        return c == '\n' ? -1 : 0;
    case AT_ITEM:
        return abc_item(s, c, given);
    default:
        return abc_bar_more(s, c, given);
    }
}

static void begin(void *state)
{
    memset(state, 0, sizeof(struct abc));
}

static int may_end(const void *state)
{
    const struct abc *s = state;

    return abc_may_end(s) && (s->place == AT_REPEAT || s->place == AT_FINAL ||
                              s->place == AT_LINE);
}

const struct constraint abc_constraint = {.name = "abc",
                                          .what = "a tune in ABC notation",
                                          .state_bytes = sizeof(struct abc),
                                          .begin = begin,
                                          .next = next,
                                          .may_end = may_end};
