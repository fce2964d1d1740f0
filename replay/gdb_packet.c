#include "replay/gdb_packet.h"

#include "base/hex.h"

#include <string.h>

enum state { STATE_IDLE, STATE_PAYLOAD, STATE_SUM_HIGH, STATE_SUM_LOW };

void gdb_packet_reader_init(struct gdb_packet_reader *r)
{
    r->state = STATE_IDLE;
    r->bytes = 0;
}

static enum gdb_packet_kind idle(struct gdb_packet_reader *r, uint8_t byte)
{
    switch (byte) {
    case '$':
        r->state = STATE_PAYLOAD;
        r->bytes = 0;
        r->sum = 0;
        r->is_too_long = false;
        return GDB_NOTHING;
    case 3:
        return GDB_INTERRUPT;
    case '-':
        return GDB_NAK;
    default: /* + and noise between packets */
        return GDB_NOTHING;
    }
}

static void payload(struct gdb_packet_reader *r, uint8_t byte)
{
    if (byte == '#') {
        r->state = STATE_SUM_HIGH;
        return;
    }
    if (byte == '$') { /* a new packet: the end of the old one was lost */
        (void)idle(r, byte);
        return;
    }
    r->sum = (uint8_t)(r->sum + byte);
    if (r->bytes < GDB_PACKET_BYTES)
        r->payload[r->bytes++] = byte;
    else
        r->is_too_long = true;
}

enum gdb_packet_kind gdb_packet_take(struct gdb_packet_reader *r, uint8_t byte)
{
    int d = hex_digit((char)byte);
    switch (r->state) {
    case STATE_PAYLOAD:
        payload(r, byte);
        return GDB_NOTHING;
    case STATE_SUM_HIGH:
        r->state = d < 0 ? STATE_IDLE : STATE_SUM_LOW;
        if (d < 0)
            return GDB_DAMAGED;
        r->sent_sum = (uint8_t)(d << 4);
        return GDB_NOTHING;
    case STATE_SUM_LOW:
        r->state = STATE_IDLE;
        r->payload[r->bytes] = 0;
        if (d < 0 || (r->sent_sum | d) != r->sum || r->is_too_long)
            return GDB_DAMAGED;
        return GDB_PACKET;
    default:
        return idle(r, byte);
    }
}

static void put_digits(struct writer *w, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    char text[2] = {digits[byte >> 4], digits[byte & 15]};
    writer_bytes(w, text, 2);
}

void gdb_packet_frame(struct writer *w, const void *payload_bytes, size_t bytes)
{
    const uint8_t *p = payload_bytes;
    uint8_t sum = 0;
    for (size_t i = 0; i < bytes; i++)
        sum = (uint8_t)(sum + p[i]);
    writer_u8(w, '$');
    writer_bytes(w, p, bytes);
    writer_u8(w, '#');
    put_digits(w, sum);
}

void gdb_put_hex(struct writer *w, const void *bytes, size_t count)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < count; i++)
        put_digits(w, p[i]);
}

void gdb_put_binary(struct writer *w, const void *bytes, size_t count)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < count; i++) {
        bool is_special =
            p[i] == '#' || p[i] == '$' || p[i] == '}' || p[i] == '*';
        if (is_special)
            writer_u8(w, '}');
        writer_u8(w, (uint8_t)(is_special ? p[i] ^ 0x20 : p[i]));
    }
}

void gdb_put_text(struct writer *w, const char *text)
{
    writer_bytes(w, text, strlen(text));
}

bool gdb_take_number(const char **at, uint64_t *value)
{
    uint64_t v = 0;
    unsigned n = 0;
    for (int d; (d = hex_digit(**at)) >= 0; (*at)++, n++)
        v = v << 4 | (unsigned)d;
    *value = v;
    return n >= 1 && n <= 16;
}

bool gdb_take_hex(const char **at, void *bytes, size_t count)
{
    uint8_t *out = bytes;
    for (size_t i = 0; i < count; i++) {
        int high = hex_digit((*at)[0]);
        int low = high < 0 ? -1 : hex_digit((*at)[1]);
        if (low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
        *at += 2;
    }
    return true;
}

bool gdb_take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

size_t gdb_unescape(uint8_t *bytes, size_t count)
{
    size_t to = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_escaped = bytes[i] == '}' && i + 1 < count;
        if (is_escaped)
            i++;
        bytes[to++] = (uint8_t)(is_escaped ? bytes[i] ^ 0x20 : bytes[i]);
    }
    return to;
}
