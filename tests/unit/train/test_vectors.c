/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "engine/checkpoint/safetensors.h"
#include "models/train/vectors.h"
#include "tests/support/train_rig.h"

static const float numbers[24] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

static struct save_tensor tensor(const char *name, int n_dims, int a, int b,
                                 int c)
{
    return (struct save_tensor){
        .name = name, .n_dims = n_dims, .dim = {a, b, c}, .data = numbers};
}

static void write_file(char *path, const char *name, struct save_tensor *t,
                       int n)
{
    struct err e = ERR_INIT;
    if (safetensors_save(train_rig_path(path, name), t, n, NULL, 0, &e) != 0)
        fail_msg("%s", e.msg);
}

static void test_vectors_are_records_of_their_lengths(void **state)
{
    static const float lengths[2] = {1, 3};
    struct save_tensor t[] = {tensor("x", 3, 2, 3, 2), tensor("y", 2, 2, 2, 0),
                              tensor("length", 1, 2, 0, 0),
                              tensor("other", 1, 5, 0, 0)};
    struct save_tensor one[] = {tensor("y", 2, 4, 2, 0),
                                tensor("x", 2, 4, 2, 0)};
    char a[128], b[128], files[300];
    struct err e = ERR_INIT;
    struct corpus c;
    t[2].data = lengths;
    write_file(a, "a.safetensors", t, 4);
    write_file(b, "b.safetensors", one, 2);
    snprintf(files, sizeof files, "%s,%s:0.5", a, b);
    if (vectors_read(&c, files, &e) != 0)
        fail_msg("%s", e.msg);
    assert_int_equal(c.n_records, 6);
    assert_int_equal(c.n, 1 + 3 + 4);
    assert_true(c.width == 2 && c.n_values == 2 && c.n_files == 2);
    assert_true(c.share[0] == 1 && c.share[1] == 0.5);
    assert_true(c.first[1] == 2 && c.first[2] == 6);
    static const int64_t start[7] = {0, 1, 4, 5, 6, 7, 8};
    assert_memory_equal(c.start, start, sizeof start);
    /* the first vector of the first, all three of the second, four more */
    static const float x[16] = {0, 1, 6, 7, 8, 9, 10, 11,
                                0, 1, 2, 3, 4, 5, 6,  7};
    assert_memory_equal(c.vectors, x, sizeof x);
    static const float y[12] = {0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7};
    assert_memory_equal(c.values, y, sizeof y);
    corpus_fini(&c);
}

static void refuse(const char *files, const char *message)
{
    struct err e = ERR_INIT;
    struct corpus c;
    assert_int_equal(vectors_read(&c, files, &e), -1);
    if (strstr(e.msg, message) == NULL)
        fail_msg("'%s' does not say '%s'", e.msg, message);
    corpus_fini(&c);
}

static void refuse_tensors(struct save_tensor x, struct save_tensor y,
                           const char *message)
{
    char path[128];
    write_file(path, "bad.safetensors", (struct save_tensor[]){x, y}, 2);
    refuse(path, message);
}

static void test_vectors_of_other_shapes_are_refused(void **state)
{
    struct save_tensor x = tensor("x", 3, 2, 3, 2), y = tensor("y", 1, 2, 0, 0);
    refuse_tensors(x, tensor("z", 1, 2, 0, 0), "no tensors 'x' and 'y'");
    refuse_tensors(tensor("x", 1, 2, 0, 0), y, "'x' is not [sequences, time");
    refuse_tensors(x, tensor("y", 1, 3, 0, 0), "'y' is not [sequences of x");
    refuse_tensors(x, tensor("y", 3, 2, 1, 1), "'y' is not [sequences of x");
    refuse_tensors(tensor("x", 3, 2, 0, 2), y, "is empty or too wide");
    refuse_tensors(x, tensor("y", 2, 2, 0, 0), "is empty or too wide");
}

static void test_numbers_that_are_none_are_refused(void **state)
{
    float bad[12] = {0};
    struct save_tensor x = tensor("x", 3, 2, 3, 2), y = tensor("y", 1, 2, 0, 0);
    bad[1] = NAN;
    x.data = bad;
    refuse_tensors(x, y, "has a number that is not finite");
    bad[1] = INFINITY;
    refuse_tensors(x, y, "has a number that is not finite");
    x.data = numbers;
    y.data = bad;
    refuse_tensors(x, y, "has a number that is not finite");
}

static void test_lengths_are_whole_and_in_range(void **state)
{
    static const float bad[][2] = {{0, 1},    {1, 4},   {-1, 1},
                                   {1.5F, 1}, {NAN, 1}, {1, 1e30F}};
    struct save_tensor t[] = {tensor("x", 3, 2, 3, 2), tensor("y", 1, 2, 0, 0),
                              tensor("length", 1, 2, 0, 0)};
    char path[128];
    for (size_t i = 0; i < COUNT(bad); i++) {
        t[2].data = bad[i];
        write_file(path, "length.safetensors", t, 3);
        refuse(path, "a 'length' is not 1 to the time of 'x'");
    }
    t[2] = tensor("length", 1, 3, 0, 0);
    write_file(path, "length.safetensors", t, 3);
    refuse(path, "'length' is not [sequences of x]");
}

static void test_files_have_one_width(void **state)
{
    struct save_tensor t[] = {tensor("x", 3, 2, 3, 2), tensor("y", 1, 2, 0, 0)};
    char a[128], b[128], files[300];
    write_file(a, "a.safetensors", t, 2);
    t[0] = tensor("x", 3, 2, 2, 3);
    write_file(b, "b.safetensors", t, 2);
    snprintf(files, sizeof files, "%s,%s", a, b);
    refuse(files, "b.safetensors: not as wide as the file before it");
    fclose(train_rig_file(a, "empty.safetensors"));
    refuse(a, "empty.safetensors");
    refuse("none.safetensors", "none.safetensors: no such file");
    refuse("", "no file of vectors is named");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_are_records_of_their_lengths),
        cmocka_unit_test(test_vectors_of_other_shapes_are_refused),
        cmocka_unit_test(test_numbers_that_are_none_are_refused),
        cmocka_unit_test(test_lengths_are_whole_and_in_range),
        cmocka_unit_test(test_files_have_one_width),
    };
    return cmocka_run_group_tests(tests, train_rig_open, train_rig_close);
}
