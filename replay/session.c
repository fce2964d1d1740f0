#include "replay/session.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *stop_reason_name(enum stop_reason reason)
{
    static const char *const names[] = {
        [STOP_TICK] = "until",
        [STOP_POWER_OFF] = "power-off",
        [STOP_DEBUG_EXIT] = "debug-exit",
        [STOP_SHUTDOWN] = "triple-fault",
        [STOP_MEDIA_ERROR] = "media-error",
        [STOP_REQUEST] = "request",
        [STOP_PROBE] = "probe",
    };
    if ((unsigned)reason >= sizeof names / sizeof names[0])
        return "unknown";
    return names[reason];
}

static bool need(struct session *s, const char *key, struct store_bytes *v,
                 struct error *err)
{
    switch (store_get(s->store, STORE_META, key, strlen(key), v, err)) {
    case STORE_FOUND:
        return true;
    case STORE_NONE:
        return error_set(err, ERR_INPUT,
                         "%s: the session names no %s: the recorder was "
                         "killed before the recording began",
                         store_path(s->store), key);
    default:
        return false;
    }
}

/* Into s->config. what: names it in sentences. */
static bool take_config(struct session *s, const struct store_bytes *v,
                        const char *what, struct error *err)
{
    struct error inner;
    char *text = malloc(v->bytes + 1);
    if (!text)
        return error_set(err, ERR_NOMEM, "out of memory");
    memcpy(text, v->data, v->bytes);
    text[v->bytes] = 0;
    bool ok = machine_config_from_json(&s->config, text, what, &inner) &&
              machine_config_check(&s->config, &inner);
    free(text);
    if (!ok)
        return error_set(err, ERR_INPUT, "%.300s: %.600s", store_path(s->store),
                         inner.text);
    return true;
}

static bool read_config(struct session *s, struct error *err)
{
    struct store_bytes v;
    if (!need(s, "config", &v, err))
        return false;
    machine_config_init(&s->config);
    if (!take_config(s, &v, "recorded machine", err))
        return false;
    switch (store_get(s->store, STORE_META, "engine", 6, &v, err)) {
    case STORE_NONE: /* an older session */
        return true;
    case STORE_FOUND:
        return take_config(s, &v, "recorded engine", err);
    default:
        return false;
    }
}

static bool read_media(struct session *s, struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v;
    bool ok = true;
    if (!store_cursor_open(s->store, STORE_META, &c, err))
        return false;
    enum store_found found = store_cursor_seek(&c, "media/", 6, &k, &v, err);
    while (ok && found == STORE_FOUND && k.bytes > 6 &&
           memcmp(k.data, "media/", 6) == 0) {
        struct reader r;
        reader_init(&r, v.data, v.bytes);
        if (s->media_count == MEDIA_MAX)
            ok = error_set(err, ERR_INPUT, "%s: more than %d media",
                           store_path(s->store), MEDIA_MAX);
        else
            ok = media_load(&s->media[s->media_count++], &r, err);
        if (ok)
            found = store_cursor_next(&c, &k, &v, err);
    }
    store_cursor_close(&c);
    return ok && found != STORE_BAD;
}

static bool read_last_event(struct session *s, struct event *e, uint32_t *index,
                            bool *any, struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v;
    if (!store_cursor_open(s->store, STORE_EVENTS, &c, err))
        return false;
    enum store_found found = store_cursor_last(&c, &k, &v, err);
    bool ok = found != STORE_BAD;
    *any = found == STORE_FOUND;
    if (*any)
        ok = event_record_get(&k, &v, index, e, store_path(s->store), err);
    store_cursor_close(&c);
    return ok;
}

/* The END event, the commit record's flag and its counts say the same. */
static bool read_end(struct session *s, struct error *err)
{
    struct event e;
    uint32_t index = 0;
    bool any;
    const char *where = store_path(s->store);
    if (!read_last_event(s, &e, &index, &any, err))
        return false;
    bool has_end = any && e.type == EVENT_TYPE_END;
    if (s->commit.events != (any ? index + 1 : 0) ||
        s->commit.clean != has_end || (any && e.tick > s->commit.tick))
        return error_set(err, ERR_INPUT,
                         "%s: damaged: the last commit counts %u events up to "
                         "tick %llu, found %u",
                         where, s->commit.events,
                         (unsigned long long)s->commit.tick,
                         any ? index + 1 : 0);
    s->torn = !has_end;
    s->end_tick = s->commit.tick;
    if (!has_end)
        return true;
    if (e.payload[0] > STOP_REQUEST || e.tick != s->commit.tick)
        return error_set(err, ERR_INPUT,
                         "%s: damaged: END at tick %llu with reason %u", where,
                         (unsigned long long)e.tick, e.payload[0]);
    s->end_reason = (enum stop_reason)e.payload[0];
    s->end_value = load_le32(e.payload + 1);
    return true;
}

/* Only a session that was cut out of another has the record. */
static bool read_start(struct session *s, struct error *err)
{
    struct store_bytes v;
    switch (store_get(s->store, STORE_META, "start", 5, &v, err)) {
    case STORE_NONE:
        return true;
    case STORE_FOUND:
        break;
    default:
        return false;
    }
    if (v.bytes != 8)
        return error_set(err, ERR_INPUT, "%s: damaged: start of %zu bytes",
                         store_path(s->store), v.bytes);
    s->start_tick = load_le64(v.data);
    return true;
}

static bool read_all(struct session *s, struct error *err)
{
    struct store_bytes v;
    s->format = store_format(s->store);
    if (!read_config(s, err) || !need(s, "build", &v, err))
        return false;
    size_t bytes =
        v.bytes < sizeof s->build - 1 ? v.bytes : sizeof s->build - 1;
    memcpy(s->build, v.data, bytes);
    if (!need(s, "created", &v, err))
        return false;
    if (v.bytes != 8)
        return error_set(err, ERR_INPUT, "%s: damaged: date of %zu bytes",
                         store_path(s->store), v.bytes);
    s->created = (int64_t)load_le64(v.data);
    return read_start(s, err) && read_media(s, err) && need(s, "commit", &v, err) &&
           commit_record_get(&v, &s->commit, store_path(s->store), err) &&
           read_end(s, err) && store_check_seal(s->store, &s->sealed, err);
}

static bool open_with(bool (*open)(const char *, struct store **,
                                   struct error *),
                      const char *path, struct session **out,
                      struct error *err)
{
    struct session *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_NOMEM, "%s: out of memory", path);
    if (!open(path, &s->store, err) || !read_all(s, err)) {
        session_close(s);
        return false;
    }
    *out = s;
    return true;
}

bool session_open(const char *path, struct session **out, struct error *err)
{
    return open_with(store_open, path, out, err);
}

bool session_open_update(const char *path, struct session **out,
                         struct error *err)
{
    return open_with(store_open_update, path, out, err);
}

void session_close(struct session *s)
{
    if (!s)
        return;
    store_close(s->store);
    free(s);
}

void session_warning(const struct session *s, char *text, size_t text_bytes)
{
    text[0] = 0;
    if (s->torn)
        (void)snprintf(text, text_bytes,
                       "%s: the recording was torn (its recorder was killed "
                       "or its disk was full): it replays up to its last "
                       "commit, tick %llu",
                       store_path(s->store), (unsigned long long)s->end_tick);
}
