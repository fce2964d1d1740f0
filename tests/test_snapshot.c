/* Snapshots: a machine's memory and disk layers come back from their pages. */
#include "dev/block.h"
#include "mem/phys.h"
#include "replay/snapshot.h"

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
static char dir[64], path[80];

static bool read_zeros(void *context, uint64_t offset, void *out, size_t bytes,
                       struct error *err)
{
    (void)context, (void)offset, (void)err;
    memset(out, 0, bytes);
    return true;
}

static void close_nothing(void *context)
{
    (void)context;
}

static struct machine *new_machine(void)
{
    static uint8_t bios[65536];
    struct machine_config config;
    struct error err = {0};
    const struct block_base base = {
        .bytes = DISK_BYTES, .read = read_zeros, .close = close_nothing};
    machine_config_init(&config);
    config.mem_bytes = 4 << 20;
    const struct machine_media media = {
        .disk = {block_new("disk", &base, false, &err)},
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

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/relive-snapshot-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/s", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    char name[128];
    static const char *const files[] = {"s/data.mdb", "s/lock.mdb", "s", ""};
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(name, sizeof name, "%s/%s", dir, files[i]);
        (void)remove(name);
    }
    return 0;
}

static void take(struct machine *m, struct snapshot *snap, struct store **out)
{
    struct store *s;
    struct error err = {0};
    assert_true(store_create(path, 0, &s, &err));
    assert_true(snapshot_take(s, m, 7, &err));
    store_close(s);
    assert_true(store_open(path, &s, &err));
    assert_int_equal(snapshot_find(s, UINT64_MAX, false, snap, &err),
                     STORE_FOUND);
    *out = s;
}

static void memory_and_disk_layers_come_back(void **state)
{
    (void)state;
    struct error err = {0};
    struct snapshot snap;
    struct store *s;
    struct machine *a = new_machine(), *b = new_machine();
    scribble(a, 3);
    take(a, &snap, &s);
    assert_int_equal(snap.events_before, 7);
    scribble(b, 5); /* what the snapshot does not name must vanish */
    assert_true(snapshot_load(s, &snap, b, &err));
    struct digest x = machine_digest(a), y = machine_digest(b);
    assert_memory_equal(&x, &y, sizeof x);
    snapshot_fini(&snap);
    store_close(s);
    machine_free(a);
    machine_free(b);
}

static void the_first_different_frame_is_named(void **state)
{
    (void)state;
    struct snapshot snap;
    struct store *s;
    char text[100] = "";
    struct machine *m = new_machine();
    scribble(m, 3);
    take(m, &snap, &s);
    assert_false(snapshot_first_difference(s, &snap, m, text, sizeof text));
    phys_write(machine_phys(m), 0x5678, "x", 1);
    assert_true(snapshot_first_difference(s, &snap, m, text, sizeof text));
    assert_string_equal(text, "memory frame 5");
    snapshot_fini(&snap);
    store_close(s);
    machine_free(m);
}

static void a_snapshot_before_the_first_is_not_found(void **state)
{
    (void)state;
    struct error err = {0};
    struct snapshot snap, none;
    struct store *s;
    struct machine *m = new_machine();
    (void)machine_run(m, 1000);
    take(m, &snap, &s);
    assert_int_equal(snapshot_find(s, 999, false, &none, &err), STORE_NONE);
    assert_int_equal(snapshot_find(s, 1001, true, &none, &err), STORE_NONE);
    snapshot_fini(&snap);
    store_close(s);
    machine_free(m);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(memory_and_disk_layers_come_back),
        TEST(the_first_different_frame_is_named),
        TEST(a_snapshot_before_the_first_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
