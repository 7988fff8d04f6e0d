/* metrics_process: see metrics_process.h. Source: proc(5).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/metrics_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int read_small(const char *path, char *text, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, max - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0 ? 0 : -1;
}

static void put(struct buf *out, const char *name, const char *type,
                const char *help, double v)
{
    buf_addf(out, "# HELP process_%s %s\n# TYPE process_%s %s\nprocess_%s ",
             name, help, name, type, name);
    buf_add_double(out, v);
    buf_add_char(out, '\n');
}

/* Fields of /proc/self/stat after the command name, from field 3 on. */
static int stat_fields(double *field, int n)
{
    char text[1024];
    if (read_small("/proc/self/stat", text, sizeof(text)))
        return -1;
    char *p = strrchr(text, ')');
    if (!p || p[1] != ' ' || p[2] == 0)
        return -1;
    p += 3; /* over the state letter */
    for (int i = 4; i < n; i++) {
        char *end;
        field[i] = strtod(p, &end);
        if (end == p)
            return -1;
        p = end;
    }
    return 0;
}

/* Seconds since 1970 at which the machine started; 0 when unknown. */
static double boot_time(void)
{
    double t = 0;
    char line[256];
    FILE *f = fopen("/proc/stat", "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, "btime ", 6) == 0) {
            t = strtod(line + 6, NULL);
            break;
        }
    }
    fclose(f);
    return t;
}

static int count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = -1; /* the directory's own descriptor is not counted */
    if (!d)
        return -1;
    for (struct dirent *x = readdir(d); x; x = readdir(d))
        n += x->d_name[0] != '.';
    closedir(d);
    return n;
}

void metrics_write_process(struct buf *out)
{
    double field[25] = {0};
    double tick = (double)sysconf(_SC_CLK_TCK);
    if (stat_fields(field, 25) == 0 && tick > 0) {
        put(out, "cpu_seconds_total", "counter",
            "User and system CPU time in seconds",
            (field[14] + field[15]) / tick);
        put(out, "threads", "gauge", "Threads", field[20]);
        put(out, "start_time_seconds", "gauge",
            "Start time in seconds since 1970", boot_time() + field[22] / tick);
        put(out, "virtual_memory_bytes", "gauge", "Virtual memory in bytes",
            field[23]);
        put(out, "resident_memory_bytes", "gauge", "Resident memory in bytes",
            field[24] * (double)sysconf(_SC_PAGESIZE));
    }
    int fds = count_fds();
    if (fds >= 0)
        put(out, "open_fds", "gauge", "Open file descriptors", fds);
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        put(out, "max_fds", "gauge", "Most file descriptors allowed",
            (double)lim.rlim_cur);
    }
}
