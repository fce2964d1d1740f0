#include "board/event.h"

#include "base/bytes.h"

#include <stdio.h>
#include <string.h>

static const char *const type_names[EVENT_TYPE_COUNT] = {
    [EVENT_TYPE_KEY] = "key",       [EVENT_TYPE_MOUSE] = "mouse",
    [EVENT_TYPE_SERIAL] = "serial", [EVENT_TYPE_CLOCK] = "clock",
    [EVENT_TYPE_MEDIA] = "media",   [EVENT_TYPE_RESET] = "reset",
    [EVENT_TYPE_POWER] = "power",   [EVENT_TYPE_END] = "end",
};

const char *event_type_name(enum event_type type)
{
    if ((unsigned)type >= EVENT_TYPE_COUNT)
        return NULL;
    return type_names[type];
}

/* Payload bytes as text with C escapes, so that a line stays a line. The tail
 * that does not fit is left out. */
static void escape(const uint8_t *bytes, unsigned count, char *text,
                   unsigned text_bytes)
{
    static const char hex[] = "0123456789abcdef";
    unsigned at = 0;
    for (unsigned i = 0; i < count && at + 5 < text_bytes; i++) {
        uint8_t c = bytes[i];
        if (c == '\n' || c == '\r' || c == '\t') {
            text[at++] = '\\';
            text[at++] = c == '\n' ? 'n' : c == '\r' ? 'r' : 't';
        } else if (c == '\\' || c == '"') {
            text[at++] = '\\';
            text[at++] = (char)c;
        } else if (c >= 0x20 && c < 0x7f) {
            text[at++] = (char)c;
        } else {
            text[at++] = '\\';
            text[at++] = 'x';
            text[at++] = hex[c >> 4];
            text[at++] = hex[c & 15];
        }
    }
    text[at] = 0;
}

static void describe_known(const struct event *e, char *text, unsigned bytes)
{
    const uint8_t *p = e->payload;
    char body[4 * EVENT_PAYLOAD_MAX + 8];
    switch (e->type) {
    case EVENT_TYPE_KEY:
        (void)snprintf(text, bytes, "key 0x%03x %s", load_le16(p),
                       p[2] ? "press" : "release");
        break;
    case EVENT_TYPE_MOUSE:
        (void)snprintf(text, bytes, "mouse move %d %d wheel %d buttons %u",
                       (int16_t)load_le16(p), (int16_t)load_le16(p + 2),
                       (int8_t)p[4], p[5]);
        break;
    case EVENT_TYPE_SERIAL:
        escape(p, e->bytes, body, sizeof body);
        (void)snprintf(text, bytes, "serial \"%s\"", body);
        break;
    case EVENT_TYPE_CLOCK:
        (void)snprintf(text, bytes, "clock %lld s since 1970",
                       (long long)load_le64(p));
        break;
    case EVENT_TYPE_MEDIA:
        escape(p + 1, e->bytes - 1u, body, sizeof body);
        (void)snprintf(text, bytes, "media %s %s%s%s",
                       p[0] ? "floppy" : "cdrom",
                       e->bytes > 1 ? "insert \"" : "eject", body,
                       e->bytes > 1 ? "\"" : "");
        break;
    case EVENT_TYPE_END:
        (void)snprintf(text, bytes, "end reason %u value %u", p[0],
                       load_le32(p + 1));
        break;
    default:
        (void)snprintf(text, bytes, "%s", event_type_name(e->type));
        break;
    }
}

bool event_payload_ok(const struct event *e)
{
    switch (e->type) {
    case EVENT_TYPE_KEY:
        return e->bytes == 3 && e->payload[2] <= 1;
    case EVENT_TYPE_MOUSE:
        return e->bytes == 6;
    case EVENT_TYPE_SERIAL:
        return e->bytes > 0 && e->bytes <= EVENT_PAYLOAD_MAX;
    case EVENT_TYPE_CLOCK:
        return e->bytes == 8;
    case EVENT_TYPE_MEDIA:
        return e->bytes >= 1 && e->bytes <= EVENT_PAYLOAD_MAX &&
               e->payload[0] <= 1 && !memchr(e->payload + 1, 0, e->bytes - 1u);
    case EVENT_TYPE_RESET:
    case EVENT_TYPE_POWER:
        return e->bytes == 0;
    case EVENT_TYPE_END:
        return e->bytes == 5;
    default:
        return false;
    }
}

void event_describe(const struct event *e, char *text, unsigned text_bytes)
{
    if (event_payload_ok(e)) {
        describe_known(e, text, text_bytes);
        return;
    }
    const char *name = event_type_name(e->type);
    (void)snprintf(text, text_bytes, "%s: malformed, %u bytes",
                   name ? name : "unknown", e->bytes);
}
