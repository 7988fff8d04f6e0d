/* abc: tunes in ABC notation (the ABC music standard 2.1), as a constraint.
 *
 * What a model may write is the part of the standard that readers agree on, in
 * one form: X:, then R:, M:, L: and K: (what a prompt has stated is not stated
 * again; X: and R: may be missing), then music:
 *
 *   notes       [_^=] letter [,'] length; z; lengths 2, 3/2, /, 3/4, /4
 *   A>B A<B     of notes of one length; (3ABc of notes of one length
 *   A-|A        to the same note; "G7" chords' names in front of a note;
 *               [CEG] several notes; {ab} grace notes
 *   | || |] |: :|, [1 ... :|[2 ... || or |]
 *
 * Durations are whole numbers of ticks, of which all lengths are multiples, so
 * the sums are exact. A note is offered only where some length of it fits and
 * the rest of the bar can be filled; a bar line only where the bar is full, or
 *
 *   at the end of a tune's first bar: an upbeat, of half a bar at most
 *   at the end of a section (|| or :|) that leaves over what the next one has
 *   as its upbeat, and, where it is repeated, what its own has
 *   at the end of the tune: the same of its own or the tune's upbeat, or full
 *
 * A section has 4 to 32 bars, a tune 8 sections at most, and its last note is
 * the tonic of its key. The text ends behind |] or the :| of a section without
 * endings. There is a way to that end from each place. A line never begins with
 * a letter and a colon, which would be a field.
 *
 * A prompt may have more: other fields and comments, text in quotes, slurs,
 * marks of ornaments, tuplets of other kinds, sections without |:, bars that
 * are too short. It may not have bars that are too long, and nothing that is
 * no ABC.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ABC_H
#define SEQD_ABC_H

#include "engine/text/constraint.h"

extern const struct constraint abc_constraint;

#endif
