/* guard: a mapped file that is cut short reads as zeros and raises its flag;
 * any other SIGBUS still kills.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/checkpoint/guard.h"
#include "tests/support/unit.h"

struct mapped {
    int fd;
    unsigned char *p;
    size_t page, bytes;
};

/* A file of three and a half pages of 0xab, mapped. */
static void map_file(struct mapped *m)
{
    char path[] = "/tmp/seqd-guard-XXXXXX";
    m->page = (size_t)sysconf(_SC_PAGESIZE);
    m->bytes = m->page * 7 / 2;
    m->fd = mkstemp(path);
    assert_true(m->fd >= 0);
    unlink(path);
    char *fill = test_malloc(m->bytes);
    memset(fill, 0xab, m->bytes);
    assert_int_equal(write(m->fd, fill, m->bytes), m->bytes);
    test_free(fill);
    m->p = mmap(NULL, m->bytes, PROT_READ, MAP_PRIVATE, m->fd, 0);
    assert_true(m->p != MAP_FAILED);
}

static void unmap(struct mapped *m)
{
    munmap(m->p, m->bytes);
    close(m->fd);
}

static int at(const struct mapped *m, size_t i)
{
    return *(volatile unsigned char *)&m->p[i];
}

static void test_guard_truncated_file_reads_as_zeros(void **state)
{
    struct mapped m, other;
    atomic_int damaged = 0, other_damaged = 0;
    map_file(&m);
    map_file(&other);
    int slot = guard_add(m.p, m.bytes, &damaged);
    int other_slot = guard_add(other.p, other.bytes, &other_damaged);
    assert_true(slot >= 0 && other_slot >= 0 && slot != other_slot);
    assert_int_equal(at(&m, m.bytes - 1), 0xab);
    assert_int_equal(ftruncate(m.fd, (off_t)m.page), 0);
    assert_int_equal(at(&m, 0), 0xab); /* this page is still there */
    assert_int_equal(atomic_load(&damaged), 0);
    assert_int_equal(at(&m, m.page), 0);
    assert_int_equal(atomic_load(&damaged), 1);
    assert_int_equal(at(&m, m.bytes - 1), 0);
    assert_int_equal(at(&m, 0), 0xab);
    assert_int_equal(atomic_load(&other_damaged), 0);
    assert_int_equal(at(&other, other.bytes - 1), 0xab);
    guard_remove(slot);
    guard_remove(other_slot);
    unmap(&m);
    unmap(&other);
}

static void test_guard_slots_are_reused_and_run_out(void **state)
{
    static int slots[GUARD_SLOTS];
    static char block[64];
    atomic_int damaged = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < GUARD_SLOTS; i++) {
            slots[i] = guard_add(block, sizeof(block), &damaged);
            assert_true(slots[i] >= 0);
        }
        assert_int_equal(guard_add(block, sizeof(block), &damaged), -1);
        for (int i = 0; i < GUARD_SLOTS; i++)
            guard_remove(slots[i]);
    }
    guard_remove(-1);
}

/* In a child: read a truncated mapping that nobody watches (any more). */
static void test_guard_other_faults_still_kill(void **state)
{
    struct mapped m;
    atomic_int damaged = 0;
    map_file(&m);
    int slot = guard_add(m.p, m.bytes, &damaged);
    guard_remove(slot);
    assert_int_equal(ftruncate(m.fd, 0), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        alarm(10);
        close(STDERR_FILENO); /* a sanitizer's report would confuse */
        _exit(at(&m, 0) == 0 ? 7 : 8);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
    unmap(&m);
}

static void test_guard_a_sent_sigbus_kills(void **state)
{
    static char block[64];
    atomic_int damaged = 0;
    int slot = guard_add(block, sizeof(block), &damaged);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        alarm(10);
        close(STDERR_FILENO);
        kill(getpid(), SIGBUS);
        _exit(7);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    guard_remove(slot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_truncated_file_reads_as_zeros),
        cmocka_unit_test(test_guard_slots_are_reused_and_run_out),
        cmocka_unit_test(test_guard_other_faults_still_kill),
        cmocka_unit_test(test_guard_a_sent_sigbus_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
