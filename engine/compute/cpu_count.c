/* cpu_count: quota of the control groups and the affinity mask. Inside a
 * container the path in /proc/self/cgroup may name a directory of the host
 * that is not mounted; the walk from the leaf to the root of the mount then
 * finds what there is.
 *
 * Source: Linux Documentation/admin-guide/cgroup-v2.rst (cpu.max) and
 * scheduler/sched-bwc.rst (cpu.cfs_quota_us).
 *
 * SPDX-License-Identifier: MIT */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/compute/cpu_count.h"

#define MAX_PATH 1024

/* First line of root + dir + name; 0 or -1. */
static int read_line(const char *dir, const char *name, char *line, int size)
{
    char path[MAX_PATH + 64];
    FILE *f;
    int rc = -1;

    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return -1;
    f = fopen(path, "re");
    if (!f)
        return -1;
    if (fgets(line, size, f))
        rc = 0;
    fclose(f);
    return rc;
}

/* CPUs of "quota period" in microseconds, rounded up; 0 for no limit. */
static int whole_cpus(long quota, long period)
{
    long n;

    if (quota <= 0 || period <= 0)
        return 0;
    n = (quota - 1) / period + 1;
    return n > 4096 ? 4096 : (int)n;
}

/* The quota that one directory sets, 0 for none. */
static int dir_quota(const char *dir)
{
    char line[64], period_line[64];
    long quota = 0, period = 0;

    if (read_line(dir, "cpu.max", line, sizeof line) == 0 &&
        sscanf(line, "%18ld %18ld", &quota, &period) == 2)
        return whole_cpus(quota, period);
    if (read_line(dir, "cpu.cfs_quota_us", line, sizeof line) == 0 &&
        read_line(dir, "cpu.cfs_period_us", period_line, sizeof period_line) ==
            0 &&
        sscanf(line, "%18ld", &quota) == 1 &&
        sscanf(period_line, "%18ld", &period) == 1)
        return whole_cpus(quota, period);
    return 0;
}

static int smaller(int a, int b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

/* The smallest quota from mount + group up to mount; 0 for none. */
static int walk_quota(const char *mount, const char *group)
{
    char dir[MAX_PATH];
    size_t base = strlen(mount);
    int best = 0;

    if (snprintf(dir, sizeof dir, "%s%s", mount, group) >= (int)sizeof dir)
        return dir_quota(mount);
    for (;;) {
        char *slash;

        best = smaller(best, dir_quota(dir));
        slash = strrchr(dir, '/');
        if (!slash || slash < dir + base)
            return best;
        *slash = 0;
    }
}

/* Is "cpu" one of the comma-separated names in list[0..n)? */
static int has_cpu(const char *list, size_t n)
{
    while (n >= 3) {
        const char *comma = memchr(list, ',', n);
        size_t len = comma ? (size_t)(comma - list) : n;

        if (len == 3 && memcmp(list, "cpu", 3) == 0)
            return 1;
        if (!comma)
            return 0;
        list += len + 1;
        n -= len + 1;
    }
    return 0;
}

/* One line of /proc/self/cgroup: "0::/path" (v2) or "4:cpu,cpuacct:/path". */
static int line_quota(const char *mount, char *line)
{
    char *names = strchr(line, ':');
    char *group = names ? strchr(names + 1, ':') : NULL;
    char v1[MAX_PATH];

    if (!group)
        return 0;
    names++;
    group[strcspn(group, "\n")] = 0;
    if (group == names)
        return walk_quota(mount, group + 1);
    if (!has_cpu(names, (size_t)(group - names)))
        return 0;
    if (snprintf(v1, sizeof v1, "%s/cpu", mount) >= (int)sizeof v1)
        return 0;
    return walk_quota(v1, group + 1);
}

int cpu_count_quota(const char *root)
{
    char path[MAX_PATH], mount[MAX_PATH], line[MAX_PATH];
    int best = 0;
    FILE *f;

    if (snprintf(path, sizeof path, "%s/proc/self/cgroup", root) >=
            (int)sizeof path ||
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root) >=
            (int)sizeof mount)
        return 0;
    f = fopen(path, "re");
    if (!f)
        return dir_quota(mount);
    while (fgets(line, sizeof line, f))
        best = smaller(best, line_quota(mount, line));
    fclose(f);
    return best;
}

int cpu_count_affinity(void)
{
    cpu_set_t set;
    int n;

    CPU_ZERO(&set);
    /* Fails where the kernel knows more CPUs than the set holds. */
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? n : 1;
}
