/* The machine configuration as JSON, and events as text. */
#include "board/config.h"
#include "board/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void defaults_can_be_built(void **state)
{
    (void)state;
    struct machine_config c;
    machine_config_init(&c);
    assert_true(machine_config_check(&c, NULL));
}

static void json_keeps_every_field(void **state)
{
    (void)state;
    struct machine_config a, b;
    struct error err = {0};
    machine_config_init(&a);
    a.mem_bytes = UINT64_C(8) << 30;
    a.cpu_mhz = 2400;
    strcpy(a.disk[0], "/tmp/win7.img");
    strcpy(a.disk[2], "second \"quoted\"\\.img");
    strcpy(a.cdrom, "cd.iso");
    strcpy(a.floppy, "f.img");
    a.boot = 'd';
    strcpy(a.bios, "b");
    strcpy(a.vgabios, "v");
    strcpy(a.kernel, "k");
    strcpy(a.initrd, "i");
    strcpy(a.append, "console=ttyS0 \xc3\xa4");
    a.rtc_seconds = 1234567890;
    a.rtc_fixed = true;
    a.testdev = true;
    memset(a.cpu, 0, sizeof a.cpu);
    strcpy(a.cpu, "other");
    a.engine.kind = ENGINE_TIER1;
    a.engine.wait = WAIT_YES;
    for (unsigned i = 0; i < ENGINE_LIMITS; i++)
        *engine_limit_in(&a.engine, &engine_limits[i]) =
            engine_limits[i].most - i;
    char *text = machine_config_to_json(&a, CONFIG_ALL);
    assert_non_null(text);
    machine_config_init(&b);
    assert_true(machine_config_from_json(&b, text, "test", &err));
    char *again = machine_config_to_json(&b, CONFIG_ALL);
    assert_string_equal(text, again);
    assert_memory_equal(&a, &b, sizeof a);
    free(text);
    free(again);
}

/* What decides the guest's state, and what does not, come apart and together. */
static void engine_keys_stand_apart(void **state)
{
    (void)state;
    struct machine_config a, b;
    struct error err = {0};
    machine_config_init(&a);
    char *none = machine_config_to_json(&a, CONFIG_ENGINE);
    assert_string_equal(none, "{}");
    a.engine.kind = ENGINE_TIER2;
    engine_config_complete(&a.engine);
    char *machine = machine_config_to_json(&a, CONFIG_MACHINE);
    char *engine = machine_config_to_json(&a, CONFIG_ENGINE);
    assert_null(strstr(machine, "jit_"));
    assert_null(strstr(machine, "engine"));
    assert_null(strstr(engine, "mem_bytes"));
    assert_non_null(strstr(engine, "\"engine\": \"tier2\""));
    assert_non_null(strstr(engine, "\"jit_wait\": false"));
    machine_config_init(&b);
    assert_true(machine_config_from_json(&b, machine, "test", &err));
    assert_int_equal(b.engine.kind, ENGINE_UNSET);
    assert_true(machine_config_from_json(&b, engine, "test", &err));
    assert_memory_equal(&a, &b, sizeof a);
    free(none);
    free(machine);
    free(engine);
}

static void given_limits_win_over_others(void **state)
{
    (void)state;
    struct engine_config c = {.kind = ENGINE_INTERP, .trace_max = 7};
    const struct engine_config recorded = {.kind = ENGINE_TIER1,
                                           .wait = WAIT_YES,
                                           .trace_max = 8,
                                           .unroll_max = 9};
    engine_config_merge(&c, &recorded);
    engine_config_complete(&c);
    assert_int_equal(c.kind, ENGINE_INTERP);
    assert_int_equal(c.wait, WAIT_YES);
    assert_int_equal(c.trace_max, 7);
    assert_int_equal(c.unroll_max, 9);
    assert_int_equal(c.tier1_threshold, 10);
}

static void absent_keys_keep_their_values(void **state)
{
    (void)state;
    struct machine_config c;
    machine_config_init(&c);
    c.cpu_mhz = 77;
    assert_true(machine_config_from_json(&c, "{\"kernel\": \"k\"}", "t", NULL));
    assert_int_equal(c.cpu_mhz, 77);
    assert_string_equal(c.kernel, "k");
}

static void bad_json_is_refused_whole_and_by_name(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"{\"kernel\": \"k\", \"memory\": 1}", "memory"},
        {"{\"kernel\": 3}", "kernel"},
        {"{\"cpu_mhz\": -1}", "cpu_mhz"},
        {"{\"cpu_mhz\": 4294967296}", "cpu_mhz"},
        {"{\"boot\": \"cd\"}", "boot"},
        {"{\"disk\": [\"a\",\"b\",\"c\",\"d\"]}", "disk"},
        {"{\"disk\": [1]}", "disk"},
        {"{\"cpu\": \"01234567890123456789012345678901\"}", "cpu"},
        {"{\"testdev\": 1}", "testdev"},
        {"{\"engine\": \"kvm\"}", "engine: expected auto"},
        {"{\"engine\": 1}", "engine"},
        {"{\"jit_wait\": 1}", "jit_wait"},
        {"{\"jit_trace\": 5001}", "jit_trace: expected a number from 1 to 5000"},
        {"{\"jit_trace\": 0}", "jit_trace"},
        {"{\"jit_cache\": 1048575}", "jit_cache"},
        {"{\"jit_cache\": \"1M\"}", "jit_cache"},
        {"{\"jit_traces\": 1}", "unknown key"},
        {"[]", "object"},
        {"{", "line 1"},
        {"", "line"},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct machine_config c, before;
        struct error err = {0};
        machine_config_init(&c);
        before = c;
        assert_false(machine_config_from_json(&c, bad[i][0], "t.json", &err));
        assert_non_null(strstr(err.text, bad[i][1]));
        assert_non_null(strstr(err.text, "t.json"));
        assert_memory_equal(&c, &before, sizeof c);
    }
}

static void what_cannot_be_built_is_refused(void **state)
{
    (void)state;
    struct machine_config c;
    struct error err;
    machine_config_init(&c);
    c.mem_bytes = 12345;
    assert_false(machine_config_check(&c, &err));
    machine_config_init(&c);
    c.cpu_mhz = 0;
    assert_false(machine_config_check(&c, &err));
    machine_config_init(&c);
    c.boot = 'x';
    assert_false(machine_config_check(&c, &err));
    machine_config_init(&c);
    strcpy(c.initrd, "i");
    assert_false(machine_config_check(&c, &err));
}

static void events_describe_themselves_on_one_line(void **state)
{
    (void)state;
    char text[200];
    struct event e = {.type = EVENT_TYPE_SERIAL, .bytes = 4};
    memcpy(e.payload, "l\n\"\x01", 4);
    event_describe(&e, text, sizeof text);
    assert_string_equal(text, "serial \"l\\n\\\"\\x01\"");
    e = (struct event){.type = EVENT_TYPE_MOUSE, .bytes = 6};
    memcpy(e.payload, "\x0a\x00\xfd\xff\x00\x01", 6);
    event_describe(&e, text, sizeof text);
    assert_string_equal(text, "mouse move 10 -3 wheel 0 buttons 1");
    e = (struct event){.type = EVENT_TYPE_MEDIA, .bytes = 1};
    event_describe(&e, text, sizeof text);
    assert_string_equal(text, "media cdrom eject");
}

static void malformed_events_are_told_apart(void **state)
{
    (void)state;
    char text[64];
    for (unsigned type = 0; type < 256; type++)
        for (unsigned bytes = 0; bytes <= EVENT_PAYLOAD_MAX; bytes += 37) {
            struct event e = {.type = (enum event_type)type,
                              .bytes = (uint16_t)bytes};
            event_describe(&e, text, sizeof text);
            assert_true(strlen(text) > 0);
        }
    struct event key = {.type = EVENT_TYPE_KEY, .bytes = 2};
    assert_false(event_payload_ok(&key));
    assert_null(event_type_name(EVENT_TYPE_COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_can_be_built),
        cmocka_unit_test(json_keeps_every_field),
        cmocka_unit_test(engine_keys_stand_apart),
        cmocka_unit_test(given_limits_win_over_others),
        cmocka_unit_test(absent_keys_keep_their_values),
        cmocka_unit_test(bad_json_is_refused_whole_and_by_name),
        cmocka_unit_test(what_cannot_be_built_is_refused),
        cmocka_unit_test(events_describe_themselves_on_one_line),
        cmocka_unit_test(malformed_events_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
