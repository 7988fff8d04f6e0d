/* abc: what may follow in a tune, case by case, after the ABC standard 2.1 and
 * what abc2midi warns of; and at random: whatever is chosen of what may follow,
 * bars add up and there is a way on.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/rng.h"
#include "engine/text/constraint.h"
#include "tests/support/unit.h"

#define JIG "X:1\nM:6/8\nL:1/8\nK:G\n"
#define REEL "X:1\nM:4/4\nL:1/8\nK:D\n"
#define OPEN REEL "|:d4 d4|d4 d4|d4 d4|"

static const struct constraint *abc;

static int setup(void **state)
{
    abc = constraint_find("abc");
    return abc && abc->state_bytes <= CONSTRAINT_STATE_BYTES ? 0 : -1;
}

/* The first byte of text that may not follow; its length when all may. */
static size_t feed(void *s, const char *text, int given)
{
    size_t i = 0;
    while (text[i] && abc->next(s, (unsigned char)text[i], given) == 0)
        i++;
    return i;
}

struct tried {
    const char *given, *made;
};

static void begin(void *s, const struct tried *t)
{
    abc->begin(s);
    if (feed(s, t->given, 1) != strlen(t->given))
        fail_msg("the prompt '%s' is not taken", t->given);
}

/* All of it may be written. */
static void check_good(const struct tried *t, size_t n)
{
    char s[CONSTRAINT_STATE_BYTES];

    for (size_t i = 0; i < n; i++) {
        begin(s, &t[i]);
        size_t at = feed(s, t[i].made, 0);
        if (t[i].made[at])
            fail_msg("'%s': refused from '%s' on", t[i].made, t[i].made + at);
    }
}

/* All but the last byte may. */
static void check_bad(const struct tried *t, size_t n)
{
    char s[CONSTRAINT_STATE_BYTES];

    for (size_t i = 0; i < n; i++) {
        begin(s, &t[i]);
        size_t at = feed(s, t[i].made, 0);
        if (at + 1 < strlen(t[i].made))
            fail_msg("'%s': refused early, at '%s'", t[i].made, t[i].made + at);
        if (!t[i].made[at])
            fail_msg("'%s': the last byte is taken", t[i].made);
    }
}

static void test_abc_header_states_what_is_missing_in_order(void **state)
{
    static const struct tried good[] = {
        {"", "X:1\nM:6/8\nL:1/8\nK:G\nG"},
        {"", "X:12\nR:slip jig\nM:9/8\nL:1/16\nK:Bbm\nG"},
        {"", "X:1\nM:C|\nL:1/8\nK:F# minor\n"},
        {"X:1\nT:The \xc3\xa9 tune\nC:trad.\n% a remark\n", "R:jig\nM:6/8\n"},
        {"X:1\nT:The", " Frolic\nM:2/4\nL:1/8\nK:Ador\n|:"},
        {"M:6/8\nK:D\n", "L:1/8\nA"},
        {"M:6/8\nK:D\n", "A3 A3|"}, /* the unit that the standard takes */
        {"M:2/4\nK:D\n", "A2B2c2d2|"},
        {"K:D\n", "M:4/4\nL:1/8\nd8|"},
        {"L:1/4\n", "R:reel\nM:4/4\nK:Cmix\nc4|"},
        {"R:waltz\r\nM:3/4\r\n", "L:1/8\nK:G\nG6|"},
        {"M: 6/8 \nL: 1/8\nK: A dorian \n", "A6|"},
        {"X:1\nM:5/", "4\nL:1/8\nK:Am\nA10|"},
    };
    static const struct tried bad[] = {
        {"", "M"},
        {"", "T"},
        {"", "X:0"},
        {"", "X:1\nX"},
        {"", "X:1\nL"},
        {"", "X:1\nK"},
        {"", "X:1\nT"},
        {"", "X:1\nM:7"},
        {"", "X:1\nM:6/8/"},
        {"", "X:1\nM:6/8\nR:jig\nM"},
        {"", "X:\n"},
        {"", "X:1\nR:\n"},
        {"", "X:1\nR: "},
        {"", "X:1\nR:jig \n"},
        {"", "X:1\nR:J"},
        {"", "X:1\nM:6/8\nL:1/3"},
        {"", "X:1\nM:6/8\nL:1/8\nK:H"},
        {"", "X:1\nM:6/8\nL:1/8\nK:G#\n"}, /* eight sharps */
        {"", "X:1\nM:6/8\nL:1/8\nK:Gmx"},
        {"X:1\nK:D\n", "R"}, /* no field of the music */
        {"K:D\n", "A"},      /* no metre yet */
        {"M:6/8\nL:1/8\nK:G\n", "M"},
        {"X:1\nT:a", "\x01"},
        {JIG, "w"},
        {JIG, "\n"},
    };
    check_good(good, COUNT(good));
    check_bad(bad, COUNT(bad));
}

static void test_abc_bars_add_up(void **state)
{
    static const struct tried good[] = {
        {JIG, "G3 A3|G6|G2A BAB|GABcde|"},
        {JIG, "G3/2A/B z3|G/A/B/c/ d4|"},
        {JIG, "D|G3 A3|"}, /* an upbeat, and a rest as one */
        {JIG, "z3|G3 A3|"},
        {REEL, "A5A3|A/4A3/4A7|"},
        {"M:3/2\nL:1/4\nK:C\n", "C6|"},
        {"M:12/8\nL:1/8\nK:C\n", "C12|C10D2|"},
        {"M:4/4\nL:1/16\nK:C\n", "C16|"},
        {"M:2/4\nL:1/4\nK:C\n", "C2|C/D/E/F/|"},
    };
    static const struct tried bad[] = {
        {JIG, "G3 A3A"},
        {JIG, "G7|"},
        {JIG, "G4A3|"},
        {JIG, "G5A3|"},
        {JIG, "G6/"},
        {JIG, "G13|"},
        {JIG, "GAB|G6|G2A BA|"},
        {JIG, "G6|G5|"},
        {JIG, "G6|G3/2A3/2B2|"},
        {JIG, "G4|"}, /* an upbeat of more than half a bar */
        {JIG, "|:G6|G6|G6|G5:"},
        {JIG, "G6||"},
        {JIG, "G6|]"}, /* a section of one bar */
        {JIG, "G0"},
        {JIG, "G1|"},
        {JIG, "G/3"},
        {JIG, "G2/"},
        {JIG, "G//"},
        {JIG, "G/8"},
        {JIG, "G6| "},
        {JIG, " "},
        {JIG, "G3  "},
        {JIG, "G6 "},
        {JIG, "G6|\n\n"},
        {JIG, "G3\n"},
        {JIG, "|G"},
        {JIG, "||"},
        {JIG, "G6|:"},
        {JIG, "|:|"},
        {JIG, "|:\n"},
        {JIG, "G6|1"},
        {JIG, "x"},
        {JIG, "G6|]"},
    };
    check_good(good, COUNT(good));
    check_bad(bad, COUNT(bad));
}

static void test_abc_sections_end_as_they_began(void **state)
{
    static const struct tried good[] = {
        {OPEN, "d4 d4:|\n|:d4 d4|"},
        {OPEN, "d4 d4:|\nd4 d4|d8|d8|d8|]"},
        {REEL "d8|d8|d8|", "d8||\n|:d8|d8|d8|d8:|"},
        /* an upbeat of two: the section leaves six, and so does the next */
        {REEL, "|:AB|d8|d8|d8|d4 d2:|\n|:fg|d8|d8|d8|d6:|"},
        {REEL, "AB|d8|d8|d8|d4 d2||\nfg|d8|d8|d8|d6|]"},
        {REEL, "AB|d8|d8|d8|d8|]"},
        {REEL, "AB|d8|d8|d8|d8||\nd8|d8|d8|d6|]"}, /* the tune's own */
        {OPEN, "[1d4 d4:|[2d4 d4|]"},
        {OPEN, "d8|[1d4 d4|d8:|[2d4 d4|d8||\nd8|"},
        /* the second ending leaves two for the next upbeat */
        {OPEN, "[1d8:|[2d6||\n|:AB|d8|"},
    };
    static const struct tried bad[] = {
        {OPEN, "d6:"},
        {OPEN, "d8||"},
        {OPEN, "d8|]"},
        {REEL "d8|d8|d8|", "d8:"},
        {OPEN, "d8:||"},
        {OPEN, "d8:|:"},
        {OPEN, "d8:|d"},
        {OPEN, "d8:|\n|:AB|"}, /* nothing was left over for it */
        {REEL "|:AB|d8|d8|d8|", "d4 d2:|\n|:d4"},
        {REEL "|:AB|d8|d8|d8|", "d8:"},
        {OPEN, "[2"},
        {OPEN, "[1d8:|\n"},
        {OPEN, "[1d8:|[1"},
        {OPEN, "[1d8|]"},
        {OPEN, "[1d8|[2"},
        {OPEN, "[1d8:|[2d8:"},
        {REEL "d8|d8|d8|", "[1"},
        {OPEN, "[3"},
        {OPEN, "d8:|\n\n"},
        {REEL "d8|d8|d8|", "d8|]\n"},
        {OPEN, "d2[1"},
        {OPEN, "d8-:"}, /* to nothing */
        {REEL "|:A2|d8|d8|d8|", "d6 :"},
    };
    check_good(good, COUNT(good));
    check_bad(bad, COUNT(bad));
}

static void test_abc_ends_behind_a_last_bar_line_alone(void **state)
{
    static const struct {
        struct tried t;
        int ends;
    } cases[] = {
        {{OPEN, "d8:|"}, 1},
        {{OPEN, "d8:|\n"}, 1},
        {{OPEN, "d8:|\n|:"}, 0},
        {{OPEN, "d8:|\n|:d8|"}, 0},
        {{OPEN, "d8:|\n|"}, 0},
        {{OPEN, "d8:"}, 0},
        {{OPEN, "d8"}, 0},
        {{OPEN, "d8|"}, 0},
        {{OPEN, "[1d8:|"}, 0},
        {{OPEN, "[1d8:|[2d8|]"}, 1},
        {{REEL "d8|d8|d8|", "d8|]"}, 1},
        {{REEL "d8|d8|d8|", "d8||"}, 0},
        {{REEL "d8|d8|d8|", "d8|"}, 0},
        {{REEL, ""}, 0},
        {{"", ""}, 0},
        {{REEL "d8|d8|d8|d8|]", ""}, 1},
        {{REEL "d8|d8|d8|d8:|\n\n", ""}, 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char s[CONSTRAINT_STATE_BYTES];
        begin(s, &cases[i].t);
        assert_int_equal(feed(s, cases[i].t.made, 0), strlen(cases[i].t.made));
        if (abc->may_end(s) != cases[i].ends)
            fail_msg("'%s' '%s'", cases[i].t.given, cases[i].t.made);
    }
}

static void test_abc_last_note_is_the_tonic(void **state)
{
    static const struct {
        const char *key, *bar;
        int home;
    } cases[] = {
        {"G", "e4 G4", 1},   {"G", "e4 g'4", 1},  {"G", "e4 D4", 0},
        {"G", "e4 ^G4", 0},  {"Ador", "a8", 1},   {"Ador", "g8", 0},
        {"Bbm", "B8", 1},    {"Bbm", "=B8", 0},   {"G", "G4 z4", 1},
        {"G", "D4 z4", 0},   {"G", "[DG]8", 1},   {"G", "[DB]8", 0},
        {"G", "(3GAGe6", 0}, {"G", "e6(3AFG", 1}, {"F# minor", "f8", 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char s[CONSTRAINT_STATE_BYTES], text[128], open[128];
        snprintf(text, sizeof text, "M:4/4\nL:1/8\nK:%s\n", cases[i].key);
        snprintf(open, sizeof open, "|:c8|c8|c8|%s:|", cases[i].bar);
        begin(s, &(struct tried){text, ""});
        assert_int_equal(feed(s, open, 0), strlen(open));
        if (abc->may_end(s) != cases[i].home)
            fail_msg("%s: %s", cases[i].key, cases[i].bar);
        snprintf(open, sizeof open, "c8|c8|c8|%s|]", cases[i].bar);
        begin(s, &(struct tried){text, ""});
        size_t at = feed(s, open, 0);
        assert_int_equal(open[at], cases[i].home ? 0 : ']');
    }
}

/* Without them noise goes on for ever. */
static void test_abc_sections_and_tunes_have_an_end(void **state)
{
    char s[CONSTRAINT_STATE_BYTES];

    for (int upbeat = 0; upbeat < 2; upbeat++) {
        begin(s, &(struct tried){REEL, ""});
        assert_int_equal(feed(s, "|:", 0), 2);
        if (upbeat)
            assert_int_equal(feed(s, "AB|", 0), 3);
        for (int i = 0; i < 31; i++)
            assert_int_equal(feed(s, "e8|", 0), 3);
        assert_int_equal(feed(s, upbeat ? "e6|" : "e8|", 0), 2);
    }
    begin(s, &(struct tried){REEL, ""});
    for (int i = 0; i < 7; i++)
        assert_int_equal(feed(s, "|:e8|e8|e8|e8:|\n", 0), 16);
    assert_false(abc->may_end(s)); /* on no tonic */
    assert_int_equal(feed(s, "|:e8|e8|e8|e8:|", 0), 15);
    assert_true(abc->may_end(s)); /* the eighth */
    assert_int_equal(feed(s, "\n", 0), 0);
    begin(s, &(struct tried){REEL, ""});
    for (int i = 0; i < 7; i++)
        assert_int_equal(feed(s, "e8|e8|e8|e8||\n", 0), 14);
    assert_int_equal(feed(s, "e8|e8|e8|e8||", 0), 12);
    assert_int_equal(feed(s, "]", 0), 1);
    assert_true(abc->may_end(s));
}

static void test_abc_tuplets_and_broken_rhythm_fill_whole_lengths(void **state)
{
    static const struct tried good[] = {
        {REEL, "(3ABcd2 d4|(3A2B2c2 d4|(3A/B/c/d7|"},
        {JIG, "(2AB(4ABcd|(6ABcdefg4|"},
        {REEL, "A>B A<B A4|A2>B2 A4|A>>B A6|A3/>B3/ A5|"},
        {REEL, "\"D\"(3ABc (3^A=B_c d4|"},
        {REEL, "(3AzBd6|"},
    };
    static const struct tried bad[] = {
        {REEL, "(1"},       {REEL, "(5"},    {REEL, "(9"},    {REEL, "(A"},
        {REEL, "(3AB "},    {REEL, "(3AB|"}, {REEL, "(3AB2"}, {REEL, "(3A2Bc"},
        {REEL, "(3A>"},     {REEL, "(3z"},   {REEL, "(3["},   {REEL, "d7(3AB"},
        {REEL, "d6(3A2"},   {REEL, "(3A\""}, {REEL, "(3A-"},  {REEL, "(3A("},
        {REEL, "d6d3/2(2"}, {REEL, ">"},     {REEL, "A >"},   {REEL, "z>"},
        {REEL, "A>|"},      {REEL, "A> "},   {REEL, "A>B>"},  {REEL, "A>B2"},
        {REEL, "A2>Bc"},    {REEL, "d7A>"},  {REEL, "A><"},   {REEL, "A>>>"},
        {REEL, "A>-"},      {REEL, "A>\""},  {REEL, "A5>"},   {REEL, "A>("},
    };
    check_good(good, COUNT(good));
    check_bad(bad, COUNT(bad));
}

static void test_abc_what_stands_around_notes_is_complete(void **state)
{
    static const struct tried good[] = {
        {REEL, "A8-|A8|c'4-c'4|C,4- C,4|"},
        {REEL, "\"G\"A4 \"Am7/C#\"B4|\"Bbmaj7\"c8|\"F#dim\"c4-\"G\"c4|"},
        {REEL, "[CEG]4 [Ac']2[Ac]>[Bd]|"},
        {REEL, "{a}b4 {^ga}b4|{c'}d8|"},
        {REEL, "^A,=B_c''2A,,4|"},
    };
    static const struct tried bad[] = {
        {REEL, "-"},      {REEL, "A8-|B"},   {REEL, "A4-z"},
        {REEL, "A4-a"},   {REEL, "A4-^"},    {REEL, "A,4-A4"},
        {REEL, "A4-A,"},  {REEL, "A,6-AB"},  {REEL, "z4-"},
        {REEL, "[AC]4-"}, {REEL, "A4-["},    {REEL, "A4-{"},
        {REEL, "A4-("},   {REEL, "A4--"},    {REEL, "A4-|]"},
        {REEL, "\"H"},    {REEL, "\"g"},     {REEL, "\"\""},
        {REEL, "\"Gx"},   {REEL, "\"G/\""},  {REEL, "\"Gma\""},
        {REEL, "\"G\"|"}, {REEL, "\"G\"\""}, {REEL, "\"G\" "},
        {REEL, "\"G\n"},  {REEL, "d8\""},    {REEL, "d7A/\""},
        {REEL, "[A]"},    {REEL, "[z"},      {REEL, "[AC2"},
        {REEL, "[ACEGB"}, {REEL, "[^]"},     {REEL, "[K"},
        {REEL, "[CE]9 "}, {REEL, "[|"},      {REEL, "{}"},
        {REEL, "{abc"},   {REEL, "{a}|"},    {REEL, "{a}z"},
        {REEL, "{a} "},   {REEL, "{a}b/"},   {REEL, "{a2"},
        {REEL, "d8{"},    {REEL, "{a}\""},   {REEL, "^^"},
        {REEL, "^z"},     {REEL, "^ "},      {REEL, "A'"},
        {REEL, "a,"},     {REEL, "a'''"},    {REEL, "z'"},
        {REEL, "H"},      {REEL, "!"},       {REEL, "~"},
        {REEL, ")"},      {REEL, "\\"},      {REEL, "%"},
        {REEL, "\x80"},   {REEL, "\r"},
    };
    check_good(good, COUNT(good));
    check_bad(bad, COUNT(bad));
}

/* "A:" and "z:" at the beginning of a line are fields, for abc2midi, too. */
static void test_abc_no_line_begins_as_a_field(void **state)
{
    static const struct tried good[] = {
        {OPEN, "d8|\nd4d4:|"},
        {REEL "|:A3|d8|d8|d8|\n", "d5:|"},
    };
    static const struct tried bad[] = {
        {"M:2/8\nL:1/4\nK:D\n|:d|d|d|\n", "d:"},
        {"M:2/8\nL:1/4\nK:D\n|:d|d|d|\n", "z:"},
        {REEL "|:d4d3|d8|d8|d8|\n", "d:"},
    };
    static const struct tried mid[] = {
        {"M:2/8\nL:1/4\nK:D\n|:d|d|d|", "d:|"},
    };
    check_good(good, COUNT(good));
    check_bad(bad, COUNT(bad));
    check_good(mid, COUNT(mid));
}

static void test_abc_prompts_may_have_more(void **state)
{
    static const struct tried good[] = {
        {REEL "(ABcd) ~e2 .f2|!trill!d8|\"^slow\"d8|", "d8|"},
        {REEL "d2d2|d3|", "d8|"}, /* short ones */
        {REEL "(5ABcde d|(3:2:2A2B d6|", "d8|"},
        {REEL "[A2c2] [Ace]2 x4|{/g}a8|", "d8|"},
        {REEL "d8|\nP:B\nw: la la\nA: here\n% so\n|:d8|", "d8|"},
        {REEL "d8:|\nd8|d8|d8|", "d8|]"}, /* nothing had begun the repeat */
        {REEL "|:d8|d8|d8|d8::d8|d8|d8|", "d8:|"},
        {REEL "|:d8|d8|d8|1 d8:|2 d8||", "\nd8|"},
        {REEL "d8|d8|d8|d8|]\n\nX:2\nM:2/4\nL:1/8\nK:A\n", "A4|"},
        {REEL "d8|\nM:3/4\nd6|", "d6|"},
        {REEL "d8\\\n|d8|", "d8|"},
        {REEL "(d4", "d4)|"}, /* a slur that the model has to end */
        {REEL "|", ":d8|"},
        {REEL "|:d8|d8|d8|d8:", "|"},
        {REEL "A", ">B d6|"},
        {REEL "A>", "B d6|"},
        {REEL "(3A", "Bc d6|"},
        {REEL "[A", "c]8|"},
        {REEL "{a", "b}c8|"},
        {REEL "\"G", "m7\"c8|"},
        {REEL "\"hello", "\"c8|"},
        {REEL "c,4-", "c,4|"},
        {REEL "^", "c8|"},
        {REEL "(", "3ABc d6|"},
    };
    static const char *const refused[] = {
        "hello",
        "{\"a\": 1}",
        "X:1\nhello",
        "X:1\nM:6/8\nK:Q\n",
        "X:1\nM:0/8\n",
        "X:1\nM:6/3\n",
        "X:1\nM:none\n",
        "X:1\nL:1/5\n",
        JIG "G7|",
        JIG "GABcdefg",
        JIG "G6|(1G",
        JIG "[K:D]",
        JIG "G6 &",
        JIG "G6\x80",
        JIG "G2A(3BA|",
        JIG "A>|",
        JIG "G5A>B",
        JIG "(3(3",
        JIG "\"G\n",
        "M:1/32\nL:1/1\nK:C\nC", /* no length is that short */
        "M:9999999999999999999/8\n",
    };
    check_good(good, COUNT(good));
    for (size_t i = 0; i < COUNT(refused); i++) {
        char s[CONSTRAINT_STATE_BYTES];
        abc->begin(s);
        if (feed(s, refused[i], 1) == strlen(refused[i]))
            fail_msg("'%s' is taken", refused[i]);
    }
}

/* --- at random --- */

struct bars {
    int n, wrong;
};

/* Sixteenths of a unit length, as these tunes are spelled: no more is read. */
static int length_at(const char **p)
{
    int num = 0, den = 1;

    while (**p >= '0' && **p <= '9')
        num = num * 10 + *(*p)++ - '0';
    if (**p == '/') {
        (*p)++;
        for (den = 0; **p >= '0' && **p <= '9';)
            den = den * 10 + *(*p)++ - '0';
        den = den ? den : 2;
    }
    return (num ? num : 1) * 16 / den;
}

static int is_letter(char c)
{
    return (c >= 'A' && c <= 'G') || (c >= 'a' && c <= 'g') || c == 'z';
}

/* Behind a note's letter and octave, or behind the notes of a chord. */
static const char *note_end(const char *p)
{
    if (*p == '[')
        return strchr(p, ']') + 1;
    for (p++; *p == '\'' || *p == ',';)
        p++;
    return p;
}

/* The bars of a tune without chords' names and grace notes, by a count of its
 * own: those that are neither full nor at the edge of a section are wrong. Both
 * notes of a broken pair are of one length, so it changes no sum. */
static struct bars count_bars(const char *p, int full)
{
    struct bars b = {0, 0};
    int t = 0, first = 1, tuplet = 0, of = 0;

    while (*p) {
        if (*p == '(') {
            tuplet = p[1] - '0';
            of = tuplet == 2 || tuplet == 4 ? 3 : 2;
            p += 2;
        } else if (*p == '[' && (p[1] == '1' || p[1] == '2')) {
            first = 1;
            p += 2;
        } else if (is_letter(*p) || *p == '[') {
            p = note_end(p);
            int u = length_at(&p);
            if (tuplet > 0) { /* all have one length: count them at once */
                t += of > 0 ? u * of : 0;
                of = 0;
                tuplet--;
            } else {
                t += u;
            }
        } else if (*p == '|' || *p == ':') {
            int edge = p[0] == ':' || p[1] == '|' || p[1] == ']';
            b.n += t > 0;
            b.wrong += t > full || (t > 0 && t != full && !edge && !first);
            first = t == 0 || edge;
            t = 0;
            p++;
            while (*p && strchr("|:]\n", *p))
                first |= *p++ == '\n' ? edge : 0;
        } else {
            p++;
        }
    }
    return b;
}

/* One of the bytes that may follow; bar lines are wanted more. */
static int draw(const void *s, struct rng *r)
{
    int may[128], n = 0;

    for (int c = 1; c < 128; c++) {
        char next[CONSTRAINT_STATE_BYTES];
        memcpy(next, s, abc->state_bytes);
        if (c == '"' || c == '{' || abc->next(next, (unsigned char)c, 0))
            continue;
        for (int k = strchr("|:]\n", c) ? 8 : 1; k > 0 && n < 128; k--)
            may[n++] = c;
    }
    return n > 0 ? may[rng_below(r, (uint32_t)n)] : 0;
}

static void test_abc_bars_add_up_whatever_is_chosen(void **state)
{
    static char text[40000];
    int ended = 0, bars = 0;

    for (uint64_t seed = 1; seed <= 60; seed++) {
        char s[CONSTRAINT_STATE_BYTES];
        struct rng r;
        size_t n = 0;
        rng_init(&r, seed);
        abc->begin(s);
        assert_int_equal(feed(s, JIG, 1), strlen(JIG));
        while (n < sizeof text - 1 && !(abc->may_end(s) && n % 2)) {
            int c = draw(s, &r);
            if (c == 0)
                break;
            assert_int_equal(abc->next(s, (unsigned char)c, 0), 0);
            text[n++] = (char)c;
            if (n > 4000 && abc->may_end(s))
                break;
        }
        text[n] = 0;
        if (n < sizeof text - 1 && !abc->may_end(s))
            fail_msg("no way on: %s", n > 60 ? text + n - 60 : text);
        struct bars b = count_bars(text, 6 * 16);
        if (b.wrong)
            fail_msg("%d wrong bars: %s", b.wrong, text);
        ended += abc->may_end(s);
        bars += b.n;
    }
    assert_true(ended > 50);
    assert_true(bars > 500);
}

/* Any bytes as a prompt: taken or refused, and what is taken has a way on. */
static void test_abc_any_prompt_is_taken_or_refused(void **state)
{
    static const char letters[] = "XMLKR:1/68|\nGAbz23(){}[]\"'^_=<>-., %!:|";
    int taken = 0;

    for (uint64_t seed = 1; seed <= 4000; seed++) {
        char s[CONSTRAINT_STATE_BYTES], none[CONSTRAINT_STATE_BYTES];
        struct rng r;
        int ok = 1;
        rng_init(&r, seed);
        abc->begin(s);
        if (seed % 2)
            assert_int_equal(feed(s, JIG, 1), strlen(JIG));
        for (int i = 0; i < 24 && ok; i++) {
            char keep[CONSTRAINT_STATE_BYTES];
            unsigned char c =
                rng_below(&r, 40) == 0
                    ? (unsigned char)rng_below(&r, 256)
                    : (unsigned char)
                          letters[rng_below(&r, (uint32_t)strlen(letters))];
            memcpy(keep, s, sizeof keep);
            if (abc->next(s, c, 1)) /* that byte is not in it, then */
                memcpy(s, keep, sizeof s);
        }
        taken += ok;
        assert_int_equal(abc->next(memcpy(none, s, sizeof s), 0, 1), -1);
        for (int i = 0; i < 40 && ok; i++) {
            int c = draw(s, &r);
            if (c == 0)
                break;
            assert_int_equal(abc->next(s, (unsigned char)c, 0), 0);
        }
    }
    assert_true(taken > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_abc_header_states_what_is_missing_in_order),
        cmocka_unit_test(test_abc_bars_add_up),
        cmocka_unit_test(test_abc_sections_end_as_they_began),
        cmocka_unit_test(test_abc_ends_behind_a_last_bar_line_alone),
        cmocka_unit_test(test_abc_last_note_is_the_tonic),
        cmocka_unit_test(test_abc_sections_and_tunes_have_an_end),
        cmocka_unit_test(test_abc_tuplets_and_broken_rhythm_fill_whole_lengths),
        cmocka_unit_test(test_abc_what_stands_around_notes_is_complete),
        cmocka_unit_test(test_abc_no_line_begins_as_a_field),
        cmocka_unit_test(test_abc_prompts_may_have_more),
        cmocka_unit_test(test_abc_bars_add_up_whatever_is_chosen),
        cmocka_unit_test(test_abc_any_prompt_is_taken_or_refused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
