/* Snapshots: a machine's memory and disk layers come back from their pages. */
#include "dev/block.h"
#include "lib_session.h"
#include "mem/phys.h"
#include "replay/place.h"
#include "replay/snapshotter.h"
#include "replay/thin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { DISK_BYTES = 8 << 20 };

static struct machine *new_machine(void)
{
    static uint8_t bios[65536];
    struct machine_config config;
    struct error err = {0};
    machine_config_init(&config);
    config.mem_bytes = 4 << 20;
    const struct machine_media media = {
        .disk = {session_disk(DISK_BYTES)},
        .bios = {.data = bios, .bytes = sizeof bios}};
    struct machine *m = machine_new(&config, &media, &err);
    assert_non_null(m);
    return m;
}

/* Memory and disk contents that depend on the seed. */
static void scribble(struct machine *m, uint8_t seed)
{
    uint8_t bytes[BLOCK_SECTOR_BYTES];
    for (unsigned i = 0; i < 300; i++) {
        memset(bytes, seed + (int)i, sizeof bytes);
        phys_write(machine_phys(m), 0x1000 + (uint64_t)i * seed * 64, bytes,
                   sizeof bytes);
        block_write(machine_block(m, 0), (uint64_t)i * seed % 16000, 1, bytes);
    }
}

static struct store *taken(struct machine *m, uint32_t events)
{
    struct store *s;
    struct error err = {0};
    assert_true(store_create(session_path, 0, &s, &err));
    assert_true(snapshot_take(s, m, events, &err));
    store_close(s);
    assert_true(store_open(session_path, &s, &err));
    return s;
}

static void memory_and_disk_layers_come_back(void **state)
{
    (void)state;
    struct error err = {0};
    struct place place;
    struct machine *a = new_machine(), *b = new_machine();
    scribble(a, 3);
    struct store *s = taken(a, 7);
    scribble(b, 5); /* what the snapshot does not name must vanish */
    struct place_keeper *k = place_keeper_new(s, b, &err);
    assert_int_equal(place_find(k, UINT64_MAX, false, &place, &err),
                     STORE_FOUND);
    assert_int_equal(place.events_before, 7);
    assert_true(place_load(k, &place, &err));
    struct digest x = machine_digest(a), y = machine_digest(b);
    assert_memory_equal(&x, &y, sizeof x);
    place_fini(&place);
    place_keeper_free(k);
    store_close(s);
    machine_free(a);
    machine_free(b);
}

static void the_first_different_page_is_named(void **state)
{
    (void)state;
    struct place place;
    struct error err = {0};
    char text[100] = "";
    uint8_t sector[BLOCK_SECTOR_BYTES] = {1};
    struct machine *m = new_machine(), *n = new_machine();
    scribble(m, 3);
    scribble(n, 3);
    struct store *s = taken(m, 0);
    struct place_keeper *k = place_keeper_new(s, n, &err);
    assert_int_equal(place_find(k, 0, true, &place, &err), STORE_FOUND);
    assert_false(place_differs(k, &place, text, sizeof text));
    block_write(machine_block(n, 0), 8 * 2000, 1, sector);
    assert_true(place_differs(k, &place, text, sizeof text));
    assert_string_equal(text, "drive 0 block 2000");
    phys_write(machine_phys(n), 0x5678, "x", 1);
    assert_true(place_differs(k, &place, text, sizeof text));
    assert_string_equal(text, "memory frame 5");
    place_fini(&place);
    place_keeper_free(k);
    store_close(s);
    machine_free(m);
    machine_free(n);
}

/* Any order, with changes that nobody kept in between. */
static void places_come_back_in_any_order(void **state)
{
    (void)state;
    enum { PLACES = 6 };
    struct error err = {0};
    struct place place[PLACES];
    struct digest want[PLACES];
    struct machine *m = new_machine();
    struct store *s = taken(m, 0);
    machine_free(m);
    m = new_machine();
    struct place_keeper *k = place_keeper_new(s, m, &err);
    for (unsigned i = 0; i < PLACES; i++) {
        scribble(m, (uint8_t)(2 * i + 1));
        assert_true(place_keep(k, i, &place[i], &err));
        want[i] = machine_digest(m);
    }
    for (unsigned i = 0; i < 20; i++) {
        unsigned n = i * 7 % PLACES;
        assert_true(place_load(k, &place[n], &err));
        struct digest now = machine_digest(m);
        assert_memory_equal(&now, &want[n], sizeof now);
        if (i % 3 == 0)
            scribble(m, (uint8_t)(i + 50));
    }
    for (unsigned i = 0; i < PLACES; i++)
        place_fini(&place[i]);
    place_keeper_free(k);
    store_close(s);
    machine_free(m);
}

static void a_snapshot_before_the_first_is_not_found(void **state)
{
    (void)state;
    struct error err = {0};
    struct snapshot none;
    uint64_t floor;
    struct machine *m = new_machine();
    (void)machine_run(m, 1000);
    struct store *s = taken(m, 0);
    assert_int_equal(snapshot_find(s, 999, false, &none, &err), STORE_NONE);
    assert_int_equal(snapshot_find(s, 1001, true, &none, &err), STORE_NONE);
    assert_int_equal(snapshot_floor(s, 5000, &floor, &err), STORE_FOUND);
    assert_int_equal(floor, 1000);
    store_close(s);
    machine_free(m);
}

static struct snapshot made(uint64_t tick, uint64_t base, uint8_t *entries,
                            uint32_t count, bool whole)
{
    static uint8_t devices[4] = "dev";
    struct snapshot s = {.tick = tick,
                         .base = base,
                         .devices = devices,
                         .devices_bytes = sizeof devices};
    s.list[0] = (struct snapshot_list){base == SNAPSHOT_WHOLE, count, entries};
    s.list[1].whole = s.list[2].whole = base == SNAPSHOT_WHOLE;
    s.list[3] = (struct snapshot_list){whole, count, entries};
    return s;
}

static void count_drops(void *context, const uint8_t hash[PAGE_HASH_BYTES])
{
    unsigned *sum = context;
    *sum += hash[0];
}

static void merging_keeps_the_newer_of_two_entries(void **state)
{
    (void)state;
    uint8_t old[2 * SNAPSHOT_ENTRY_BYTES] = {1},
                    new[] = {[0] = 2,
                             [4] = 30,
                             [SNAPSHOT_ENTRY_BYTES] = 9,
                             [SNAPSHOT_ENTRY_BYTES + 4] = 40,
                             [2 * SNAPSHOT_ENTRY_BYTES - 1] = 1};
    old[4] = 10;
    old[SNAPSHOT_ENTRY_BYTES] = 2;
    old[SNAPSHOT_ENTRY_BYTES + 4] = 20;
    struct snapshot older = made(5, 3, old, 2, false);
    struct snapshot newer = made(8, 5, new, 2, true), merged;
    struct error err = {0};
    unsigned dropped = 0;
    assert_true(
        snapshot_merge(&older, &newer, &merged, count_drops, &dropped, &err));
    assert_int_equal(merged.tick, 8);
    assert_int_equal(merged.base, 3);
    assert_int_equal(merged.list[0].count, 3);
    assert_int_equal(merged.list[0].entries[4], 10);
    assert_int_equal(merged.list[0].entries[SNAPSHOT_ENTRY_BYTES + 4], 30);
    assert_int_equal(merged.list[3].count, 2);
    assert_true(merged.list[3].whole);
    assert_int_equal(dropped, 20 + 10 + 20);
    snapshot_fini(&merged);
}

static void hostile_records_are_refused(void **state)
{
    (void)state;
    uint8_t entries[2 * SNAPSHOT_ENTRY_BYTES] = {1, [SNAPSHOT_ENTRY_BYTES] = 2};
    struct snapshot good = made(8, 5, entries, 2, false), out;
    struct writer value;
    struct error err = {0};
    uint8_t key[8] = {0, 0, 0, 0, 0, 0, 0, 8};
    const struct store_bytes k = {key, 8};
    writer_init(&value);
    assert_true(snapshot_pack(&good, &value, &err));
    struct store_bytes v = {value.data, value.used};
    assert_true(snapshot_unpack(&k, &v, &out, "x", &err));
    snapshot_fini(&out);
    for (v.bytes = 0; v.bytes < value.used; v.bytes++)
        assert_false(snapshot_unpack(&k, &v, &out, "x", &err));
    key[7] = 9;
    v.bytes = value.used;
    assert_false(snapshot_unpack(&k, &v, &out, "x", &err));
    writer_fini(&value);
    key[7] = 8;
    for (unsigned i = 0; i < 2; i++) {
        struct snapshot bad = good;
        if (i == 0)
            bad.base = 8;
        else
            entries[SNAPSHOT_ENTRY_BYTES] = 1; /* the same number twice */
        writer_init(&value);
        assert_true(snapshot_pack(&bad, &value, &err));
        v = (struct store_bytes){value.data, value.used};
        assert_false(snapshot_unpack(&k, &v, &out, "x", &err));
        writer_fini(&value);
    }
}

static void thinning_leaves_gaps_that_grow_with_age(void **state)
{
    (void)state;
    struct thin t;
    uint64_t tick, next;
    thin_init(&t);
    for (uint64_t i = 0; i <= 1000; i++) {
        assert_true(thin_put(&t, i * 10, 5));
        while (t.count > 20 && thin_choose(&t, UINT64_MAX, &tick, &next))
            thin_remove(&t, tick);
    }
    assert_int_equal(t.bytes, 100);
    assert_int_equal(t.entries[0].tick, 0);
    assert_int_equal(thin_last(&t), 10000);
    uint64_t young = t.entries[19].tick - t.entries[17].tick;
    uint64_t old = t.entries[3].tick - t.entries[1].tick;
    assert_true(young <= 60);
    assert_true(old >= 500);
    thin_fini(&t);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, session_dir_make, session_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(memory_and_disk_layers_come_back),
        TEST(the_first_different_page_is_named),
        TEST(places_come_back_in_any_order),
        TEST(merging_keeps_the_newer_of_two_entries),
        TEST(hostile_records_are_refused),
        TEST(thinning_leaves_gaps_that_grow_with_age),
        TEST(a_snapshot_before_the_first_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
