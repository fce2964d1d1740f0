/* What bisecting says about the two states it ended with. */
#include "replay/bisect.h"

#include "base/bytes.h"
#include "cpu/cpu.h"
#include "mem/phys.h"
#include "replay/gdb_monitor.h"

#include <string.h>

enum {
    LINES_MAX = 24,  /* of registers and chips */
    FRAMES_MAX = 8,  /* whose contents are compared */
    ENTRY_BYTES = 20 /* of station_frames() */
};

/* ---- devices
 * ---------------------------------------------------------------- */

/* Little-endian bytes as one number, or as they lie when they are many. */
static void put_value(struct writer *text, const uint8_t *bytes, size_t count)
{
    if (count > 16) {
        gdb_print(text, "%02x...", bytes[0]);
        return;
    }
    gdb_print(text, "0x");
    while (count-- > 0)
        gdb_print(text, "%02x", bytes[count]);
}

static bool same_name(size_t at, const char *name)
{
    char other[64];
    return cpu_field_name(at, other, sizeof other) && strcmp(name, other) == 0;
}

/* The whole field that byte `at` belongs to; returns its end. */
static size_t put_cpu_field(struct writer *text, const struct reader *a,
                            const struct reader *b, size_t at)
{
    char name[64];
    if (!cpu_field_name(at, name, sizeof name)) {
        gdb_print(text, "cpu byte %zu: %02x, %02x\n", at, a->data[at],
                  b->data[at]);
        return at + 1;
    }
    size_t from = at, to = at + 1;
    while (from > 0 && same_name(from - 1, name))
        from--;
    while (to < a->size && same_name(to, name))
        to++;
    gdb_print(text, "cpu.%s: ", name);
    put_value(text, a->data + from, to - from);
    gdb_print(text, ", ");
    put_value(text, b->data + from, to - from);
    gdb_print(text, "\n");
    return to;
}

static unsigned section_differences(const char *tag, const struct reader *a,
                                    const struct reader *b, unsigned most,
                                    struct writer *text)
{
    bool is_cpu = strcmp(tag, "CPU ") == 0;
    unsigned count = 0;
    size_t size = a->size < b->size ? a->size : b->size;
    if (a->size != b->size && most > 0) {
        gdb_print(text, "%.4s: %zu bytes, %zu\n", tag, a->size, b->size);
        count++;
    }
    for (size_t at = 0; at < size && count < most;) {
        if (a->data[at] == b->data[at]) {
            at++;
            continue;
        }
        count++;
        if (is_cpu) {
            at = put_cpu_field(text, a, b, at);
            continue;
        }
        gdb_print(text, "%.4s byte %zu: %02x, %02x\n", tag, at, a->data[at],
                  b->data[at]);
        at++;
    }
    return count;
}

static bool next_section(struct reader *r, char tag[5], struct reader *in)
{
    if (r->size - r->at < 8)
        return false;
    memcpy(tag, r->data + r->at, 4);
    tag[4] = 0;
    return reader_section(r, tag, in, NULL);
}

unsigned bisect_device_differences(const struct writer *a,
                                   const struct writer *b, unsigned most,
                                   struct writer *text)
{
    struct reader ra, rb, ia, ib;
    char ta[5], tb[5];
    unsigned count = 0;
    reader_init(&ra, a->data, a->used);
    reader_init(&rb, b->data, b->used);
    while (count < most && next_section(&ra, ta, &ia) &&
           next_section(&rb, tb, &ib)) {
        if (strcmp(ta, tb) != 0) {
            gdb_print(text, "section %.4s, %.4s\n", ta, tb);
            return count + 1;
        }
        count += section_differences(ta, &ia, &ib, most - count, text);
    }
    return count;
}

/* ---- memory
 * ----------------------------------------------------------------- */

typedef bool fetch_fn(void *context, struct writer *out, struct error *err);

/* Of both sides, into two new writers. */
static bool fetch(const struct bisect *b, fetch_fn *const fn[2],
                  struct writer out[2], struct error *err)
{
    bool ok = true;
    for (unsigned n = 0; n < 2; n++)
        writer_init(&out[n]);
    for (unsigned n = 0; ok && n < 2; n++)
        ok = fn[n](b->side[n]->context, &out[n], err);
    return ok;
}

static void drop(struct writer out[2])
{
    writer_fini(&out[0]);
    writer_fini(&out[1]);
}

static bool frame_difference(const struct bisect *b, uint32_t frame,
                             struct writer *text, struct error *err)
{
    struct writer page[2];
    bool ok = true;
    size_t first = 0, count = 0;
    for (unsigned n = 0; n < 2; n++)
        writer_init(&page[n]);
    for (unsigned n = 0; ok && n < 2; n++)
        ok = b->side[n]->frame(b->side[n]->context, frame, &page[n], err) &&
             (page[n].used == 8 + PAGE_BYTES ||
              error_set(err, ERR_INPUT, "frame %u: expected %d bytes", frame,
                        8 + PAGE_BYTES));
    for (size_t i = PAGE_BYTES; ok && i-- > 0;)
        if (page[0].data[8 + i] != page[1].data[8 + i]) {
            first = i;
            count++;
        }
    if (ok) {
        uint64_t at = load_le64(page[0].data);
        gdb_print(text, "memory ");
        if (at != UINT64_MAX)
            gdb_print(text, "at physical address 0x%llx",
                      (unsigned long long)(at + first));
        else
            gdb_print(text, "frame %u byte %zu", frame, first);
        gdb_print(text, ": %02x, %02x (%zu bytes of this page)\n",
                  page[0].data[8 + first], page[1].data[8 + first], count);
    }
    drop(page);
    return ok;
}

/* The next frame in which two ascending lists differ. */
static bool next_frame(struct reader *a, struct reader *b, uint32_t *frame)
{
    while (a->at < a->size || b->at < b->size) {
        const uint8_t *ea = a->data + a->at, *eb = b->data + b->at;
        uint32_t na = a->at < a->size ? load_le32(ea) : UINT32_MAX;
        uint32_t nb = b->at < b->size ? load_le32(eb) : UINT32_MAX;
        bool same = na == nb && memcmp(ea, eb, ENTRY_BYTES) == 0;
        *frame = na < nb ? na : nb;
        if (na <= nb)
            a->at += ENTRY_BYTES;
        if (nb <= na)
            b->at += ENTRY_BYTES;
        if (!same)
            return true;
    }
    return false;
}

static bool memory_differences(const struct bisect *b, struct writer *text,
                               struct error *err)
{
    struct writer list[2];
    fetch_fn *const fn[2] = {b->side[0]->frames, b->side[1]->frames};
    bool ok = fetch(b, fn, list, err);
    struct reader ra, rb;
    unsigned shown = 0, more = 0;
    uint32_t frame;
    for (unsigned n = 0; ok && n < 2; n++)
        ok = list[n].used % ENTRY_BYTES == 0 ||
             error_set(err, ERR_INPUT, "a list of frames is not whole");
    reader_init(&ra, list[0].data, ok ? list[0].used : 0);
    reader_init(&rb, list[1].data, ok ? list[1].used : 0);
    while (ok && next_frame(&ra, &rb, &frame)) {
        if (shown == FRAMES_MAX) {
            more++;
            continue;
        }
        shown++;
        ok = frame_difference(b, frame, text, err);
    }
    if (more)
        gdb_print(text, "memory: %u more pages\n", more);
    drop(list);
    return ok;
}

static bool layer_differences(const struct bisect *b, struct writer *text,
                              struct error *err)
{
    struct writer list[2];
    fetch_fn *const fn[2] = {b->side[0]->layers, b->side[1]->layers};
    bool ok = fetch(b, fn, list, err);
    for (size_t i = 0; ok && i + 16 <= list[0].used && i + 16 <= list[1].used;
         i += 16)
        if (memcmp(list[0].data + i, list[1].data + i, 16) != 0)
            gdb_print(text, "drive %zu: other blocks were written\n", i / 16);
    drop(list);
    return ok;
}

/* ---- both sides at one tick
 * ---------------------------------------------------- */

static bool stand(const struct bisect *b, const struct bisect_result *r,
                  uint64_t tick, struct error *err)
{
    struct stretch w = {
        .start = r->start, .from = tick, .to = tick, .block = r->block};
    for (unsigned n = 0; n < 2; n++) {
        struct station_mark marks[STATION_MARKS_MAX];
        unsigned count;
        if (!b->side[n]->begin_run(b->side[n]->context, &w, err) ||
            !b->side[n]->end_run(b->side[n]->context, marks, &count, err))
            return false;
    }
    return true;
}

bool bisect_differences(const struct bisect *b, const struct bisect_result *r,
                        struct writer *text, struct error *err)
{
    struct writer devices[2];
    fetch_fn *const fn[2] = {b->side[0]->devices, b->side[1]->devices};
    if (!stand(b, r, r->tick, err))
        return false;
    bool ok = fetch(b, fn, devices, err);
    if (ok)
        (void)bisect_device_differences(&devices[0], &devices[1], LINES_MAX,
                                        text);
    drop(devices);
    return ok && memory_differences(b, text, err) &&
           layer_differences(b, text, err);
}

bool bisect_code(const struct bisect *b, const struct bisect_result *r,
                 unsigned n, struct writer *text, struct error *err)
{
    const struct bisect_side *s = b->side[n];
    uint64_t back = r->block > 1 ? r->block : r->block == 0 ? 16 : 1;
    uint64_t from = r->tick - r->start > back ? r->tick - back : r->start;
    return stand(b, r, from, err) &&
           s->code(s->context, r->tick, (unsigned)back, text, err);
}
