/* cpu_count against made-up /proc and /sys trees in a temporary directory.
 *
 * SPDX-License-Identifier: MIT */
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

#include "engine/compute/cpu_count.h"
#include "tests/support/unit.h"

struct tree {
    char root[256];
};

static int make_root(void **state)
{
    static struct tree t;
    const char *tmp = getenv("TMPDIR");

    snprintf(t.root, sizeof t.root, "%s/seqd-cpu-XXXXXX", tmp ? tmp : "/tmp");
    *state = &t;
    return mkdtemp(t.root) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int flag,
                        struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int remove_root(void **state)
{
    struct tree *t = *state;

    return nftw(t->root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Write text to root + path, making the directories on the way. */
static void put(const struct tree *t, const char *path, const char *text)
{
    char full[1024];
    FILE *f;

    snprintf(full, sizeof full, "%s%s", t->root, path);
    for (char *p = full + strlen(t->root) + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        mkdir(full, 0700);
        *p = '/';
    }
    f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_cpu_count_without_cgroups_has_no_quota(void **state)
{
    struct tree *t = *state;

    assert_int_equal(cpu_count_quota(t->root), 0);
    put(t, "/proc/self/cgroup", "0::/\n");
    assert_int_equal(cpu_count_quota(t->root), 0);
}

static void test_cpu_count_v2_rounds_the_quota_up(void **state)
{
    static const struct {
        const char *text;
        int cpus;
    } cases[] = {{"max 100000\n", 0},       {"200000 100000\n", 2},
                 {"150000 100000\n", 2},    {"1000 100000\n", 1},
                 {"100001 100000\n", 2},    {"garbage\n", 0},
                 {"-1 100000\n", 0},        {"100000 0\n", 0},
                 {"50000000 50000\n", 1000}};
    struct tree *t = *state;

    put(t, "/proc/self/cgroup", "0::/\n");
    for (size_t i = 0; i < COUNT(cases); i++) {
        put(t, "/sys/fs/cgroup/cpu.max", cases[i].text);
        assert_int_equal(cpu_count_quota(t->root), cases[i].cpus);
    }
}

static void test_cpu_count_v2_takes_the_smallest_of_the_ancestors(void **state)
{
    struct tree *t = *state;

    put(t, "/proc/self/cgroup", "0::/a/b/c\n");
    put(t, "/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    put(t, "/sys/fs/cgroup/a/b/cpu.max", "800000 100000\n");
    put(t, "/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    assert_int_equal(cpu_count_quota(t->root), 3);
    put(t, "/sys/fs/cgroup/a/b/cpu.max", "100000 100000\n");
    assert_int_equal(cpu_count_quota(t->root), 1);
}

static void test_cpu_count_v2_finds_the_root_of_a_container(void **state)
{
    struct tree *t = *state;

    /* the path is the host's; only the mount's root is there */
    put(t, "/proc/self/cgroup", "0::/system.slice/docker-1.scope\n");
    put(t, "/sys/fs/cgroup/cpu.max", "50000 100000\n");
    assert_int_equal(cpu_count_quota(t->root), 1);
}

static void test_cpu_count_v1_reads_quota_and_period(void **state)
{
    struct tree *t = *state;

    put(t, "/proc/self/cgroup",
        "12:cpuset:/x\n4:cpu,cpuacct:/docker/1\n1:name=systemd:/y\n");
    put(t, "/sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "250000\n");
    put(t, "/sys/fs/cgroup/cpu/docker/1/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpu_count_quota(t->root), 3);
    put(t, "/sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(cpu_count_quota(t->root), 0);
}

static void test_cpu_count_v1_ignores_other_controllers(void **state)
{
    struct tree *t = *state;

    put(t, "/proc/self/cgroup", "12:cpuset:/x\n3:cpuacct:/x\n");
    put(t, "/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "100000\n");
    put(t, "/sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpu_count_quota(t->root), 0);
}

static void test_cpu_count_survives_garbage(void **state)
{
    struct tree *t = *state;
    char line[3000];

    memset(line, 'a', sizeof line);
    memcpy(line, "0::/", 4);
    line[sizeof line - 1] = 0;
    put(t, "/proc/self/cgroup", line);
    put(t, "/sys/fs/cgroup/cpu.max", "100000 100000\n");
    assert_in_range(cpu_count_quota(t->root), 0, 1);
    put(t, "/proc/self/cgroup", "\n:\n::\nno colon\n");
    assert_in_range(cpu_count_quota(t->root), 0, 1);
}

static void test_cpu_count_affinity_is_at_least_one(void **state)
{
    assert_in_range(cpu_count_affinity(), 1, INT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_cpu_count_without_cgroups_has_no_quota, make_root,
            remove_root),
        cmocka_unit_test_setup_teardown(test_cpu_count_v2_rounds_the_quota_up,
                                        make_root, remove_root),
        cmocka_unit_test_setup_teardown(
            test_cpu_count_v2_takes_the_smallest_of_the_ancestors, make_root,
            remove_root),
        cmocka_unit_test_setup_teardown(
            test_cpu_count_v2_finds_the_root_of_a_container, make_root,
            remove_root),
        cmocka_unit_test_setup_teardown(
            test_cpu_count_v1_reads_quota_and_period, make_root, remove_root),
        cmocka_unit_test_setup_teardown(
            test_cpu_count_v1_ignores_other_controllers, make_root,
            remove_root),
        cmocka_unit_test_setup_teardown(test_cpu_count_survives_garbage,
                                        make_root, remove_root),
        cmocka_unit_test(test_cpu_count_affinity_is_at_least_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
