/* --stats, --hud and --slow-frame on real runs, from outside: the JSON has the
 * shape of analysis/telemetry.schema.json, the panel is over the picture. */
#include "base/bytes.h"
#include "lib_program.h"

#include <jansson.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define GUEST                                                              \
    "--disk $G/disk_text.bin --mem 32M --rtc 2026-01-31T12:00:00 --until " \
    "2s --input in.txt "

static json_t *schema;

static int set_up(void **state)
{
    schema = json_load_file("analysis/telemetry.schema.json", 0, NULL);
    if (!schema || lab_open(state) != 0)
        return -1;
    lab_write("in.txt", "at 1500ms screenshot live.png\n");
    return 0;
}

static int tear_down(void **state)
{
    json_decref(schema);
    return lab_close(state);
}

/* ---- JSON Schema, as far as the file uses it --------------------------------
 */

static bool has_type(const json_t *value, const char *type)
{
    return (strcmp(type, "object") == 0 && json_is_object(value)) ||
           (strcmp(type, "array") == 0 && json_is_array(value)) ||
           (strcmp(type, "string") == 0 && json_is_string(value)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(value)) ||
           (strcmp(type, "integer") == 0 && json_is_integer(value)) ||
           (strcmp(type, "number") == 0 && json_is_number(value));
}

static bool is_valid(const json_t *value, const json_t *rule);

static bool has_members(json_t *value, const json_t *rule)
{
    const char *name;
    json_t *member;
    size_t n;
    const json_t *known = json_object_get(rule, "properties");
    bool is_open = !json_is_false(json_object_get(rule, "additionalProperties"));
    json_array_foreach(json_object_get(rule, "required"), n, member)
        if (!json_object_get(value, json_string_value(member)))
            return false;
    json_object_foreach(value, name, member) {
        const json_t *its = json_object_get(known, name);
        if (its ? !is_valid(member, its) : !is_open)
            return false;
    }
    return true;
}

static bool is_valid(const json_t *value, const json_t *rule)
{
    const char *type = json_string_value(json_object_get(rule, "type"));
    const json_t *least = json_object_get(rule, "minimum");
    size_t n;
    json_t *item;
    if (!type || !has_type(value, type))
        return false;
    if (least && json_number_value(value) < json_number_value(least))
        return false;
    if (json_is_object(value))
        return has_members((json_t *)value, rule);
    json_array_foreach(value, n, item)
        if (!is_valid(item, json_object_get(rule, "items")))
            return false;
    return true;
}

/* The validator refuses what the schema does: each member taken away, and one
 * too many. */
static void refuses_what_is_wrong(json_t *o)
{
    const char *name;
    json_t *member;
    json_t *sound = json_deep_copy(o);
    json_object_foreach(sound, name, member) {
        json_t *other = json_deep_copy(o);
        (void)json_object_del(other, name);
        assert_false(is_valid(other, schema));
        (void)json_object_set_new(other, name, json_string("text"));
        assert_false(is_valid(other, schema));
        json_decref(other);
    }
    (void)json_object_set_new(sound, "more", json_integer(1));
    assert_false(is_valid(sound, schema));
    json_decref(sound);
}

static void check_file(const char *path)
{
    json_error_t why;
    json_t *o = json_load_file(path, 0, &why);
    if (!o || !is_valid(o, schema))
        fail_msg("%s is not of the schema %s", path, o ? "" : why.text);
    const json_t *frames = json_object_get(o, "frames");
    assert_true(json_integer_value(json_object_get(frames, "count")) >= 1);
    assert_true(json_number_value(json_object_get(frames, "avg_fps")) > 0);
    refuses_what_is_wrong(o);
    json_decref(o);
}

static double device_ms(const char *path)
{
    json_t *o = json_load_file(path, 0, NULL);
    double ms = json_number_value(
        json_object_get(json_object_get(o, "io"), "device_ms"));
    json_decref(o);
    return ms;
}

static void stats_have_the_shape_of_the_schema(void **state)
{
    struct lab *lab = *state;
    lab_run(lab, "$R run " GUEST "--stats run.json");
    lab_assert_status(lab, 0);
    lab_run(lab, "$R record -o s " GUEST "--stats record.json");
    lab_assert_status(lab, 0);
    lab_run(lab, "$R replay s --stats replay.json");
    lab_assert_status(lab, 0);
    lab_run(lab, "$R replay s --engine interp --stats interp.json");
    lab_assert_status(lab, 0);
    check_file("run.json");
    assert_true(device_ms("run.json") == 0); /* not asked for: it costs */
    check_file("record.json");
    check_file("replay.json");
    check_file("interp.json");
}

/* ---- figures that are known beforehand ---------------------------------------
 */

enum {
    PASSES_AT = 0xffe0, /* words of tests/guests/counts.S */
    PAIRS_AT = 0xffe4,
    IMAGE_BYTES = 0x10000,
    STREAM_BYTES = 32 << 20 /* of one pass */
};

struct counted {
    double slow, ops;      /* mmu.translate_slow_calls, guest_mem_ops */
    json_int_t exits, answered; /* of devices' memory */
};

static struct counted count(struct lab *lab, unsigned passes, unsigned pairs,
                            const char *options)
{
    struct counted c;
    char path[sizeof lab->guests + 32];
    static uint8_t image[IMAGE_BYTES];
    (void)snprintf(path, sizeof path, "%s/counts.bin", lab->guests);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(image, 1, sizeof image, f), sizeof image);
    (void)fclose(f);
    store_le32(image + PASSES_AT, passes);
    store_le32(image + PAIRS_AT, pairs);
    lab_write_bytes("counts", image, sizeof image);
    lab_run(lab, "$R run --bios counts --vgabios none --mem 64M --stats c.json "
                 "--stats-memory %s",
            options);
    lab_assert_status(lab, 33);
    json_t *o = json_load_file("c.json", 0, NULL);
    const json_t *mmu = json_object_get(o, "mmu");
    const json_t *io = json_object_get(o, "io");
    const json_t *jit =
        json_object_get(json_object_get(o, "jit"), "totals");
    c.slow = json_number_value(json_object_get(mmu, "translate_slow_calls"));
    c.ops = json_number_value(json_object_get(mmu, "guest_mem_ops"));
    c.exits = json_integer_value(json_object_get(jit, "exit_mmio_calls"));
    c.answered = json_integer_value(json_object_get(io, "mmio_reads")) +
                 json_integer_value(json_object_get(io, "mmio_writes"));
    json_decref(o);
    return c;
}

static const char *const compiling[] = {"--engine tier1", "--engine tier2",
                                        "--engine auto",
                                        "--engine auto --jit-wait"};
enum { COMPILING = sizeof compiling / sizeof *compiling };

/* A stream that the TLB cannot hold calls for a translation once a page: of its
 * accesses of 4 bytes, every 1024th. */
static void a_stream_is_translated_once_a_page(void **state)
{
    struct lab *lab = *state;
    for (unsigned i = 0; i < COMPILING; i++) {
        struct counted one = count(lab, 1, 1, compiling[i]);
        struct counted three = count(lab, 3, 1, compiling[i]);
        double ops = three.ops - one.ops, slow = three.slow - one.slow;
        assert_true(ops > 1.98 * STREAM_BYTES / 4);
        assert_true(ops < 2.02 * STREAM_BYTES / 4);
        double times = slow / ops / (4.0 / 4096);
        if (times < 0.9 || times > 1.5)
            fail_msg("%s: %.2f slow translations a page", compiling[i], times);
        /* And no device was asked for anything. */
        assert_int_equal(three.exits, one.exits);
        assert_int_equal(three.answered, one.answered);
    }
}

/* Compiled code calls out for every access that a device answers, and for no
 * other. Tier 0 does the first executions, and what the end of a slice of guest
 * time, one a millisecond, cuts off a block. */
static void mmio_exits_are_what_devices_answer(void **state)
{
    struct lab *lab = *state;
    for (unsigned i = 0; i < COMPILING; i++) {
        struct counted few = count(lab, 0, 5000, compiling[i]);
        struct counted many = count(lab, 0, 65000, compiling[i]);
        assert_int_equal(many.answered - few.answered, 2 * 60000);
        if (many.exits < many.answered - 50 || many.exits > many.answered)
            fail_msg("%s: %lld exits for %lld accesses", compiling[i],
                     (long long)many.exits, (long long)many.answered);
        assert_in_range(few.exits, few.answered - 50, few.answered);
    }
    struct counted none = count(lab, 1, 1000, "--engine interp");
    assert_int_equal(none.exits, 0);
    assert_true(none.answered >= 2000);
}

/* ---- the panel ---------------------------------------------------------------
 */

/* Dots in the panel's colour. */
static unsigned ink(const char *path)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    unsigned n = 0;
    assert_true(png_image_begin_read_from_file(&image, path));
    image.format = PNG_FORMAT_RGB;
    uint8_t *rgb = malloc(PNG_IMAGE_SIZE(image));
    assert_non_null(rgb);
    assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
    for (size_t i = 0; i < (size_t)image.width * image.height; i++)
        n += memcmp(rgb + 3 * i, "\x7d\xff\x9b", 3) == 0;
    free(rgb);
    return n;
}

static void the_panel_is_over_pictures_only(void **state)
{
    struct lab *lab = *state;
    char plain[64], hud[64];
    lab_run(lab, "rm -rf s; $R record -o s " GUEST);
    lab_assert_status(lab, 0);
    lab_state(lab, plain);
    assert_int_equal(ink("live.png"), 0);
    lab_run(lab, "rm -rf s; $R record -o s --hud " GUEST);
    lab_assert_status(lab, 0);
    lab_state(lab, hud);
    assert_string_equal(plain, hud); /* the guest saw nothing of it */
    assert_true(ink("live.png") > 1000);
    lab_run(lab, "$R replay s --hud --screenshot replay.png && "
                 "$R screenshot s --at 1500ms -o plain.png && "
                 "$R screenshot s --at 1500ms --hud -o at.png && "
                 "$R export s --at 1500ms --format png --hud -o export.png");
    lab_assert_status(lab, 0);
    assert_true(ink("replay.png") > 1000);
    assert_int_equal(ink("plain.png"), 0);
    assert_true(ink("at.png") > 1000);
    assert_true(ink("export.png") > 1000);
    lab_run(lab, "$R export s --format rawmem --hud -o x.bin");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
}

static void slow_frames_are_told(void **state)
{
    struct lab *lab = *state;
    lab_run(lab, "$R run --slow-frame 1 --stats slow.json " GUEST);
    assert_true(device_ms("slow.json") > 0);
    lab_assert_text(lab, "relive: slow frame at tick ");
    lab_assert_text(lab, "ms (CPU ");
    lab_assert_text(lab, "%, devices ");
    lab_run(lab, "$R run --slow-frame 3600000 " GUEST);
    lab_assert_no_text(lab, "slow frame");
    lab_run(lab, "$R run --slow-frame 1 --log log.txt " GUEST);
    lab_assert_no_text(lab, "slow frame");
    lab_run(lab, "cat log.txt");
    lab_assert_text(lab, "slow frame at tick ");
    lab_run(lab, "$R run --slow-frame 0 " GUEST);
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
    lab_run(lab, "$R replay s --jobs 2 --hud");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stats_have_the_shape_of_the_schema),
        cmocka_unit_test(a_stream_is_translated_once_a_page),
        cmocka_unit_test(mmio_exits_are_what_devices_answer),
        cmocka_unit_test(the_panel_is_over_pictures_only),
        cmocka_unit_test(slow_frames_are_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
