#include "replay/info.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- iterators
 * ------------------------------------------------------------------ */

bool info_each_event(const struct session *s, uint64_t from, uint64_t to,
                     info_event_fn *fn, void *context, struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v;
    struct event e;
    uint32_t index;
    uint8_t key[KEY_TICK_BYTES];
    key_tick(key, from);
    if (!store_cursor_open(s->store, STORE_EVENTS, &c, err))
        return false;
    enum store_found found =
        store_cursor_seek(&c, key, sizeof key, &k, &v, err);
    bool ok = true;
    while (found == STORE_FOUND) {
        ok = event_record_get(&k, &v, &index, &e, store_path(s->store), err);
        if (!ok || e.tick > to || !fn(context, index, &e))
            break;
        found = store_cursor_next(&c, &k, &v, err);
    }
    store_cursor_close(&c);
    return ok && found != STORE_BAD;
}

bool info_each_digest(const struct session *s, uint64_t from, uint64_t to,
                      info_digest_fn *fn, void *context, struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v;
    struct digest_record d;
    uint8_t key[KEY_TICK_BYTES];
    key_tick(key, from);
    if (!store_cursor_open(s->store, STORE_DIGESTS, &c, err))
        return false;
    enum store_found found =
        store_cursor_seek(&c, key, sizeof key, &k, &v, err);
    bool ok = true;
    while (found == STORE_FOUND) {
        ok = digest_record_get(&k, &v, &d, store_path(s->store), err);
        if (!ok || d.tick > to || !fn(context, &d))
            break;
        found = store_cursor_next(&c, &k, &v, err);
    }
    store_cursor_close(&c);
    return ok && found != STORE_BAD;
}

bool info_each_output(const struct session *s, uint64_t from, uint64_t to,
                      info_output_fn *fn, void *context, struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v;
    struct output_chunks chunks;
    struct output_chunk chunk = {0};
    uint32_t index;
    if (!store_cursor_open(s->store, STORE_OUTPUT, &c, err))
        return false;
    /* A record's key is its first tick: one that began before `from` may still
     * reach it, so the walk starts at the beginning. */
    enum store_found found = store_cursor_seek(&c, NULL, 0, &k, &v, err);
    bool ok = true, more = true;
    while (ok && more && found == STORE_FOUND) {
        ok = output_chunks_begin(&chunks, &k, &v, &index, store_path(s->store),
                                 err);
        while (ok && more && output_chunks_next(&chunks, &chunk))
            if (chunk.tick >= from)
                more = chunk.tick <= to && fn(context, &chunk);
        if (ok && !chunks.ok)
            ok = error_set(err, ERR_INPUT, "%s: output record %u is malformed",
                           store_path(s->store), index);
        if (ok && more)
            found = store_cursor_next(&c, &k, &v, err);
    }
    store_cursor_close(&c);
    return ok && found != STORE_BAD;
}

/* ---- summary
 * ------------------------------------------------------------------- */

static bool count_event(void *context, uint32_t index, const struct event *e)
{
    struct info *info = context;
    (void)index;
    info->events_by_type[e->type]++;
    return true;
}

static bool count_output(void *context, const struct output_chunk *chunk)
{
    struct info *info = context;
    info->output_bytes[chunk->channel] += chunk->count;
    return true;
}

static bool last_digest(void *context, const struct digest_record *d)
{
    struct info *info = context;
    info->last_digest_tick = d->tick;
    return true;
}

bool info_gather(struct session *s, struct info *out, struct error *err)
{
    *out = (struct info){.file_bytes = store_file_bytes(s->store),
                         .insns = s->commit.insns};
    for (unsigned db = 0; db < STORE_DBS; db++)
        if (!store_stats(s->store, (enum store_db)db, &out->db[db], err))
            return false;
    /* ticks are cpu_mhz per microsecond */
    out->guest_ns =
        (uint64_t)((unsigned __int128)s->end_tick * 1000 / s->config.cpu_mhz);
    return info_each_event(s, 0, UINT64_MAX, count_event, out, err) &&
           info_each_digest(s, 0, UINT64_MAX, last_digest, out, err) &&
           info_each_output(s, 0, UINT64_MAX, count_output, out, err);
}

/* ---- JSON
 * ------------------------------------------------------------------------ */

static void set(json_t *object, const char *name, json_t *value)
{
    /* A failed set leaves the key out and has freed the value. */
    (void)json_object_set_new(object, name, value);
}

static json_t *number(uint64_t v)
{
    return json_integer((json_int_t)v);
}

/* Bytes of a path or payload as JSON text; what is not UTF-8 becomes '?'. */
static json_t *text(const char *s)
{
    json_t *value = json_string(s);
    if (value)
        return value;
    char *plain = strdup(s);
    if (!plain)
        return NULL;
    for (char *p = plain; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    value = json_string(plain);
    free(plain);
    return value;
}

static json_t *media_json(const struct session *s)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < s->media_count; i++) {
        const struct media_identity *m = &s->media[i];
        char hash[2 * MEDIA_HASH_BYTES + 1];
        for (unsigned b = 0; b < MEDIA_HASH_BYTES; b++)
            (void)snprintf(hash + 2 * b, 3, "%02x", m->hash[b]);
        json_t *one = json_object();
        set(one, "role", text(m->role));
        set(one, "path", text(m->path));
        set(one, "bytes", number(m->bytes));
        set(one, "xxh3_128", text(hash));
        (void)json_array_append_new(list, one);
    }
    return list;
}

static json_t *sizes_json(const struct info *info)
{
    json_t *all = json_object();
    for (unsigned db = 0; db < STORE_DBS; db++) {
        json_t *one = json_object();
        set(one, "records", number(info->db[db].records));
        set(one, "bytes", number(info->db[db].file_bytes));
        set(all, store_db_name((enum store_db)db), one);
    }
    return all;
}

static json_t *events_json(const struct info *info)
{
    json_t *all = json_object();
    for (unsigned t = 1; t < EVENT_TYPE_COUNT; t++)
        set(all, event_type_name((enum event_type)t),
            number(info->events_by_type[t]));
    return all;
}

char *info_json(const struct session *s, const struct info *info)
{
    static const char *const channels[OUT_CHANNELS] = {"serial", "debugcon",
                                                       "post"};
    json_t *root = json_object();
    char *config = machine_config_to_json(&s->config, CONFIG_ALL);
    json_t *output = json_object();
    for (unsigned c = 0; c < OUT_CHANNELS; c++)
        set(output, channels[c], number(info->output_bytes[c]));
    set(root, "path", text(store_path(s->store)));
    set(root, "format", number(s->format));
    set(root, "build", text(s->build));
    set(root, "created", json_integer(s->created));
    set(root, "torn", json_boolean(s->torn));
    set(root, "end_reason",
        s->torn ? json_null() : text(stop_reason_name(s->end_reason)));
    set(root, "end_value", number(s->end_value));
    set(root, "end_tick", number(s->end_tick));
    set(root, "guest_ns", number(info->guest_ns));
    set(root, "insns", number(info->insns));
    set(root, "last_digest_tick", number(info->last_digest_tick));
    set(root, "file_bytes", number(info->file_bytes));
    set(root, "events", events_json(info));
    set(root, "output_bytes", output);
    set(root, "databases", sizes_json(info));
    set(root, "media", media_json(s));
    if (config)
        set(root, "config", json_loads(config, 0, NULL));
    free(config);
    char *out = json_dumps(root, JSON_SORT_KEYS | JSON_INDENT(2));
    json_decref(root);
    return out;
}

char *info_event_json(uint32_t index, const struct event *event)
{
    char line[4 * EVENT_PAYLOAD_MAX + 64];
    char hex[2 * EVENT_PAYLOAD_MAX + 1];
    json_t *root = json_object();
    hex[0] = 0;
    for (unsigned i = 0; i < event->bytes; i++)
        (void)snprintf(hex + 2 * (size_t)i, 3, "%02x", event->payload[i]);
    event_describe(event, line, sizeof line);
    set(root, "tick", number(event->tick));
    set(root, "index", number(index));
    set(root, "type", text(event_type_name(event->type)));
    set(root, "payload", text(hex));
    set(root, "text", text(line));
    char *out = json_dumps(root, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(root);
    return out;
}
