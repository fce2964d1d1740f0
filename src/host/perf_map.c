#include "host/perf_map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct perf_map {
    FILE *file;
};

struct perf_map *perf_map_open(struct error *err)
{
    char path[64];
    struct perf_map *p = calloc(1, sizeof *p);
    (void)snprintf(path, sizeof path, "/tmp/perf-%ld.map", (long)getpid());
    if (p)
        p->file = fopen(path, "w");
    if (p && p->file)
        return p;
    error_set(err, ERR_IO, "%s: cannot write: %s", path, strerror(errno));
    free(p);
    return NULL;
}

void perf_map_add(void *context, const struct jit_code *code)
{
    const struct perf_map *p = context;
    (void)fprintf(p->file, "%llx %llx tier%u:0x%llx\n",
                  (unsigned long long)(uintptr_t)code->host,
                  (unsigned long long)code->host_bytes, code->tier,
                  (unsigned long long)code->guest);
}

void perf_map_close(struct perf_map *p)
{
    if (!p)
        return;
    (void)fclose(p->file);
    free(p);
}
