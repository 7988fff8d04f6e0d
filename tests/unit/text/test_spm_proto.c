/* spm_proto, spm_pieces: a SentencePiece model file put together byte by byte:
 * what it says is read, what is wrong with it is named, what is not supported
 * is refused by its name.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/kinds/spm_proto.h"

#include "engine/base/buf.h"
#include "engine/text/tokenizer.h"
#include "tests/support/unit.h"

#define MAX_FILE 4096

/* Protobuf's keys: number << 3 | wire type. */
#define KEY(number, wire) ((char)((number) << 3 | (wire)))

/* A message inside of another: fewer than 128 bytes. */
static void put_part(struct buf *b, char key, const struct buf *part)
{
    assert_true(part->len < 128);
    buf_add_char(b, key);
    buf_add_char(b, (char)part->len);
    buf_add(b, part->p, part->len);
}

static void put_piece(struct buf *b, const char *text, float score, int type)
{
    struct buf part;
    buf_init(&part, MAX_FILE);
    buf_add_char(&part, KEY(1, 2));
    buf_add_char(&part, (char)strlen(text));
    buf_add_str(&part, text);
    buf_add_char(&part, KEY(2, 5));
    buf_add(&part, (const char *)&score, 4); /* little endian, as the file */
    buf_add_char(&part, KEY(3, 0));
    buf_add_char(&part, (char)type);
    put_part(b, KEY(1, 2), &part);
    buf_fini(&part);
}

static void begin(struct buf *b)
{
    buf_init(b, MAX_FILE);
    put_piece(b, "<unk>", 0, SPM_PIECE_UNKNOWN);
    put_piece(b, "a", -1, SPM_PIECE_NORMAL);
    put_piece(b, "\xe2\x96\x81", -2.5f, SPM_PIECE_NORMAL);
}

/* The file with more behind it. */
static void add(struct buf *b, const char *more, size_t n)
{
    buf_add(b, more, n);
}

static void test_spm_proto_reads_what_the_file_says(void **state)
{
    static const char more[] = "\x12\x07\x18\x02\xc0\x01\x00\x98\x02"
                               "\x1a\x0a\x12\x02xy\x18\x00\x20\x00\x28\x01"
                               "\x7a\x01z\x75" /* unknown fields */
                               "four"
                               "\xf9\x01"
                               "andeight";
    struct spm_proto m;
    struct err e = ERR_INIT;
    struct buf b;
    (void)state;
    begin(&b);
    add(&b, more, 9); /* the trainer's 7 bytes end inside a key */
    assert_int_equal(spm_proto_read(&m, b.p, b.len, "m", &e), -1);
    spm_proto_fini(&m);
    buf_fini(&b);
    begin(&b);
    add(&b, "\x12\x08\x18\x02\xc0\x01\x00\x98\x02\x01", 10);
    add(&b, more + 9, 12);
    add(&b, more + 21, 18);
    err_clear(&e);
    if (spm_proto_read(&m, b.p, b.len, "m", &e))
        fail_msg("%s", e.msg);
    assert_int_equal(m.n, 3);
    assert_int_equal(m.unk, 0);
    assert_int_equal(m.model, SPM_MODEL_BPE);
    assert_int_equal(m.fallback, 1);
    assert_int_equal(m.suffix, 0);
    assert_int_equal(m.prefix, 0);
    assert_int_equal(m.squeeze, 0);
    assert_int_equal(m.escape, 1);
    assert_int_equal(m.n_chars, 2);
    assert_memory_equal(m.chars, "xy", 2);
    assert_true(m.piece[2].score == -2.5f && m.piece[2].len == 3);
    assert_memory_equal(m.piece[1].text, "a", 1);
    assert_int_equal(m.piece[1].type, SPM_PIECE_NORMAL);
    spm_proto_fini(&m);
    buf_fini(&b);
}

/* What protobuf leaves out is what the format says it is then. */
static void test_spm_proto_has_defaults(void **state)
{
    struct spm_proto m;
    struct err e = ERR_INIT;
    const char *file = "\x0a\x09\x0a\x05<unk>\x18\x02\x0a\x03\x0a\x01z";
    (void)state;
    if (spm_proto_read(&m, file, 16, "m", &e))
        fail_msg("%s", e.msg);
    assert_int_equal(m.n, 2);
    assert_int_equal(m.model, SPM_MODEL_UNIGRAM);
    assert_true(m.prefix && m.squeeze && m.escape);
    assert_true(!m.suffix && !m.fallback && !m.denormalize);
    assert_int_equal(m.piece[1].type, SPM_PIECE_NORMAL);
    assert_true(m.piece[1].score == 0);
    spm_proto_fini(&m);
}

static void refuse(const struct buf *b, enum err_code code, const char *says)
{
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    if (tokenizer_parse_model(b->p, b->len, "m.model", &t, &e) == 0)
        fail_msg("taken, expected: %s", says);
    assert_null(t);
    if (e.code != code || !strstr(e.msg, says))
        fail_msg("'%s' (%d), expected '%s' (%d)", e.msg, e.code, says, code);
}

#define BYTES(s) s, sizeof(s) - 1

static void test_spm_proto_refuses_by_name(void **state)
{
    static const struct {
        const char *more;
        size_t n;
        enum err_code code;
        const char *says;
    } cases[] = {
        {BYTES("\x80"), ERR_FORMAT, "m.model: the model is cut short in a num"},
        {BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"), ERR_FORMAT,
         "has a number of over 64 bits"},
        {BYTES("\x02\x00"), ERR_FORMAT, "has a field whose number is not in"},
        {BYTES("\x0b"), ERR_FORMAT, "has a field of an unknown wire type"},
        {BYTES("\x0a\x05\x0a"), ERR_FORMAT,
         "has a field that is longer than what is left of it"},
        {BYTES("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ERR_FORMAT,
         "has a field that is longer than what is left of it"},
        {BYTES("\x08\x01"), ERR_FORMAT,
         "the model: 'pieces' has wire type 0, expected 2"},
        {BYTES("\x0a\x00"), ERR_FORMAT, "m.model: piece 3: it has no text"},
        {BYTES("\x0a\x03\x0a\x01\xff"), ERR_FORMAT, "piece 3: it is not UTF-8"},
        {BYTES("\x0a\x02\x08\x01"), ERR_FORMAT,
         "piece 3: it: 'piece' has wire type 0, expected 2"},
        {BYTES("\x0a\x08\x0a\x01z\x15\x00\x00\xc0\x7f"), ERR_FORMAT,
         "piece 3: it has a score that is not finite"},
        {BYTES("\x0a\x08\x0a\x01z\x15\x00\x00\x00\x7f"), ERR_FORMAT,
         "piece 3 has the score 1.70141e+38"},
        {BYTES("\x0a\x05\x0a\x01z\x18\x07"), ERR_FORMAT,
         "piece 3: it: 'type' is 7, expected 1..6"},
        {BYTES("\x0a\x05\x0a\x01z\x18\x02"), ERR_FORMAT,
         "pieces 0 and 3 are both the unknown one"},
        {BYTES("\x0a\x03\x0a\x01"
               "a"),
         ERR_FORMAT, "'a' is there twice"},
        {BYTES("\x0a\x05\x0a\x01z\x18\x06"), ERR_FORMAT,
         "piece 3 is a byte, but byte_fallback is off"},
        {BYTES("\x12\x03\x98\x02\x01"), ERR_FORMAT,
         "byte_fallback with 0 pieces of bytes, expected 256"},
        {BYTES("\x12\x02\x18\x09"), ERR_FORMAT,
         "trainer_spec: 'model_type' is 9, expected 1..4"},
        {BYTES("\x12\x02\x18\x03"), ERR_UNSUPPORTED,
         "m.model: model_type 'WORD' is not supported"},
        {BYTES("\x12\x02\x18\x04"), ERR_UNSUPPORTED, "model_type 'CHAR'"},
        {BYTES("\x12\x03\xc0\x01\x01"), ERR_UNSUPPORTED,
         "trainer_spec 'treat_whitespace_as_suffix' is not supported"},
        {BYTES("\x2a\x03\x12\x01x"), ERR_UNSUPPORTED,
         "denormalizer_spec 'precompiled_charsmap' is not supported"},
        {BYTES("\x1a\x03\x12\x01x"), ERR_FORMAT,
         "precompiled_charsmap is cut short"},
        {BYTES("\x12\x02\x18\x02\x0a\x05\x0a\x01z\x18\x05"), ERR_UNSUPPORTED,
         "model 'BPE with unused pieces' is not supported"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b;
        begin(&b);
        buf_add(&b, cases[i].more, cases[i].n);
        refuse(&b, cases[i].code, cases[i].says);
        buf_fini(&b);
    }
    struct buf none = {.p = (char *)(uintptr_t) "", .len = 0};
    refuse(&none, ERR_FORMAT, "the model has no unknown piece");
}

/* Every beginning of a good file is refused, or ends between two fields. */
static void test_spm_proto_takes_no_half_of_a_file(void **state)
{
    struct buf b;
    int taken = 0;
    (void)state;
    begin(&b);
    add(&b, "\x12\x02\x18\x01", 4);
    for (size_t n = 0; n <= b.len; n++) {
        struct spm_proto m;
        struct err e = ERR_INIT;
        int rc = spm_proto_read(&m, b.p, n, "m", &e);
        assert_true(rc == 0 || (e.code == ERR_FORMAT && e.msg[0]));
        taken += rc == 0;
        spm_proto_fini(&m);
    }
    assert_int_equal(taken, 4); /* behind each piece, and at the end */
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spm_proto_reads_what_the_file_says),
        cmocka_unit_test(test_spm_proto_has_defaults),
        cmocka_unit_test(test_spm_proto_refuses_by_name),
        cmocka_unit_test(test_spm_proto_takes_no_half_of_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
