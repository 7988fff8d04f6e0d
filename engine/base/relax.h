/* relax: what a spinning thread says to its core between two looks, so that
 * the other thread of that core gets on.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RELAX_H
#define SEQD_RELAX_H

#if defined(__x86_64__) || defined(__i386__)
static inline void cpu_relax(void)
{
    __builtin_ia32_pause();
}
#elif defined(__aarch64__)
static inline void cpu_relax(void)
{
    __asm__ volatile("yield");
}
#else
static inline void cpu_relax(void)
{
    __asm__ volatile("" ::: "memory");
}
#endif

#endif
