/* file: what is read, what is refused, and what may be waited for.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/file.h"

#include <sys/stat.h>

#include "engine/base/mem.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

static void test_file_read_holds_to_the_limit(void **state)
{
    char dir[64], path[96], *text = NULL;
    size_t n = 0;
    struct err e = ERR_INIT;
    temp_dir_make(dir);
    temp_file_text(dir, "f", "12345678");
    snprintf(path, sizeof path, "%s/f", dir);
    assert_int_equal(file_read(path, "f", 8, &text, &n, &e), 0);
    assert_int_equal(n, 8);
    assert_string_equal(text, "12345678");
    mem_free(text);
    assert_int_equal(file_read(path, "f", 7, &text, &n, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    assert_string_equal(e.msg, "f: more than 7 bytes");
    temp_dir_drop(dir);
}

static void test_file_read_refuses_what_is_no_file(void **state)
{
    char dir[64], path[96], *text = NULL;
    size_t n = 0;
    temp_dir_make(dir);
    snprintf(path, sizeof path, "%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    const char *const paths[] = {"/dev/zero", "/tmp", path};
    alarm(20); /* ends the program, should it wait */
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct err e = ERR_INIT;
        assert_int_equal(file_read(paths[i], "f", 100, &text, &n, &e), -1);
        assert_int_equal(e.code, ERR_IO);
        assert_string_equal(e.msg, "f: is not a regular file");
    }
    struct err e = ERR_INIT;
    assert_int_equal(file_read_piped("/dev/zero", "f", 100, 1, &text, &n, &e),
                     -1);
    assert_string_equal(e.msg, "f: is not a regular file");
    alarm(0);
    temp_dir_drop(dir);
}

/* Writes the text into a pipe after a while, in another process; the pipe's
 * path. */
static int late_pipe(const char *words, char path[64])
{
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    snprintf(path, 64, "/dev/fd/%d", fd[0]);
    pid_t child = fork();
    if (child == 0) {
        usleep(50000);
        _exit(write(fd[1], words, strlen(words)) < 0);
    }
    close(fd[1]);
    return fd[0];
}

/* "--config <(...)" of a shell */
static void test_file_read_piped_reads_a_pipe_to_its_end(void **state)
{
    char path[64], *text = NULL;
    size_t n = 0;
    struct err e = ERR_INIT;
    int fd = late_pipe("12345", path);
    assert_int_equal(
        file_read_piped(path, "f", 5, FILE_WAIT_FOREVER, &text, &n, &e), 0);
    assert_string_equal(text, "12345");
    mem_free(text);
    close(fd);
    fd = late_pipe("12345", path);
    assert_int_equal(file_read_piped(path, "f", 4, 10000, &text, &n, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    close(fd);
}

static void test_file_read_piped_does_not_wait_longer(void **state)
{
    char path[64], *text = NULL;
    size_t n = 0;
    struct err e = ERR_INIT;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", fd[0]);
    assert_int_equal(file_read_piped(path, "f", 100, 20, &text, &n, &e), -1);
    assert_int_equal(e.code, ERR_TIMEOUT);
    close(fd[0]);
    close(fd[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_read_holds_to_the_limit),
        cmocka_unit_test(test_file_read_refuses_what_is_no_file),
        cmocka_unit_test(test_file_read_piped_reads_a_pipe_to_its_end),
        cmocka_unit_test(test_file_read_piped_does_not_wait_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
