/* Framing of the gdb remote protocol, and the registers it carries. */
#include "replay/gdb_packet.h"
#include "replay/gdb_target.h"

#include "cpu/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct gdb_packet_reader reader;

/* What the last byte of the text gives. */
static enum gdb_packet_kind feed(const char *text)
{
    enum gdb_packet_kind kind = GDB_NOTHING;
    for (; *text; text++)
        kind = gdb_packet_take(&reader, (uint8_t)*text);
    return kind;
}

static void a_packet_is_taken_apart(void **state)
{
    (void)state;
    gdb_packet_reader_init(&reader);
    assert_int_equal(feed("+$m12,4#30"), GDB_PACKET);
    assert_string_equal(reader.payload, "m12,4");
    assert_int_equal(reader.bytes, 5);
    assert_int_equal(feed("$#00"), GDB_PACKET);
    assert_int_equal(reader.bytes, 0);
}

static void damage_is_noticed_and_gotten_over(void **state)
{
    (void)state;
    gdb_packet_reader_init(&reader);
    assert_int_equal(feed("$m12,4#31"), GDB_DAMAGED);
    assert_int_equal(feed("$g#6x"), GDB_DAMAGED);
    assert_int_equal(feed("$g#x"), GDB_DAMAGED);
    assert_int_equal(feed("$mmm$g#67"), GDB_PACKET);
    assert_string_equal(reader.payload, "g");
    assert_int_equal(feed("\003"), GDB_INTERRUPT);
    assert_int_equal(feed("-"), GDB_NAK);
}

static void a_packet_too_long_is_damaged(void **state)
{
    (void)state;
    gdb_packet_reader_init(&reader);
    assert_int_equal(feed("$"), GDB_NOTHING);
    uint8_t sum = 0;
    for (unsigned i = 0; i <= GDB_PACKET_BYTES; i++) {
        assert_int_equal(feed("a"), GDB_NOTHING);
        sum = (uint8_t)(sum + 'a');
    }
    char end[4] = {'#', "0123456789abcdef"[sum >> 4],
                   "0123456789abcdef"[sum & 15], 0};
    assert_int_equal(feed(end), GDB_DAMAGED);
    assert_int_equal(feed("$g#67"), GDB_PACKET);
}

static void framing_and_taking_are_inverse(void **state)
{
    (void)state;
    struct writer w;
    uint8_t all[256];
    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    writer_init(&w);
    struct writer payload;
    writer_init(&payload);
    gdb_put_text(&payload, "X");
    gdb_put_binary(&payload, all, sizeof all);
    gdb_packet_frame(&w, payload.data, payload.used);
    gdb_packet_reader_init(&reader);
    for (size_t i = 0; i + 1 < w.used; i++)
        assert_int_equal(gdb_packet_take(&reader, w.data[i]), GDB_NOTHING);
    assert_int_equal(gdb_packet_take(&reader, w.data[w.used - 1]), GDB_PACKET);
    assert_int_equal(gdb_unescape(reader.payload + 1, reader.bytes - 1), 256);
    assert_memory_equal(reader.payload + 1, all, 256);
    writer_fini(&payload);
    writer_fini(&w);
}

static void numbers_and_bytes_are_checked(void **state)
{
    (void)state;
    const char *at = "1F,abXcd";
    uint64_t n;
    uint8_t bytes[2];
    assert_true(gdb_take_number(&at, &n));
    assert_int_equal(n, 0x1f);
    assert_false(gdb_take_number(&at, &n));
    assert_true(gdb_take_char(&at, ','));
    assert_true(gdb_take_hex(&at, bytes, 1));
    assert_int_equal(bytes[0], 0xab);
    assert_false(gdb_take_hex(&at, bytes, 1));
    at = "11112222333344445";
    assert_false(gdb_take_number(&at, &n));
}

/* Noise must neither crash nor hang the reader. */
static void noise_is_survived(void **state)
{
    (void)state;
    uint32_t seed = 1;
    gdb_packet_reader_init(&reader);
    for (unsigned i = 0; i < 200000; i++) {
        seed = seed * 1103515245 + 12345;
        uint8_t byte = (uint8_t)(seed >> 16);
        (void)gdb_packet_take(&reader, i % 3 ? byte : "$#}ag0"[byte % 6]);
        assert_true(reader.bytes <= GDB_PACKET_BYTES);
    }
}

static struct machine *make_machine(void)
{
    static uint8_t bios[65536];
    struct machine_config config;
    struct error err;
    machine_config_init(&config);
    config.mem_bytes = 2 << 20;
    const struct machine_media media = {
        .bios = {.data = bios, .bytes = sizeof bios}};
    struct machine *m = machine_new(&config, &media, &err);
    assert_non_null(m);
    return m;
}

static unsigned number_of(enum gdb_arch arch, const char *name)
{
    for (unsigned n = 0; n < gdb_register_count(arch); n++)
        if (strcmp(gdb_register_name(arch, n), name) == 0)
            return n;
    fail_msg("no register %s", name);
    return 0;
}

static void every_settable_register_reads_back(void **state)
{
    (void)state;
    static const char *const names[] = {
        "rax",   "rsp",   "r15", "cs_base", "eflags", "st3", "fctrl",
        "xmm15", "mxcsr", "cr2", "rip",     "ds",     "es",  "fstat"};
    struct machine *m = make_machine();
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        uint8_t value[GDB_REGISTER_BYTES], again[GDB_REGISTER_BYTES];
        unsigned n = number_of(GDB_X86_64, names[i]);
        gdb_register_get(m, GDB_X86_64, n, value);
        value[0] ^= 0x10;
        assert_true(gdb_register_set(m, GDB_X86_64, n, value));
        gdb_register_get(m, GDB_X86_64, n, again);
        assert_memory_equal(value, again, sizeof value);
    }
    machine_free(m);
}

static void the_program_counter_is_linear(void **state)
{
    (void)state;
    struct machine *m = make_machine();
    uint8_t value[GDB_REGISTER_BYTES];
    unsigned n = number_of(GDB_I386, "eip");
    gdb_register_get(m, GDB_I386, n, value);
    assert_int_equal(value[3], 0xff); /* fffffff0 */
    assert_int_equal(value[0], 0xf0);
    value[0] = 0xe0;
    assert_true(gdb_register_set(m, GDB_I386, n, value));
    assert_int_equal(machine_cpu(m)->r[REG_RIP], 0xffe0);
    machine_free(m);
}

static void the_description_names_every_register(void **state)
{
    (void)state;
    for (unsigned arch = GDB_I386; arch <= GDB_X86_64; arch++) {
        struct writer w;
        writer_init(&w);
        gdb_target_xml(arch, &w);
        writer_u8(&w, 0);
        for (unsigned n = 0; n < gdb_register_count(arch); n++) {
            char text[64] = "name=\"";
            strcat(text, gdb_register_name(arch, n));
            strcat(text, "\"");
            assert_non_null(strstr((const char *)w.data, text));
            assert_in_range(gdb_register_bytes(arch, n), 4, 16);
        }
        writer_fini(&w);
    }
    assert_int_equal(gdb_register_bytes(GDB_I386, 5000), 0);
}

static void memory_of_devices_is_left_alone(void **state)
{
    (void)state;
    struct machine *m = make_machine();
    uint8_t bytes[8192];
    assert_int_equal(gdb_memory_read(m, true, 0xfec00000, bytes, 4), 0);
    assert_int_equal(gdb_memory_read(m, false, 0x1ff000, bytes, 8192), 4096);
    assert_int_equal(gdb_memory_read(m, true, UINT64_MAX - 3, bytes, 8), 0);
    assert_int_equal(gdb_memory_write(m, false, 0x1234, "ab", 2), 2);
    assert_int_equal(gdb_memory_read(m, true, 0x1234, bytes, 2), 2);
    assert_memory_equal(bytes, "ab", 2);
    machine_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packet_is_taken_apart),
        cmocka_unit_test(damage_is_noticed_and_gotten_over),
        cmocka_unit_test(a_packet_too_long_is_damaged),
        cmocka_unit_test(framing_and_taking_are_inverse),
        cmocka_unit_test(numbers_and_bytes_are_checked),
        cmocka_unit_test(noise_is_survived),
        cmocka_unit_test(every_settable_register_reads_back),
        cmocka_unit_test(the_program_counter_is_linear),
        cmocka_unit_test(the_description_names_every_register),
        cmocka_unit_test(memory_of_devices_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
