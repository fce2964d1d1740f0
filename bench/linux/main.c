/* benchprog NAME [REPEATS]: runs one workload of works.def and prints
 *
 *     = NAME REPEATS
 *     <
 *     >
 *     + CHECKSUM WALL-NANOSECONDS CPU-NANOSECONDS
 *
 * The line "<" leaves PAUSE_NS before the work, ">" just after it, so whoever
 * reads the output can take the time; the pause gives an emulator that collects
 * output the time to pass it on. The last line has the program's own clock.
 * Without arguments it lists the workloads. benchprog touch MIB uses memory. */
#include "works.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { PAUSE_NS = 2000000 };

struct work {
    const char *name;
    unsigned repeats;
    const char *what;
    uint64_t (*run)(unsigned repeats);
};

static const struct work works[] = {
#define WORK(name, times, what) {#name, times, what, work_##name},
#include "works.def"
#undef WORK
    {0},
};

void must(int is_good, const char *what)
{
    if (is_good)
        return;
    perror(what);
    exit(1);
}

static uint64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t timeval_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_usec * 1000;
}

/* Of this process and of the children it has waited for. */
static uint64_t cpu_ns(void)
{
    struct rusage own, children;
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return timeval_ns(own.ru_utime) + timeval_ns(own.ru_stime) +
           timeval_ns(children.ru_utime) + timeval_ns(children.ru_stime);
}

static void mark(const char *line)
{
    must(write(STDOUT_FILENO, line, strlen(line)) == (ssize_t)strlen(line),
         "standard output");
}

static void run(const struct work *w, unsigned repeats)
{
    char line[128];
    uint64_t wall, cpu, sum;
    (void)snprintf(line, sizeof line, "= %s %u\n", w->name, repeats);
    mark(line);
    (void)tcdrain(STDOUT_FILENO); /* a pipe needs none */
    mark("<\n");
    (void)nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    cpu = cpu_ns();
    wall = wall_ns();
    sum = w->run(repeats);
    wall = wall_ns() - wall;
    cpu = cpu_ns() - cpu;
    mark(">\n");
    (void)snprintf(line, sizeof line, "+ %016llx %llu %llu\n",
                   (unsigned long long)sum, (unsigned long long)wall,
                   (unsigned long long)cpu);
    mark(line);
    (void)tcdrain(STDOUT_FILENO);
}

/* Writes to every page of so many MiB, says so, and keeps them. */
static void touch(const char *mib)
{
    size_t bytes = (size_t)strtoul(mib, NULL, 10) << 20;
    char *memory = malloc(bytes);
    must(memory != NULL, "memory");
    for (size_t at = 0; at < bytes; at += 4096)
        memory[at] = (char)(at >> 12 | 1);
    (void)printf("# %s MiB touched, byte %d\n", mib, memory[bytes / 2]);
    (void)fflush(stdout);
    (void)tcdrain(STDOUT_FILENO);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "exec") == 0)
        return 7; /* what the workload forkexec starts */
    if (argc == 3 && strcmp(argv[1], "touch") == 0) {
        touch(argv[2]);
        return 0;
    }
    if (argc < 2) {
        for (const struct work *w = works; w->name; w++)
            (void)printf("%-10s %8u  %s\n", w->name, w->repeats, w->what);
        return 0;
    }
    for (const struct work *w = works; w->name; w++) {
        if (strcmp(w->name, argv[1]) == 0) {
            long repeats = argc > 2 ? strtol(argv[2], NULL, 10) : w->repeats;
            run(w, repeats > 0 ? (unsigned)repeats : 1);
            return 0;
        }
    }
    (void)fprintf(stderr, "benchprog: no workload is called '%s'\n", argv[1]);
    return 2;
}
