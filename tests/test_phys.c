/* The physical address space: map, tracking, digest, save and load. */
#include "mem/phys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { MEM_FRAMES = 64, LOG_MAX = 32 };

struct access {
    uint64_t offset;
    uint64_t value;
    unsigned bytes;
    bool is_write;
};

/* A machine part under test: RAM, ROM, and a device that logs. */
struct bench {
    struct phys *p;
    uint32_t ram, rom;
    struct access log[LOG_MAX];
    unsigned logged;
    uint32_t dropped[LOG_MAX];
    unsigned drops;
    uint32_t watch_offset, watch_bytes;
    uint8_t watch_old[16];
    unsigned watched;
};

static uint64_t device_read(void *device, uint64_t offset, unsigned bytes)
{
    struct bench *b = device;
    assert_true(b->logged < LOG_MAX);
    b->log[b->logged++] = (struct access){offset, 0, bytes, false};
    return 0x8877665544332211;
}

static void device_write(void *device, uint64_t offset, uint64_t value,
                         unsigned bytes)
{
    struct bench *b = device;
    assert_true(b->logged < LOG_MAX);
    b->log[b->logged++] = (struct access){offset, value, bytes, true};
}

static const struct mmio_ops device_ops = {device_read, device_write};

static void on_drop(void *context, uint32_t frame)
{
    struct bench *b = context;
    if (b->drops < LOG_MAX)
        b->dropped[b->drops++] = frame;
}

static void on_store(void *context, uint32_t frame, uint32_t offset,
                     uint32_t bytes, const void *old)
{
    (void)frame;
    struct bench *b = context;
    b->watched++;
    b->watch_offset = offset;
    b->watch_bytes = bytes;
    memcpy(b->watch_old, old, bytes < 16 ? bytes : 16);
}

static int setup(void **state)
{
    static struct bench bench;
    struct bench *b = &bench;
    *b = (struct bench){0};
    b->p = phys_new((MEM_FRAMES + 2) * PAGE_BYTES, NULL);
    assert_non_null(b->p);
    b->ram = phys_add_memory(b->p, "ram", MEM_FRAMES * PAGE_BYTES, false);
    b->rom = phys_add_memory(b->p, "rom", 2 * PAGE_BYTES, true);
    phys_map_memory(b->p, 0, MEM_FRAMES * PAGE_BYTES, b->ram,
                    PHYS_READ | PHYS_WRITE);
    phys_map_memory(b->p, 0xffffe000, 2 * PAGE_BYTES, b->rom,
                    PHYS_READ | PHYS_WRITE);
    phys_on_drop(b->p, on_drop, b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    phys_free(((struct bench *)*state)->p);
    return 0;
}

static uint32_t read32(struct phys *p, uint64_t paddr)
{
    uint32_t v;
    phys_read(p, paddr, &v, 4);
    return v;
}

static void write32(struct phys *p, uint64_t paddr, uint32_t v)
{
    phys_write(p, paddr, &v, 4);
}

static void nothing_reads_all_ones_and_swallows_stores(void **state)
{
    struct bench *b = *state;
    write32(b->p, 0x12345678, 1);
    assert_int_equal(read32(b->p, 0x12345678), 0xffffffff);
    assert_int_equal(read32(b->p, UINT64_MAX - 3), 0xffffffff);
    uint32_t half = read32(b->p, MEM_FRAMES * PAGE_BYTES - 2);
    assert_int_equal(half, 0xffff0000);
}

static void ram_crosses_pages(void **state)
{
    struct bench *b = *state;
    write32(b->p, 0xffe, 0x11223344);
    assert_int_equal(read32(b->p, 0xffe), 0x11223344);
    assert_int_equal(phys_frame_host(b->p, b->ram)[0xfff], 0x33);
    assert_int_equal(phys_frame_host(b->p, b->ram + 1)[0], 0x22);
}

static void rom_ignores_guest_stores_but_not_its_owner(void **state)
{
    struct bench *b = *state;
    phys_frame_write(b->p, b->rom, 0, "BIOS", 4);
    write32(b->p, 0xffffe000, 0);
    phys_dma_write(b->p, 0xffffe000, "\0\0\0\0", 4);
    char got[4];
    phys_read(b->p, 0xffffe000, got, 4);
    assert_memory_equal(got, "BIOS", 4);
    assert_false(phys_make_writable(b->p, b->rom));
}

static void mmio_splits_into_aligned_pieces(void **state)
{
    struct bench *b = *state;
    phys_map_mmio(b->p, 0xe0000000, 0x2000, &device_ops, b, 0x100000,
                  PHYS_READ | PHYS_WRITE);
    uint8_t data[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    phys_write(b->p, 0xe0000ffd, data, 16);
    static const struct access expect[] = {
        {0x100ffd, 0x01, 1, true},
        {0x100ffe, 0x0302, 2, true},
        {0x101000, 0x0b0a090807060504, 8, true},
        {0x101008, 0x0f0e0d0c, 4, true},
        {0x10100c, 0x10, 1, true},
    };
    assert_int_equal(b->logged, 5);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(b->log[i].offset, expect[i].offset);
        assert_int_equal(b->log[i].value, expect[i].value);
        assert_int_equal(b->log[i].bytes, expect[i].bytes);
    }
    assert_int_equal(read32(b->p, 0xe0000004), 0x44332211);
    b->logged = 0;
    uint32_t v = 0;
    phys_dma_read(b->p, 0xe0000000, &v, 4);
    phys_dma_write(b->p, 0xe0000000, &v, 4);
    assert_int_equal(v, 0xffffffff);
    assert_int_equal(b->logged, 0);
}

static void reads_and_writes_map_apart(void **state)
{
    struct bench *b = *state;
    phys_map_memory(b->p, 0x3000, 0x1000, b->rom, PHYS_READ);
    phys_frame_write(b->p, b->rom, 0, "ROM!", 4);
    write32(b->p, 0x3000, 0x55);
    char got[4];
    phys_read(b->p, 0x3000, got, 4);
    assert_memory_equal(got, "ROM!", 4);
    phys_map_memory(b->p, 0x3000, 0x1000, b->ram + 3, PHYS_READ);
    assert_int_equal(read32(b->p, 0x3000), 0x55);
    phys_unmap(b->p, 0x3000, 0x1000, PHYS_WRITE);
    write32(b->p, 0x3000, 0x66);
    assert_int_equal(read32(b->p, 0x3000), 0x55);
}

static void remapping_drops_only_when_it_changes_something(void **state)
{
    struct bench *b = *state;
    phys_map_memory(b->p, 0x4000, 0x2000, b->ram + 4, PHYS_READ | PHYS_WRITE);
    phys_unmap(b->p, 0x80000000, 0x1000, PHYS_READ);
    assert_int_equal(b->drops, 0);
    phys_map_memory(b->p, 0x4000, 0x1000, b->ram + 5, PHYS_WRITE);
    assert_int_equal(b->drops, 1);
    assert_true(b->dropped[0] == PHYS_DROP_ALL);
    phys_set_a20(b->p, true);
    assert_int_equal(b->drops, 1);
    phys_set_a20(b->p, false);
    assert_int_equal(b->drops, 2);
}

static void a20_masks_the_cpu_and_not_dma(void **state)
{
    struct bench *b = *state;
    phys_map_memory(b->p, 0x100000, 0x1000, b->ram + 9, PHYS_READ | PHYS_WRITE);
    phys_set_a20(b->p, false);
    assert_false(phys_a20(b->p));
    write32(b->p, 0x100010, 7);
    assert_int_equal(read32(b->p, 0x10), 7);
    uint32_t v = 9;
    phys_dma_write(b->p, 0x100010, &v, 4);
    assert_int_equal(read32(b->p, 0x100010), 7);
    phys_set_a20(b->p, true);
    assert_int_equal(read32(b->p, 0x100010), 9);
}

/* Against a map kept as a plain array of pages. */
static void random_remaps_equal_a_page_array(void **state)
{
    struct bench *b = *state;
    enum { PAGES = 96 };
    uint32_t model[PAGES];
    for (unsigned i = 0; i < PAGES; i++)
        model[i] = i < MEM_FRAMES ? b->ram + i : UINT32_MAX;
    uint32_t seed = 12345;
    for (unsigned step = 0; step < 3000; step++) {
        seed = seed * 1664525 + 1013904223;
        unsigned first = (seed >> 8) % PAGES;
        unsigned count = (seed >> 16) % 12;
        if (first + count > PAGES)
            count = PAGES - first;
        unsigned kind = seed >> 28;
        unsigned target = kind < 8 ? first : (seed >> 20) % MEM_FRAMES;
        bool is_memory = kind < 12 && target + count <= MEM_FRAMES;
        if (is_memory)
            phys_map_memory(b->p, first * PAGE_BYTES, count * PAGE_BYTES,
                            b->ram + target, PHYS_READ);
        else
            phys_unmap(b->p, first * PAGE_BYTES, count * PAGE_BYTES, PHYS_READ);
        for (unsigned i = 0; i < count; i++)
            model[first + i] = is_memory ? b->ram + target + i : UINT32_MAX;
        for (unsigned i = 0; i < PAGES; i++) {
            struct phys_page page;
            phys_lookup(b->p, i * PAGE_BYTES, PHYS_READ, &page);
            assert_int_equal(page.host ? page.frame : UINT32_MAX, model[i]);
        }
    }
}

static void watchers_see_stores_with_the_old_bytes(void **state)
{
    struct bench *b = *state;
    phys_watch(b->p, FRAME_CODE, on_store, b);
    write32(b->p, 0x5010, 0xaabbccdd);
    assert_int_equal(b->watched, 0);
    phys_flag_set(b->p, b->ram + 5, FRAME_CODE);
    write32(b->p, 0x5010, 0x11223344);
    assert_int_equal(b->watched, 1);
    assert_int_equal(b->watch_offset, 0x10);
    assert_int_equal(b->watch_bytes, 4);
    assert_memory_equal(b->watch_old, "\xdd\xcc\xbb\xaa", 4);
    phys_dma_write(b->p, 0x4fff, "xyz", 3);
    assert_int_equal(b->watched, 2);
    assert_int_equal(b->watch_bytes, 2);
    phys_flag_clear(b->p, b->ram + 5, FRAME_CODE);
    write32(b->p, 0x5010, 1);
    assert_int_equal(b->watched, 2);
}

static void flagging_a_frame_takes_direct_writes_away(void **state)
{
    struct bench *b = *state;
    phys_flag_set(b->p, b->ram + 6, FRAME_TABLE);
    assert_int_equal(b->drops, 0);
    assert_false(phys_make_writable(b->p, b->ram + 6));
    phys_flag_clear(b->p, b->ram + 6, FRAME_TABLE);
    assert_true(phys_make_writable(b->p, b->ram + 6));
    assert_int_equal(phys_frame_flags(b->p, b->ram + 6),
                     FRAME_DIRTY | FRAME_TOUCHED);
    phys_flag_set(b->p, b->ram + 6, FRAME_CODE);
    assert_int_equal(b->drops, 1);
    assert_int_equal(b->dropped[0], b->ram + 6);
    phys_flag_set(b->p, b->ram + 6, FRAME_TABLE);
    assert_int_equal(b->drops, 1);
}

static void digest_drops_direct_writes_once(void **state)
{
    struct bench *b = *state;
    uint8_t d[16];
    assert_true(phys_make_writable(b->p, b->ram));
    assert_true(phys_make_writable(b->p, b->ram + 1));
    phys_digest(b->p, d);
    assert_int_equal(b->drops, 1);
    assert_true(b->dropped[0] == PHYS_DROP_WRITES);
    assert_int_equal(phys_frame_flags(b->p, b->ram), FRAME_TOUCHED);
    phys_digest(b->p, d);
    assert_int_equal(b->drops, 1);
}

/* The same contents written in one go into a fresh address space. */
static void digest_from_scratch(const struct phys *p, uint8_t out[16])
{
    struct phys *fresh = phys_new((MEM_FRAMES + 2) * PAGE_BYTES, NULL);
    phys_add_memory(fresh, "ram", MEM_FRAMES * PAGE_BYTES, false);
    phys_add_memory(fresh, "rom", 2 * PAGE_BYTES, true);
    for (uint32_t i = 0; i < phys_frames(fresh); i++)
        phys_frame_write(fresh, i, 0, phys_frame_host(p, i), PAGE_BYTES);
    phys_digest(fresh, out);
    phys_free(fresh);
}

static void incremental_digest_equals_digest_from_scratch(void **state)
{
    struct bench *b = *state;
    uint32_t seed = 99;
    uint8_t last[16] = {0};
    for (unsigned step = 0; step < 200; step++) {
        uint8_t now[16], scratch[16];
        for (unsigned i = 0; i < 5; i++) {
            seed = seed * 1664525 + 1013904223;
            uint32_t at = (seed >> 8) % (MEM_FRAMES * PAGE_BYTES - 4);
            write32(b->p, at, seed & 1 ? 0 : seed);
        }
        phys_digest(b->p, now);
        digest_from_scratch(b->p, scratch);
        assert_memory_equal(now, scratch, 16);
        assert_memory_not_equal(now, last, 16);
        memcpy(last, now, 16);
    }
}

static void zeroed_memory_equals_untouched_memory(void **state)
{
    struct bench *b = *state;
    uint8_t before[16], after[16];
    static const uint8_t zero[16];
    phys_digest(b->p, before);
    assert_memory_equal(before, zero, 16);
    write32(b->p, 0x2000, 5);
    phys_digest(b->p, after);
    assert_memory_not_equal(before, after, 16);
    write32(b->p, 0x2000, 0);
    phys_digest(b->p, after);
    assert_memory_equal(before, after, 16);
}

static void equal_contents_in_other_frames_differ(void **state)
{
    struct bench *b = *state;
    uint8_t one[16], two[16];
    write32(b->p, 0x2000, 5);
    phys_digest(b->p, one);
    write32(b->p, 0x2000, 0);
    write32(b->p, 0x3000, 5);
    phys_digest(b->p, two);
    assert_memory_not_equal(one, two, 16);
}

static void saved_memory_loads_with_an_equal_digest(void **state)
{
    struct bench *b = *state;
    uint8_t saved[16], loaded[16];
    struct writer w, again;
    struct reader r;
    struct error err;
    writer_init(&w);
    writer_init(&again);
    write32(b->p, 0x2000, 5);
    write32(b->p, 0x4ffe, 0x12345678);
    write32(b->p, 0x7000, 5);
    write32(b->p, 0x7000, 0);
    phys_frame_write(b->p, b->rom + 1, 0xff0, "reset", 5);
    phys_save(b->p, &w);
    assert_true(w.used < 5 * PAGE_BYTES);
    phys_digest(b->p, saved);
    write32(b->p, 0x9000, 77);
    write32(b->p, 0x2000, 78);
    phys_digest(b->p, loaded);
    assert_memory_not_equal(saved, loaded, 16);
    reader_init(&r, w.data, w.used);
    assert_true(phys_load(b->p, &r, &err));
    assert_true(reader_done(&r, "memory", &err));
    phys_digest(b->p, loaded);
    assert_memory_equal(saved, loaded, 16);
    assert_int_equal(read32(b->p, 0x9000), 0);
    assert_int_equal(phys_touched_bytes(b->p), 4 * PAGE_BYTES);
    phys_save(b->p, &again);
    assert_int_equal(again.used, w.used);
    assert_memory_equal(again.data, w.data, w.used);
    writer_fini(&w);
    writer_fini(&again);
}

static void loading_drops_translations_and_tells_the_code_watcher(void **state)
{
    struct bench *b = *state;
    struct writer w;
    struct reader r;
    writer_init(&w);
    phys_save(b->p, &w);
    write32(b->p, 0x5000, 0x90909090);
    phys_watch(b->p, FRAME_CODE, on_store, b);
    phys_flag_set(b->p, b->ram + 5, FRAME_CODE);
    reader_init(&r, w.data, w.used);
    assert_true(phys_load(b->p, &r, NULL));
    assert_true(b->drops >= 1 && b->dropped[0] == PHYS_DROP_ALL);
    assert_int_equal(b->watched, 1);
    writer_fini(&w);
}

static void hostile_saves_are_refused(void **state)
{
    struct bench *b = *state;
    struct writer w;
    writer_init(&w);
    for (uint32_t i = 0; i < 3; i++)
        write32(b->p, i * 0x1000, i + 1);
    phys_save(b->p, &w);
    struct error err;
    for (size_t cut = 0; cut < w.used; cut += 61) {
        struct reader r;
        reader_init(&r, w.data, cut);
        err.code = ERR_NONE;
        assert_false(phys_load(b->p, &r, &err));
        assert_int_not_equal(err.code, ERR_NONE);
    }
    for (size_t at = 0; at < w.used; at += 4 + PAGE_BYTES) {
        struct reader r;
        uint8_t keep = w.data[at];
        w.data[at] = 0xfe;
        reader_init(&r, w.data, w.used);
        assert_false(phys_load(b->p, &r, &err));
        w.data[at] = keep;
        if (at == 0)
            at = 4 - (4 + PAGE_BYTES);
    }
    writer_fini(&w);
}

static void reservation_is_lazy_and_bounded(void **state)
{
    (void)state;
    struct error err;
    struct phys *p = phys_new(64ULL << 30, &err);
    assert_non_null(p);
    uint32_t ram = phys_add_memory(p, "ram", 64ULL << 30, false);
    phys_frame_write(p, ram + 0xffffff, 0xfff, "x", 1);
    assert_int_equal(phys_touched_bytes(p), PAGE_BYTES);
    phys_free(p);
    assert_null(phys_new(0, &err));
    assert_int_equal(err.code, ERR_USAGE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void note_first_store(void *context, uint32_t frame)
{
    struct bench *b = context;
    uint8_t *page = phys_frame_host(b->p, frame);
    b->dropped[0] = frame * 256 + page[1];
}

static void changes_are_a_set_of_their_own(void **state)
{
    struct bench *b = *state;
    uint8_t digest[16];
    const uint32_t *list;
    uint32_t before = phys_changes(b->p, &list);
    phys_frame_write(b->p, b->ram + 6, 1, "a", 1);
    phys_frame_write(b->p, b->ram + 6, 2, "b", 1);
    assert_int_equal(phys_changes(b->p, &list), before + 1);
    assert_int_equal(list[before], b->ram + 6);
    phys_digest(b->p, digest);
    assert_int_equal(phys_changes(b->p, &list), before + 1);
    assert_true(phys_make_writable(b->p, b->ram + 6));
    unsigned drops = b->drops;
    phys_forget_changes(b->p);
    assert_int_equal(b->drops, drops + 1);
    assert_int_equal(phys_changes(b->p, &list), 0);
    /* Still dirty for the digest, yet told before its first store. */
    phys_on_first_store(b->p, note_first_store, b);
    phys_frame_write(b->p, b->ram + 6, 1, "c", 1);
    assert_int_equal(b->dropped[0], (b->ram + 6) * 256 + 'a');
    assert_int_equal(phys_changes(b->p, &list), 1);
    phys_on_first_store(b->p, NULL, NULL);
}

struct spied {
    unsigned stores, dmas;
    uint32_t frame, offset, bytes;
    uint8_t old, in;
    const struct phys *p;
};

static void on_spied(void *context, uint32_t frame, uint32_t offset,
                     uint32_t bytes, const void *in, bool is_dma)
{
    struct spied *s = context;
    s->stores++;
    s->dmas += is_dma;
    s->frame = frame;
    s->offset = offset;
    s->bytes = bytes;
    s->old = phys_frame_host(s->p, frame)[offset];
    s->in = *(const uint8_t *)in;
}

/* Also of stores that change nothing, and of whoever makes them. */
static void a_spy_hears_of_every_store_before_it_is_done(void **state)
{
    struct bench *b = *state;
    struct spied s = {.p = b->p};
    phys_spy(b->p, on_spied, &s);
    write32(b->p, 0x2010, 1);
    assert_int_equal(s.stores, 0);
    assert_true(phys_make_writable(b->p, b->ram + 2));
    phys_flag_set(b->p, b->ram + 2, FRAME_SPIED);
    assert_false(phys_make_writable(b->p, b->ram + 2));
    write32(b->p, 0x2010, 2);
    assert_int_equal(s.stores, 1);
    assert_int_equal(s.frame, b->ram + 2);
    assert_int_equal(s.offset, 0x10);
    assert_int_equal(s.old, 1);
    assert_int_equal(s.in, 2);
    write32(b->p, 0x2010, 2);
    assert_int_equal(s.stores, 2);
    assert_int_equal(s.dmas, 0);
    phys_dma_write(b->p, 0x1ffe, "abcd", 4);
    assert_int_equal(s.stores, 3);
    assert_int_equal(s.dmas, 1);
    assert_int_equal(s.bytes, 2);
    assert_int_equal(s.in, 'c');
    write32(b->p, 0x2010, 3);
    assert_int_equal(s.dmas, 1);
    phys_flag_clear(b->p, b->ram + 2, FRAME_SPIED);
    write32(b->p, 0x2010, 4);
    assert_int_equal(s.stores, 4);
    assert_true(phys_make_writable(b->p, b->ram + 2));
}

struct mmio_spied {
    unsigned reads, writes;
    uint64_t paddr, value;
    unsigned bytes;
};

static void on_mmio_spied(void *context, uint64_t paddr, unsigned bytes,
                          bool is_write, uint64_t value)
{
    struct mmio_spied *s = context;
    s->reads += !is_write;
    s->writes += is_write;
    s->paddr = paddr;
    s->bytes = bytes;
    s->value = value;
}

static void a_spy_hears_of_device_memory(void **state)
{
    struct bench *b = *state;
    struct mmio_spied s = {0};
    phys_map_mmio(b->p, 0xe0000000, 0x2000, &device_ops, b, 0x100000,
                  PHYS_READ | PHYS_WRITE);
    phys_spy_mmio(b->p, on_mmio_spied, &s);
    write32(b->p, 0xe0000008, 0x1234);
    assert_int_equal(s.writes, 1);
    assert_int_equal(s.paddr, 0xe0000008);
    assert_int_equal(s.bytes, 4);
    assert_int_equal(s.value, 0x1234);
    uint32_t v = read32(b->p, 0xe0000004);
    assert_int_equal(s.reads, 1);
    assert_int_equal(s.paddr, 0xe0000004);
    assert_int_equal((uint32_t)s.value, v);
    write32(b->p, 0x1000, 1);
    phys_dma_write(b->p, 0xe0000000, &v, 4);
    assert_int_equal(s.writes, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_reads_all_ones_and_swallows_stores),
        CASE(ram_crosses_pages),
        CASE(rom_ignores_guest_stores_but_not_its_owner),
        CASE(mmio_splits_into_aligned_pieces),
        CASE(reads_and_writes_map_apart),
        CASE(remapping_drops_only_when_it_changes_something),
        CASE(a20_masks_the_cpu_and_not_dma),
        CASE(random_remaps_equal_a_page_array),
        CASE(watchers_see_stores_with_the_old_bytes),
        CASE(a_spy_hears_of_every_store_before_it_is_done),
        CASE(a_spy_hears_of_device_memory),
        CASE(flagging_a_frame_takes_direct_writes_away),
        CASE(digest_drops_direct_writes_once),
        CASE(changes_are_a_set_of_their_own),
        CASE(incremental_digest_equals_digest_from_scratch),
        CASE(zeroed_memory_equals_untouched_memory),
        CASE(equal_contents_in_other_frames_differ),
        CASE(saved_memory_loads_with_an_equal_digest),
        CASE(loading_drops_translations_and_tells_the_code_watcher),
        CASE(hostile_saves_are_refused),
        CASE(reservation_is_lazy_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
