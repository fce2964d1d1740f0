#include "replay/diff.h"

#include "replay/gdb_monitor.h"
#include "replay/record.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- machines ---------------------------------------------------------------
 */

static json_t *config_of(const struct session *s)
{
    char *text = machine_config_to_json(&s->config, CONFIG_MACHINE);
    json_t *o = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return o;
}

static void put_key(const char *key, const json_t *a, const json_t *b,
                    struct writer *text)
{
    char *x = a ? json_dumps(a, JSON_ENCODE_ANY | JSON_SORT_KEYS) : NULL;
    char *y = b ? json_dumps(b, JSON_ENCODE_ANY | JSON_SORT_KEYS) : NULL;
    gdb_print(text, "%s: %s, %s\n", key, x ? x : "none", y ? y : "none");
    free(x);
    free(y);
}

static const struct media_identity *find_medium(const struct session *s,
                                                const char *role)
{
    for (unsigned i = 0; i < s->media_count; i++)
        if (strcmp(s->media[i].role, role) == 0)
            return &s->media[i];
    return NULL;
}

/* What the machines start with; what is inserted later is named by events. */
static void diff_media(const struct session *a, const struct session *b,
                       struct writer *text)
{
    for (unsigned i = 0; i < a->media_count; i++) {
        const struct media_identity *x = &a->media[i];
        const struct media_identity *y = find_medium(b, x->role);
        if (strcmp(x->role, "inserted") != 0 && y &&
            (x->bytes != y->bytes ||
             memcmp(x->hash, y->hash, sizeof x->hash) != 0))
            gdb_print(text, "%s: other contents: %.200s, %.200s\n", x->role,
                      x->path, y->path);
    }
}

bool diff_machines(const struct session *a, const struct session *b,
                   struct writer *text, struct error *err)
{
    json_t *x = config_of(a), *y = config_of(b), *value;
    const char *key;
    bool ok = x && y;
    if (ok)
        json_object_foreach(
            x, key, value) if (!json_equal(value, json_object_get(y, key)))
            put_key(key, value, json_object_get(y, key), text);
    if (ok)
        json_object_foreach(y, key, value) if (!json_object_get(x, key))
            put_key(key, NULL, value, text);
    json_decref(x);
    json_decref(y);
    diff_media(a, b, text);
    return (ok && !text->failed) || error_set(err, ERR_NOMEM, "out of memory");
}

/* ---- events and digests -----------------------------------------------------
 */

/* Both sessions' records of one database, side by side. */
struct pair {
    const struct session *session[2];
    struct store_cursor cursor[2];
    bool is_there[2], is_begun[2];
    struct store_bytes k[2], v[2];
};

static bool pair_open(struct pair *p, enum store_db db, struct error *err)
{
    for (unsigned n = 0; n < 2; n++)
        if (!store_cursor_open(p->session[n]->store, db, &p->cursor[n], err))
            return false;
    return true;
}

static void pair_close(struct pair *p)
{
    for (unsigned n = 0; n < 2; n++)
        store_cursor_close(&p->cursor[n]);
}

/* On by one in both. */
static bool pair_next(struct pair *p, struct error *err)
{
    for (unsigned n = 0; n < 2; n++) {
        enum store_found found =
            p->is_begun[n]
                ? store_cursor_next(&p->cursor[n], &p->k[n], &p->v[n], err)
                : store_cursor_seek(&p->cursor[n], NULL, 0, &p->k[n], &p->v[n],
                                    err);
        if (found == STORE_BAD)
            return false;
        p->is_begun[n] = true;
        p->is_there[n] = found == STORE_FOUND;
    }
    return true;
}

static bool get_event(const struct pair *p, unsigned n, struct event *e,
                      struct error *err)
{
    uint32_t index;
    *e = (struct event){0};
    if (!p->is_there[n])
        return true;
    if (!event_record_get(&p->k[n], &p->v[n], &index, e,
                          store_path(p->session[n]->store), err))
        return false;
    if (e->type == EVENT_TYPE_END)
        e->type = 0;
    return true;
}

static bool same_event(const struct event *a, const struct event *b)
{
    return a->tick == b->tick && a->type == b->type && a->bytes == b->bytes &&
           memcmp(a->payload, b->payload, a->bytes) == 0;
}

/* One recording has an event more: a difference when the other one covers its
 * tick. */
static bool differs(const struct pair *p, const struct event e[2])
{
    if (e[0].type && e[1].type)
        return !same_event(&e[0], &e[1]);
    if (!e[0].type && !e[1].type)
        return false;
    unsigned n = e[0].type ? 0 : 1;
    return e[n].tick <= p->session[1 - n]->end_tick;
}

static bool diff_events(struct pair *p, struct diff *out, struct error *err)
{
    struct event *e = out->event;
    bool ok = pair_open(p, STORE_EVENTS, err);
    while (ok) {
        ok = pair_next(p, err) && get_event(p, 0, &e[0], err) &&
             get_event(p, 1, &e[1], err);
        out->events_differ = ok && differs(p, e);
        if (!ok || out->events_differ || !e[0].type || !e[1].type)
            break;
        out->events_equal++;
    }
    pair_close(p);
    return ok;
}

static void judge(const struct digest_record d[2], struct diff *out)
{
    const struct digest *a = &d[0].digest, *b = &d[1].digest;
    out->cpu_differs = memcmp(a->cpu, b->cpu, sizeof a->cpu) != 0;
    out->io_differs = memcmp(a->io, b->io, sizeof a->io) != 0;
    out->mem_differs = memcmp(a->mem, b->mem, sizeof a->mem) != 0;
    out->first_differing = d[0].tick < d[1].tick ? d[0].tick : d[1].tick;
    out->digests_differ = d[0].tick != d[1].tick || out->cpu_differs ||
                          out->io_differs || out->mem_differs;
}

/* One more digest is taken where a recording ends: the other has none there. */
static bool is_last(const struct pair *p, unsigned n,
                    const struct digest_record d[2])
{
    return d[n].tick == p->session[n]->end_tick && d[1 - n].tick > d[n].tick;
}

static bool diff_digests(struct pair *p, struct diff *out, struct error *err)
{
    struct digest_record d[2];
    bool ok = pair_open(p, STORE_DIGESTS, err);
    while (ok && (ok = pair_next(p, err)) && p->is_there[0] && p->is_there[1]) {
        for (unsigned n = 0; ok && n < 2; n++)
            ok = digest_record_get(&p->k[n], &p->v[n], &d[n],
                                   store_path(p->session[n]->store), err);
        if (!ok || is_last(p, 0, d) || is_last(p, 1, d))
            break;
        judge(d, out);
        if (out->digests_differ)
            break;
        out->digests_equal++;
        out->last_equal = d[0].tick;
    }
    pair_close(p);
    return ok;
}

bool diff_recordings(const struct session *a, const struct session *b,
                     struct diff *out, struct error *err)
{
    struct pair events = {.session = {a, b}}, digests = events;
    *out = (struct diff){.last_equal = a->start_tick > b->start_tick
                                           ? a->start_tick
                                           : b->start_tick};
    return diff_events(&events, out, err) && diff_digests(&digests, out, err);
}

bool diff_is_event(const struct diff *d)
{
    if (!d->events_differ)
        return false;
    uint64_t a = d->event[0].type ? d->event[0].tick : UINT64_MAX;
    uint64_t b = d->event[1].type ? d->event[1].tick : UINT64_MAX;
    uint64_t first = a < b ? a : b;
    return !d->digests_differ || first <= d->first_differing;
}
