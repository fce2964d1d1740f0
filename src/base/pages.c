#include "base/pages.h"

#include <stddef.h>
#include <sys/mman.h>

void *pages_reserve(uint64_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

void pages_release(void *at, uint64_t bytes)
{
    if (at)
        (void)munmap(at, bytes);
}
