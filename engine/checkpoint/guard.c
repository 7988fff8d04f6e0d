/* guard: see guard.h. The table is fixed and its fields are atomics, because a
 * signal handler may neither lock nor allocate. A slot is taken by exchanging
 * its owner flag and published by its end address; the handler only looks at
 * ranges with an end. mmap is a plain system call on Linux and safe here.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct slot {
    atomic_int taken;
    _Atomic uintptr_t begin, end; /* end 0: not watched */
    atomic_int *_Atomic damaged;
};

static struct slot slots[GUARD_SLOTS];
static uintptr_t page_mask; /* written once, before the handler exists */

/* 1 when addr was in a watched range and is readable now. */
static int repair(uintptr_t addr)
{
    for (int i = 0; i < GUARD_SLOTS; i++) {
        uintptr_t end = atomic_load(&slots[i].end);
        uintptr_t begin = atomic_load(&slots[i].begin);
        if (addr < begin || addr >= end)
            continue;
        uintptr_t from = addr & ~page_mask;
        uintptr_t to = (end + page_mask) & ~page_mask;
        void *p = (void *)from;
        if (mmap(p, to - from, PROT_READ,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != p)
            return 0;
        atomic_store(atomic_load(&slots[i].damaged), 1);
        return 1;
    }
    return 0;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    if (info->si_code <= 0 || !repair((uintptr_t)info->si_addr)) {
        struct sigaction dfl;
        memset(&dfl, 0, sizeof(dfl));
        dfl.sa_handler = SIG_DFL;
        sigaction(sig, &dfl, NULL);
        if (info->si_code <= 0)
            raise(sig); /* sent by kill(2): it will not come again */
    }
    errno = saved;
}

static void read_page_size(void)
{
    page_mask = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
}

/* Done at every guard_add: somebody else may have put a handler of his own in
 * our place (test frameworks do). */
static int install(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct sigaction sa;
    pthread_once(&once, read_page_size);
    memset(&sa, 0, sizeof(sa));
    sa.sa_sigaction = on_sigbus;
    sa.sa_flags = SA_SIGINFO | SA_RESTART;
    sigemptyset(&sa.sa_mask);
    return sigaction(SIGBUS, &sa, NULL);
}

int guard_add(void *addr, size_t bytes, atomic_int *damaged)
{
    if (install())
        return -1;
    for (int i = 0; i < GUARD_SLOTS; i++) {
        if (atomic_exchange(&slots[i].taken, 1))
            continue;
        atomic_store(&slots[i].damaged, damaged);
        atomic_store(&slots[i].begin, (uintptr_t)addr);
        atomic_store(&slots[i].end, (uintptr_t)addr + bytes);
        return i;
    }
    return -1;
}

void guard_remove(int slot)
{
    if (slot < 0)
        return;
    atomic_store(&slots[slot].end, 0);
    atomic_store(&slots[slot].taken, 0);
}
