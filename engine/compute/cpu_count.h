/* cpu_count: how many threads this process can really use. Internal to
 * engine/compute; pool_default_threads is the public question.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CPU_COUNT_H
#define SEQD_CPU_COUNT_H

/* cpu_count_quota: the CPU quota of this process's control groups, rounded up
 * to whole CPUs; the smallest of the group and its ancestors, v2 and v1. 0
 * when there is none. root is put before the paths /proc/self/cgroup and
 * /sys/fs/cgroup ("" for the real ones). */
int cpu_count_quota(const char *root);

/* cpu_count_affinity: CPUs that the scheduler may run this process on. */
int cpu_count_affinity(void);

#endif
