/* abc_impl: the state of the machine, and its three parts: fields of the header
 * (abc_fields.c), bars and sections (abc_bars.c), notes and what stands around
 * them (abc.c, abc_notes.c).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ABC_IMPL_H
#define SEQD_ABC_IMPL_H

#include <stdint.h>

#include "engine/text/abc/abc.h"

/* Ticks of a whole note. Divisible by what a length can be divided by: units of
 * 1/32, lengths of /16, broken rhythm of 1/8, tuplets of 5, 7 and 9. */
#define ABC_WHOLE ((int64_t)65536 * 315)
#define ABC_WORD 16

enum abc_place {
    AT_LINE,       /* the beginning of a line, in the header or the music */
    AT_COLON,      /* behind the letter of a field */
    AT_VALUE,      /* in a field, or in what is passed over to the line's end */
    AT_ITEM,       /* between items of a bar */
    AT_ACCIDENTAL, /* behind ^ _ = */
    AT_NOTE,       /* behind a letter, and octave marks */
    AT_LENGTH,     /* in a length */
    AT_PAREN,      /* behind ( */
    AT_TUPLET,     /* behind the number of a tuplet */
    AT_BRACKET,    /* behind [ */
    AT_CHORD,      /* in [CEG] */
    AT_GRACE,      /* in {ab} */
    AT_SYMBOL,     /* in "G7" */
    AT_MARK,       /* in !trill! */
    AT_OPENING,    /* behind a | that :, nothing else may follow */
    AT_PIPE,       /* behind a | that may become || or |] */
    AT_HALF,       /* behind the : of :| */
    AT_REPEAT,     /* behind :| */
    AT_DOUBLE,     /* behind || */
    AT_FINAL       /* behind |] */
};

/* Fields that were seen, and `any` for all others. */
enum { SEEN_X = 1, SEEN_R = 2, SEEN_M = 4, SEEN_L = 8, SEEN_K = 16, ANY = 32 };

/* The bar lines that may end the present bar. */
enum { END_BAR = 1, END_REPEAT = 2, END_SECTION = 4, END_TUNE = 8 };

struct abc {
    uint8_t place;
    uint8_t seen;
    uint8_t music;  /* notes have begun: the header is over */
    uint8_t closed; /* the text may end where nothing follows */

    /* A field or a chord's name while it is read. */
    uint8_t field; /* its letter; '%': passed over */
    uint8_t n;     /* bytes of it, at most 255 */
    uint8_t n_word;
    char word[ABC_WORD];

    /* Header: */
    uint8_t compound; /* the metre is one of three eighths */
    int64_t unit;     /* of lengths; 0: not stated */
    int64_t full;     /* of a bar */
    int64_t grid;     /* what the model's lengths are multiples of */

    /* Bar and section: */
    int64_t t, need;       /* so far, and when it is full */
    int64_t upbeat, begun; /* of the section, of the tune */
    int64_t owed;          /* the upbeat that this section has to have */
    uint8_t first_bar;     /* of the section */
    uint8_t tune_first;    /* of the tune */
    uint8_t n_sections;    /* of the tune that are ended, to 255 */
    uint8_t tonic;         /* its letter, small */
    uint8_t home;          /* the last note is the tonic */
    uint8_t n_bars;        /* of the section that are ended, to 255 */
    uint8_t opened;        /* by |: */
    uint8_t ending;        /* 1, 2 */
    uint8_t second;        /* [2 has to follow */
    uint8_t may;           /* inside a bar line: END_* */
    uint8_t asked;         /* what a prompt has begun, whether it may or not */
    uint8_t line_start;    /* nothing on this line yet */
    uint8_t bare;          /* one letter alone on this line */

    /* The note that is written: its length so far */
    uint8_t num, n_num, slashes, den, n_den;
    uint8_t letter; /* or '[' */
    int8_t octave;
    uint8_t of_prompt;  /* it is a prompt's, and so is its length */
    uint8_t accidental; /* it has one; AT_CHORD, AT_GRACE: one stands open */
    uint8_t n_chord;    /* notes in [] or {} so far */
    uint8_t has_tonic;  /* the tonic is among those in [] */

    /* Around notes: */
    uint8_t fresh;     /* a note stands directly in front */
    uint8_t blank;     /* a space may follow */
    uint8_t spaced;    /* a space stands directly in front */
    uint8_t can_break; /* > or < may follow */
    uint8_t broken;    /* factor of the next note in eighths; 0: none */
    uint8_t n_broken;  /* signs so far */
    char sign;
    uint8_t tie, tie_letter;
    int8_t tie_octave;
    uint8_t symbol, grace; /* a note has to follow them */
    uint8_t slur;
    uint8_t left, p, q; /* of a tuplet: notes left, q of p */
    int64_t each;       /* its notes; 0: the first is to come */
    int64_t last;       /* the note in front, as written */
    int64_t added;      /* the same, as played */
};

/* abc_letter: a letter of a note: 1 for A to G and a to g. */
static inline int abc_letter(int c)
{
    return (c >= 'A' && c <= 'G') || (c >= 'a' && c <= 'g');
}

static inline int abc_digit(int c)
{
    return c >= '0' && c <= '9';
}

/* abc_fields.c. A line of the header, or of a field in the music; bytes of its
 * value. 0 or -1. abc_field_ready: what music needs is stated. */
int abc_field_letter(struct abc *s, int c, int given);
int abc_field_colon(struct abc *s, int c);
int abc_field_value(struct abc *s, int c, int given);
int abc_field_ready(const struct abc *s, int given);
/* abc_symbol: a byte of a chord's name in quotes; the quote that ends it
 * included. */
int abc_symbol(struct abc *s, int c, int given);

/* abc_bars.c. abc_bars_begin: the first section. abc_metre: unit and bar have
 * changed. -1: a bar has no room for a note. abc_left: ticks of the bar that
 * are left. */
int abc_bars_begin(struct abc *s);
int abc_metre(struct abc *s);
int abc_bar_line(struct abc *s, int c, int given); /* | or : behind items */
int abc_bar_more(struct abc *s, int c, int given); /* inside a bar line */
int abc_ending(struct abc *s, int c, int given);   /* a digit behind [ */
int abc_may_end(const struct abc *s);              /* the tune, here */
int abc_last_bar(const struct abc *s);             /* of a section */
int abc_ending_may(const struct abc *s);           /* [1 or [2 */

static inline int64_t abc_left(const struct abc *s)
{
    return s->need - s->t;
}

/* abc_notes.c: a note's length. abc_room: some length fits here.
 * abc_length: a byte of it, 1 when it is none; -1 when nothing fits.
 * abc_commit: the note is complete. */
int abc_room(const struct abc *s, int given);
int abc_length(struct abc *s, int c, int given);
int abc_commit(struct abc *s, int given);
int abc_complete(const struct abc *s); /* a prompt's length is one that fits */
int abc_finishes(const struct abc *s); /* a model can complete the note */
int abc_break(struct abc *s, int c, int given);  /* > or < */
int abc_tuplet(struct abc *s, int c, int given); /* the digit behind ( */
int abc_tuplet_more(struct abc *s, int c);       /* of (3:2:3, in a prompt */

/* abc.c: a byte where an item may begin. */
int abc_item(struct abc *s, int c, int given);

#endif
