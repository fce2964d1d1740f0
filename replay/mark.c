#include "replay/mark.h"

#include "base/bytes.h"

#include <string.h>

enum { PREFIX_BYTES = 5, MARK_KEY_BYTES = PREFIX_BYTES + 12 };
static const char prefix[] = "mark/";

static void mark_key(uint8_t key[MARK_KEY_BYTES], uint64_t tick, uint32_t index)
{
    memcpy(key, prefix, PREFIX_BYTES);
    store_be64(key + PREFIX_BYTES, tick);
    store_be32(key + PREFIX_BYTES + 8, index);
}

bool mark_key_get(const struct store_bytes *k, uint64_t *tick)
{
    if (k->bytes != MARK_KEY_BYTES || memcmp(k->data, prefix, PREFIX_BYTES))
        return false;
    *tick = load_be64((const uint8_t *)k->data + PREFIX_BYTES);
    return true;
}

bool marks_each(const struct session *s, mark_fn *fn, void *context,
                struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v;
    struct mark mark;
    bool more = true;
    if (!store_cursor_open(s->store, STORE_META, &c, err))
        return false;
    enum store_found found =
        store_cursor_seek(&c, prefix, PREFIX_BYTES, &k, &v, err);
    while (more && found == STORE_FOUND && mark_key_get(&k, &mark.tick)) {
        size_t bytes = v.bytes < MARK_TEXT_MAX ? v.bytes : MARK_TEXT_MAX;
        memcpy(mark.text, v.data, bytes);
        mark.text[bytes] = 0;
        more = fn(context, &mark);
        if (more)
            found = store_cursor_next(&c, &k, &v, err);
    }
    store_cursor_close(&c);
    return found != STORE_BAD;
}

/* How many marks there are at the tick of the one that is asked for. */
struct same_tick {
    uint64_t tick;
    uint32_t count;
};
static bool count_same(void *context, const struct mark *mark)
{
    struct same_tick *s = context;
    s->count += mark->tick == s->tick;
    return mark->tick <= s->tick;
}

static bool put_marks(struct session *s, const struct mark *marks,
                      unsigned count, struct error *err)
{
    struct store_batch b;
    bool ok = true;
    store_batch_init(&b);
    for (unsigned i = 0; ok && i < count; i++) {
        struct same_tick same = {.tick = marks[i].tick};
        uint8_t key[MARK_KEY_BYTES];
        ok = marks_each(s, count_same, &same, err);
        for (unsigned k = 0; k < i; k++)
            same.count += marks[k].tick == same.tick;
        mark_key(key, marks[i].tick, same.count);
        store_batch_put(&b, STORE_META, key, sizeof key, marks[i].text,
                        strlen(marks[i].text));
    }
    ok = ok && store_commit(s->store, &b, err);
    store_batch_fini(&b);
    return ok;
}

bool marks_add(const char *path, const struct mark *marks, unsigned count,
               struct error *err)
{
    struct session *s;
    if (!session_open_update(path, &s, err))
        return false;
    bool ok = put_marks(s, marks, count, err);
    session_close(s);
    return ok;
}
