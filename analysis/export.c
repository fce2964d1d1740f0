#include "analysis/export.h"
#include "analysis/export_internal.h"

#include "mem/phys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- RAM
 * ---------------------------------------------------------------------- */

bool export_is_ram(struct machine *m, uint64_t paddr)
{
    struct phys_page page;
    phys_lookup(machine_phys(m), paddr, PHYS_READ, &page);
    return page.host != NULL;
}

/* Where RAM ends. What does not fit below the hole for devices goes on at 4 GiB
 * (82441FX). */
uint64_t export_ram_end(struct machine *m)
{
    const uint64_t high = UINT64_C(4) << 30;
    uint64_t mem = machine_config(m)->mem_bytes, end = 0;
    for (uint64_t at = 0; at < mem && at < high; at += PAGE_BYTES)
        if (export_is_ram(m, at))
            end = at + PAGE_BYTES;
    for (uint64_t at = high; at < high + mem && export_is_ram(m, at);
         at += PAGE_BYTES)
        end = at + PAGE_BYTES;
    return end;
}

bool export_write_error(const char *path, struct error *err)
{
    return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
}

static bool is_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

/* RAM from `offset` of the file on, `end` bytes. */
bool export_ram(struct machine *m, FILE *f, uint64_t offset, uint64_t end)
{
    for (uint64_t at = 0; at < end; at += PAGE_BYTES) {
        struct phys_page page;
        phys_lookup(machine_phys(m), at, PHYS_READ, &page);
        if (!page.host || (is_zero(page.host) && at + PAGE_BYTES < end))
            continue;
        if (fseeko(f, (off_t)(offset + at), SEEK_SET) != 0 ||
            fwrite(page.host, 1, PAGE_BYTES, f) != PAGE_BYTES)
            return false;
    }
    return true;
}

bool export_finish(FILE *f, bool ok, const char *path, struct error *err)
{
    int why = errno;
    if (fclose(f) != 0 && ok) {
        ok = false;
        why = errno;
    }
    errno = why;
    return ok || export_write_error(path, err);
}

bool export_raw_memory(struct machine *m, const char *path, struct error *err)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return export_write_error(path, err);
    return export_finish(f, export_ram(m, f, 0, export_ram_end(m)), path, err);
}
