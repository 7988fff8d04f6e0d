/* weights of a GGUF file: shapes rows first, block types widened, the digest
 * of the file, pages that are dropped and come back, and a file that is cut
 * short while it is served.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/stat.h>
#include <unistd.h>

#include "engine/checkpoint/checkpoint.h"
#include "tests/support/gguf_make.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

#define ROWS 600
#define COLS 64

static char dir[64], path[96];

static int setup(void **state)
{
    temp_dir_make(dir);
    snprintf(path, sizeof(path), "%s/m.gguf", dir);
    return 0;
}

static int teardown(void **state)
{
    temp_dir_drop(dir);
    return access(dir, F_OK) == 0;
}

/* "q" Q8_0 [600,64]: block k has scale 0.5 and the value k mod 100 all over;
 * "n" F32 [64] of ones. The file has about 41 KB, 11 pages. */
static void save(int extra_keys, const char *split)
{
    static const uint64_t ne_q[] = {COLS, ROWS}, ne_n[] = {COLS};
    struct buf b;
    buf_init(&b, 1 << 20);
    gm_head(&b, 3, 2, (uint64_t)extra_keys + 1);
    gm_kv_string(&b, "general.architecture", "llama");
    if (split)
        gm_kv_int(&b, split, GGUF_U16, 3);
    gm_tensor(&b, "q", GM_Q8_0, 2, ne_q, 0);
    gm_tensor(&b, "n", GM_F32, 1, ne_n, ROWS * 2 * 34);
    gm_align(&b, 32);
    for (int k = 0; k < ROWS * COLS / 32; k++) {
        gm_int(&b, 2, 0x3800); /* a half: 0.5 */
        gm_fill(&b, 32, (uint8_t)(k % 100));
    }
    gm_align(&b, 32);
    for (int i = 0; i < COLS; i++)
        gm_int(&b, 4, 0x3f800000);
    assert_int_equal(gm_write(&b, path), 0);
    buf_fini(&b);
}

static struct checkpoint *open_or_fail(const char *at, struct weights **w)
{
    struct checkpoint *c = NULL;
    struct err e = ERR_INIT;
    if (checkpoint_open(at, "m", &c, &e) || !(*w = checkpoint_weights(c, &e)))
        fail_msg("%s", e.msg);
    return c;
}

static void test_weights_gguf_opens_file_and_folder(void **state)
{
    struct err e = ERR_INIT;
    float row[COLS];
    save(0, NULL);
    for (int i = 0; i < 2; i++) {
        struct weights *w;
        struct checkpoint *c = open_or_fail(i ? dir : path, &w);
        assert_int_equal(weights_count(w), 2);
        assert_true(weights_parameters(w) == ROWS * COLS + COLS);
        const struct tensor *q = weights_need(w, "q", 2, ROWS, COLS, &e);
        assert_non_null(q);
        assert_int_equal(q->dtype, DT_Q8_0);
        tensor_read(q, 33 * COLS, COLS, row); /* blocks 66 and 67 */
        assert_true(row[0] == 33.0f && row[31] == 33.0f && row[32] == 33.5f);
        assert_null(weights_need(w, "q", 2, COLS, ROWS, &e));
        assert_string_equal(
            e.msg, "m/m.gguf: tensor 'q' is [600,64], expected [64,600]");
        err_clear(&e);
        assert_non_null(weights_need(w, "n", 1, COLS, 0, &e));
        assert_null(weights_find(w, "x"));
        checkpoint_close(c);
    }
}

static void test_weights_gguf_digest_is_the_files(void **state)
{
    char want[72];
    size_t n;
    save(0, NULL);
    temp_file_digest(dir, (const char *const[]){"m.gguf", NULL}, want, &n);
    struct weights *w;
    struct checkpoint *from = open_or_fail(dir, &w);
    unlink(path); /* the digest is of the file that is mapped */
    assert_string_equal(checkpoint_digest(from, NULL), want);
    assert_int_equal(checkpoint_damaged(from), 0);
    checkpoint_close(from);
}

/* Resident pages of the tensor, of n. */
static int resident(const struct tensor *t, int *n)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)t->data / page * page;
    size_t bytes = (uintptr_t)t->data + t->bytes - from;
    char line[256];
    FILE *f = fopen("/proc/self/smaps", "r");
    int inside = 0, kb = -1;
    unsigned long lo, hi;
    assert_non_null(f);
    while (kb < 0 && fgets(line, sizeof(line), f))
        if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2)
            inside = from >= lo && from < hi;
        else if (inside && strncmp(line, "Rss:", 4) == 0)
            kb = (int)strtol(line + 4, NULL, 10);
    fclose(f);
    *n = (int)(bytes / page);
    return kb * 1024 / (int)page;
}

static void test_weights_drop_pages_frees_and_they_come_back(void **state)
{
    static float all[ROWS * COLS];
    int n;
    save(0, NULL);
    struct weights *w;
    struct checkpoint *c = open_or_fail(dir, &w);
    const struct tensor *q = weights_find(w, "q");
    tensor_read(q, 0, ROWS * COLS, all);
    assert_true(resident(q, &n) >= n);
    weights_drop_pages(w, q);
    assert_true(resident(q, &n) <= 2);
    tensor_read(q, 0, ROWS * COLS, all);
    assert_true(all[ROWS * COLS - 1] == (float)(1199 % 100) / 2);
    weights_drop_pages(w, NULL);
    assert_int_equal(resident(q, &n), 0);
    assert_int_equal(checkpoint_damaged(c), 0);
    checkpoint_close(c);
}

static void test_weights_gguf_cut_short_while_served(void **state)
{
    static float all[ROWS * COLS];
    save(0, NULL);
    struct weights *w, *again;
    struct checkpoint *c = open_or_fail(dir, &w);
    struct checkpoint *c2 = open_or_fail(dir, &again);
    const struct tensor *q = weights_find(w, "q");
    assert_int_equal(truncate(path, 4096), 0);
    tensor_read(q, 0, ROWS * COLS, all);
    assert_true(all[2 * 32] == 1.0f); /* block 2: the first page is left */
    assert_true(all[ROWS * COLS - 1] == 0);
    assert_int_equal(checkpoint_damaged(c), 1);
    weights_drop_pages(w, NULL);
    tensor_read(q, 0, ROWS * COLS, all);
    assert_true(all[ROWS * COLS - 1] == 0);
    checkpoint_close(c);
    /* A digest meets the end, too. */
    assert_int_equal(checkpoint_damaged(c2), 0);
    assert_int_equal(strncmp(checkpoint_digest(c2, NULL), "sha256:", 7), 0);
    assert_int_equal(checkpoint_damaged(c2), 1);
    checkpoint_close(c2);
}

static void test_weights_gguf_refuses_parts_and_other_files(void **state)
{
    struct checkpoint *c;
    struct err e = ERR_INIT;
    save(1, "split.count");
    assert_int_equal(checkpoint_open(dir, "m", &c, &e), 0);
    assert_null(checkpoint_weights(c, &e));
    checkpoint_close(c);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    assert_string_equal(e.msg, "m/m.gguf: metadata 'split.count' is 3: one of "
                               "several files, expected a whole one");
    err_clear(&e);
    temp_file_text(dir, "m.gguf", "no container of ours, long enough");
    assert_int_equal(checkpoint_open(path, "m", &c, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_string_equal(e.msg, "m/m.gguf: does not begin with 'GGUF': not a "
                               "GGUF file, nor a state dict of torch.save (a "
                               "zip); other forms are read from their folder, "
                               "with config.json");
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_gguf_opens_file_and_folder),
        cmocka_unit_test(test_weights_gguf_digest_is_the_files),
        cmocka_unit_test(test_weights_drop_pages_frees_and_they_come_back),
        cmocka_unit_test(test_weights_gguf_cut_short_while_served),
        cmocka_unit_test(test_weights_gguf_refuses_parts_and_other_files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
