#include "dev/ps2_internal.h"

void ps2_fifo_clear(struct ps2_fifo *q)
{
    *q = (struct ps2_fifo){.last = q->last};
}

unsigned ps2_fifo_room(const struct ps2_fifo *q)
{
    return (unsigned)(PS2_FIFO_BYTES - q->count);
}

void ps2_fifo_put(struct ps2_fifo *q, uint8_t byte)
{
    if (q->count == PS2_FIFO_BYTES)
        return;
    q->byte[(q->first + q->count) % PS2_FIFO_BYTES] = byte;
    q->count++;
}

void ps2_fifo_reply(struct ps2_fifo *q, uint8_t byte)
{
    if (q->reply_count == PS2_REPLY_BYTES)
        return;
    q->reply[(q->reply_first + q->reply_count) % PS2_REPLY_BYTES] = byte;
    q->reply_count++;
}

bool ps2_fifo_empty(const struct ps2_fifo *q)
{
    return q->count == 0 && q->reply_count == 0;
}

uint8_t ps2_fifo_take(struct ps2_fifo *q, bool *is_reply)
{
    *is_reply = q->reply_count > 0;
    if (*is_reply) {
        q->last = q->reply[q->reply_first];
        q->reply_first = (uint8_t)((q->reply_first + 1) % PS2_REPLY_BYTES);
        q->reply_count--;
    } else if (q->count) {
        q->last = q->byte[q->first];
        q->first = (uint8_t)((q->first + 1) % PS2_FIFO_BYTES);
        q->count--;
    }
    return q->last;
}

const struct field ps2_fifo_fields[PS2_FIFO_FIELDS] = {
    FIELD_U8(struct ps2_fifo, byte),
    FIELD_U8(struct ps2_fifo, first),
    FIELD_U8(struct ps2_fifo, count),
    FIELD_U8(struct ps2_fifo, reply),
    FIELD_U8(struct ps2_fifo, reply_first),
    FIELD_U8(struct ps2_fifo, reply_count),
    FIELD_U8(struct ps2_fifo, last),
};

bool ps2_fifo_load(struct ps2_fifo *q, struct reader *r, struct error *err)
{
    if (!fields_load(ps2_fifo_fields, PS2_FIFO_FIELDS, q, r, err))
        return false;
    if (q->first >= PS2_FIFO_BYTES || q->count > PS2_FIFO_BYTES ||
        q->reply_first >= PS2_REPLY_BYTES || q->reply_count > PS2_REPLY_BYTES)
        return error_set(err, ERR_INPUT,
                         "ps2: a device buffer has indices out of range");
    return true;
}
