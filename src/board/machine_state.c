/* Saving, loading, digesting and comparing a machine. */
#include "board/machine_internal.h"

#include "base/bytes.h"
#include "base/field.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static const struct field board_fields[] = {
    FIELD_U8(struct machine, medium),
    FIELD_BOOL(struct machine, ended),
    FIELD_U8(struct machine, end_reason),
    FIELD_U32(struct machine, exit_value),
};

/* Names of media are compared as events log them; everything after the first
 * NUL is zero (machine.c), so the bytes are canonical. */
static void save_board(const struct machine *m, struct writer *w)
{
    fields_save(board_fields, FIELD_COUNT(board_fields), m, w);
    writer_u8(w, phys_a20(m->phys));
}

void machine_save_devices(const struct machine *m, struct writer *w)
{
    size_t at = writer_begin_section(w, "CPU ");
    cpu_save(&m->cpu, w);
    writer_end_section(w, at);
    at = writer_begin_section(w, "BRD ");
    save_board(m, w);
    writer_end_section(w, at);
    at = writer_begin_section(w, "BUS ");
    bus_save(m->bus, w);
    writer_end_section(w, at);
    for (unsigned n = 0; n < m->chips; n++) {
        at = writer_begin_section(w, m->chip[n].ops->tag);
        m->chip[n].ops->save(m->chip[n].self, w);
        writer_end_section(w, at);
    }
}

/* Media that events inserted are opened again before the drives load. */
static bool load_media(struct machine *m, char names[2][MACHINE_PATH],
                       struct error *err)
{
    for (unsigned drive = 0; drive < 2; drive++) {
        struct event e = {.type = EVENT_TYPE_MEDIA};
        names[drive][MACHINE_PATH - 1] = '\0';
        size_t n = strlen(names[drive]);
        if (strcmp(names[drive], m->medium[drive]) == 0)
            continue;
        e.bytes = (uint16_t)(n + 1);
        e.payload[0] = (uint8_t)drive;
        memcpy(e.payload + 1, names[drive], n);
        if (!machine_inject(m, &e, err))
            return false;
    }
    return true;
}

static bool load_board(struct machine *m, struct reader *r, struct error *err)
{
    char now[2][MACHINE_PATH], saved[2][MACHINE_PATH];
    memcpy(now, m->medium, sizeof now);
    if (!fields_load(board_fields, FIELD_COUNT(board_fields), m, r, err))
        return false;
    memcpy(saved, m->medium, sizeof saved);
    memcpy(m->medium, now, sizeof now);
    if (m->end_reason > STOP_REQUEST)
        return error_set(err, ERR_INPUT,
                         "board state: expected a stop reason of 0..%d, found "
                         "%u",
                         STOP_REQUEST, m->end_reason);
    bool a20 = reader_u8(r) != 0;
    if (!reader_done(r, "board state", err) || !load_media(m, saved, err))
        return false;
    phys_set_a20(m->phys, a20);
    return true;
}

bool machine_load_devices(struct machine *m, struct reader *r,
                          struct error *err)
{
    struct reader in;
    if (!reader_section(r, "CPU ", &in, err) || !cpu_load(&m->cpu, &in, err) ||
        !reader_done(&in, "CPU state", err))
        return false;
    if (!reader_section(r, "BRD ", &in, err) || !load_board(m, &in, err))
        return false;
    if (!reader_section(r, "BUS ", &in, err) || !bus_load(m->bus, &in, err) ||
        !reader_done(&in, "bus state", err))
        return false;
    for (unsigned n = 0; n < m->chips; n++) {
        const struct chip_ops *ops = m->chip[n].ops;
        if (!reader_section(r, ops->tag, &in, err) ||
            !ops->load(m->chip[n].self, &in, err) ||
            !reader_done(&in, ops->name, err))
            return false;
    }
    machine_rewire(m);
    m->probe.sleep_insns = UINT64_MAX;
    return true;
}

void machine_save(const struct machine *m, struct writer *w)
{
    size_t at = writer_begin_section(w, "DEVS");
    machine_save_devices(m, w);
    writer_end_section(w, at);
    phys_save(m->phys, w);
    for (unsigned n = 0; n < MACHINE_BLOCKS; n++)
        if (m->block[n])
            block_save(m->block[n], w);
}

bool machine_load(struct machine *m, struct reader *r, struct error *err)
{
    struct reader in;
    if (!reader_section(r, "DEVS", &in, err) ||
        !machine_load_devices(m, &in, err) ||
        !reader_done(&in, "device state", err) || !phys_load(m->phys, r, err))
        return false;
    for (unsigned n = 0; n < MACHINE_BLOCKS; n++)
        if (m->block[n] && !block_load(m->block[n], r, err))
            return false;
    return reader_done(r, "machine state", err);
}

/* ---- digests ------------------------------------------------------------------- */

static void add128(uint8_t sum[16], const uint8_t add[16])
{
    uint64_t low = load_le64(sum) + load_le64(add);
    uint64_t carry = low < load_le64(add);
    store_le64(sum + 8, load_le64(sum + 8) + load_le64(add + 8) + carry);
    store_le64(sum, low);
}

struct digest machine_digest(struct machine *m)
{
    struct digest d = {0};
    writer_reset(&m->scratch);
    machine_save_devices(m, &m->scratch);
    XXH128_hash_t h = XXH3_128bits(m->scratch.data, m->scratch.used);
    store_le64(d.cpu, h.low64);
    store_le64(d.cpu + 8, h.high64);
    uint64_t io = bus_io_hash(m->bus);
    h = XXH3_128bits(&io, sizeof io);
    store_le64(d.io, h.low64);
    store_le64(d.io + 8, h.high64);
    phys_digest(m->phys, d.mem);
    for (unsigned n = 0; n < MACHINE_BLOCKS; n++) {
        uint8_t part[16], tagged[17];
        if (!m->block[n])
            continue;
        block_digest(m->block[n], part);
        /* Drives must not be interchangeable in the sum; an unchanged layer
         * adds nothing. */
        static const uint8_t zero[16];
        if (memcmp(part, zero, 16) == 0)
            continue;
        memcpy(tagged, part, 16);
        tagged[16] = (uint8_t)n;
        h = XXH3_128bits(tagged, sizeof tagged);
        store_le64(part, h.low64);
        store_le64(part + 8, h.high64);
        add128(d.mem, part);
    }
    return d;
}

/* ---- differences ------------------------------------------------------------------ */

static bool next_section(struct reader *r, char tag[5], struct reader *in)
{
    if (r->size - r->at < 8)
        return false;
    memcpy(tag, r->data + r->at, 4);
    tag[4] = '\0';
    return reader_section(r, tag, in, NULL);
}

static void describe_difference(const char *tag, const struct reader *a,
                                const struct reader *b, size_t at, char *text,
                                size_t text_bytes)
{
    char name[64];
    if (strcmp(tag, "CPU ") == 0 && cpu_field_name(at, name, sizeof name))
        (void)snprintf(text, text_bytes, "cpu.%s", name);
    else
        (void)snprintf(text, text_bytes, "%s byte %zu: %02x, not %02x", tag,
                       at, at < a->size ? a->data[at] : 0,
                       at < b->size ? b->data[at] : 0);
}

bool machine_first_difference(const void *a, size_t a_bytes, const void *b,
                              size_t b_bytes, char *text, size_t text_bytes)
{
    struct reader ra, rb, ia, ib;
    char ta[5], tb[5];
    reader_init(&ra, a, a_bytes);
    reader_init(&rb, b, b_bytes);
    while (next_section(&ra, ta, &ia) && next_section(&rb, tb, &ib)) {
        if (strcmp(ta, tb) != 0) {
            (void)snprintf(text, text_bytes, "section %s, not %s", ta, tb);
            return true;
        }
        for (size_t at = 0; at < ia.size || at < ib.size; at++) {
            if (at < ia.size && at < ib.size && ia.data[at] == ib.data[at])
                continue;
            describe_difference(ta, &ia, &ib, at, text, text_bytes);
            return true;
        }
    }
    if (a_bytes == b_bytes)
        return false;
    (void)snprintf(text, text_bytes, "length %zu, not %zu", a_bytes, b_bytes);
    return true;
}
