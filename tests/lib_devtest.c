#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void sink(void *board, unsigned line, bool level)
{
    struct devtest *t = board;
    t->rises[line] += level && !t->line[line];
    t->line[line] = level;
}

static void output(void *board, enum output_channel channel, const void *bytes,
                   size_t count)
{
    struct devtest *t = board;
    assert_true(t->out_used[channel] + count <= DEVTEST_OUTPUT);
    memcpy(t->out[channel] + t->out_used[channel], bytes, count);
    t->out_used[channel] += count;
}

static void request(void *board, enum bus_request what, uint32_t value)
{
    struct devtest *t = board;
    t->requests[what]++;
    t->request_value = value;
}

static void log_line(void *board, const char *line)
{
    struct devtest *t = board;
    t->logs++;
    snprintf(t->log, sizeof t->log, "%s", line);
}

void devtest_init(struct devtest *t)
{
    *t = (struct devtest){0};
    struct error err = {0};
    t->phys = phys_new(8 << 20, &err);
    assert_non_null(t->phys);
    uint32_t ram = phys_add_memory(t->phys, "ram", 65536, false);
    phys_map_memory(t->phys, 0, 65536, ram, PHYS_READ | PHYS_WRITE);
    t->bus = bus_new(t->phys, &t->tick, DEVTEST_HZ);
    assert_non_null(t->bus);
    bus_set_irq_sink(t->bus, sink, t);
    bus_set_output(t->bus, output, t);
    bus_set_request(t->bus, request, t);
    bus_set_log(t->bus, log_line, t);
}

void devtest_fini(struct devtest *t)
{
    bus_free(t->bus);
    phys_free(t->phys);
}

void devtest_run_to(struct devtest *t, uint64_t tick)
{
    for (;;) {
        uint64_t next = bus_next_deadline(t->bus);
        if (next > tick)
            break;
        if (next > t->tick)
            t->tick = next;
        bus_fire_due(t->bus);
    }
    t->tick = tick;
}

void devtest_run_ns(struct devtest *t, uint64_t ns)
{
    devtest_run_to(t, t->tick + ns);
}

uint8_t devtest_in8(struct devtest *t, uint16_t port)
{
    return (uint8_t)bus_io_read(t->bus, port, 1);
}

void devtest_out8(struct devtest *t, uint16_t port, uint8_t value)
{
    bus_io_write(t->bus, port, value, 1);
}

bool devtest_copy(const struct chip_ops *ops, void *from, void *to)
{
    struct writer a, b;
    writer_init(&a);
    writer_init(&b);
    ops->save(from, &a);
    struct reader r;
    reader_init(&r, a.data, a.used);
    struct error err = {0};
    bool same = ops->load(to, &r, &err) && reader_done(&r, ops->name, &err);
    ops->save(to, &b);
    same = same && a.used == b.used && memcmp(a.data, b.data, a.used) == 0;
    writer_fini(&a);
    writer_fini(&b);
    return same;
}

void devtest_hostile_loads(const struct chip_ops *ops, void *chip, void *victim)
{
    struct writer w;
    writer_init(&w);
    ops->save(chip, &w);
    struct reader r;
    struct error err;
    size_t step = w.used / 512 + 1;
    for (size_t n = 0; n < w.used; n += step) {
        reader_init(&r, w.data, n);
        ops->load(victim, &r, &err);
    }
    for (size_t n = 0; n < w.used; n += step) {
        uint8_t good = w.data[n];
        static const uint8_t bad[] = {0x01, 0x10, 0x80, 0xff};
        for (size_t k = 0; k < sizeof bad; k++) {
            w.data[n] = good ^ bad[k];
            reader_init(&r, w.data, w.used);
            ops->load(victim, &r, &err);
        }
        w.data[n] = good;
    }
    writer_fini(&w);
}

void devtest_fields(const struct field *table, size_t fields, size_t bytes,
                    const struct devtest_range *exempt, size_t exempts)
{
    uint8_t *a = malloc(bytes), *b = malloc(bytes);
    assert_true(a && b);
    memset(a, 0xa5, bytes);
    memset(b, 0x5a, bytes);
    size_t end = 0;
    for (size_t i = 0; i < fields; i++) {
        size_t size = (size_t)table[i].count * table[i].bytes;
        if (table[i].is_bool)
            memset(a + table[i].offset, 1, size);
        if (table[i].offset + size > end)
            end = table[i].offset + size;
    }
    struct writer w;
    writer_init(&w);
    fields_save(table, fields, a, &w);
    struct reader r;
    struct error err = {0};
    reader_init(&r, w.data, w.used);
    assert_true(fields_load(table, fields, b, &r, &err));
    assert_true(reader_done(&r, "fields", &err));
    for (size_t i = 0; i < exempts; i++) {
        memcpy(b + exempt[i].offset, a + exempt[i].offset, exempt[i].bytes);
        if (exempt[i].offset + exempt[i].bytes > end)
            end = exempt[i].offset + exempt[i].bytes;
    }
    assert_true(bytes - end < 8); /* at most tail padding is left over */
    for (size_t i = 0; i < end; i++)
        if (a[i] != b[i])
            fail_msg("byte %zu is in no field table", i);
    writer_fini(&w);
    free(a);
    free(b);
}
