/* test_file_part: files that appear whole or not at all. fsync and rename are
 * this program's, so that their order is seen.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "tests/support/unit.h"

static char dir[64], path[96], order[16];

static void note(char c)
{
    size_t n = strlen(order);
    if (n + 1 < sizeof order)
        order[n] = c;
}

int fsync(int fd)
{
    struct stat s;
    note(fstat(fd, &s) == 0 && S_ISDIR(s.st_mode) ? 'D' : 'F');
    return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    note('R');
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static int entries(void)
{
    DIR *d = opendir(dir);
    int n = -2;
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void expect(const char *want)
{
    struct err e = ERR_INIT;
    char *text;
    size_t n;
    assert_int_equal(file_read(path, path, 64, &text, &n, &e), 0);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(text, want, n);
    mem_free(text);
}

static void put(const char *text)
{
    struct file_part p;
    struct err e = ERR_INIT;
    assert_int_equal(file_part_open(&p, path, &e), 0);
    int ok = fputs(text, p.f) >= 0;
    assert_int_equal(file_part_commit(&p, ok, &e), 0);
}

static void test_file_part_is_durable_before_and_after_its_name(void **state)
{
    put("old");
    memset(order, 0, sizeof order);
    put("new");
    assert_string_equal(order, "FRD");
    expect("new");
    assert_int_equal(entries(), 1);
}

static void test_file_part_that_fails_leaves_the_old_one(void **state)
{
    struct file_part p;
    struct err e = ERR_INIT;
    put("old");
    assert_int_equal(file_part_open(&p, path, &e), 0);
    fputs("half", p.f);
    errno = ENOSPC;
    assert_int_equal(file_part_commit(&p, 0, &e), -1);
    assert_int_equal(e.code, ERR_IO);
    assert_non_null(strstr(e.msg, path));
    assert_non_null(strstr(e.msg, ": No space left on device"));
    expect("old");
    assert_int_equal(entries(), 1);
    err_clear(&e);
    assert_int_equal(file_part_open(&p, "/none/x", &e), -1);
    assert_string_equal(e.msg, "/none/x cannot be written: No such file or "
                               "directory");
}

/* Somebody's link where the temporary file will be, and a file that a run with
 * the same number has left there. */
static void test_file_part_writes_through_no_link(void **state)
{
    char tmp[128], other[128];
    struct stat s;
    struct err e = ERR_INIT;
    snprintf(tmp, sizeof tmp, "%s.tmp-%ld", path, (long)getpid());
    snprintf(other, sizeof other, "%s/other", dir);
    FILE *f = fopen(other, "w");
    assert_true(f && fputs("theirs", f) >= 0 && fclose(f) == 0);
    assert_int_equal(symlink(other, tmp), 0);
    put("mine");
    expect("mine");
    assert_int_equal(lstat(path, &s), 0);
    assert_true(S_ISREG(s.st_mode));
    assert_int_equal(stat(other, &s), 0);
    assert_int_equal(s.st_size, 6);
    assert_int_equal(rename(other, tmp), 0);
    put("again");
    expect("again");
    assert_int_equal(entries(), 1);
    assert_int_equal(mkdir(tmp, 0700), 0);
    struct file_part p;
    assert_int_equal(file_part_open(&p, path, &e), -1);
    assert_non_null(strstr(e.msg, "x cannot be written: "));
    assert_int_equal(rmdir(tmp), 0);
}

static int make_dir(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/seqd-file-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/x", dir);
    return 0;
}

static int remove_dir(void **state)
{
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_part_is_durable_before_and_after_its_name),
        cmocka_unit_test(test_file_part_that_fails_leaves_the_old_one),
        cmocka_unit_test(test_file_part_writes_through_no_link),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
