/* Marks: notes that a user leaves at ticks of a session. They are beside the
 * recording, which stays what it is.
 *
 *   meta   key "mark/", tick u64, index u32    value: text, UTF-8 by custom */
#ifndef RELIVE_REPLAY_MARK_H
#define RELIVE_REPLAY_MARK_H

#include "base/error.h"
#include "replay/session.h"

#include <stdbool.h>
#include <stdint.h>

enum { MARK_TEXT_MAX = 1000 };

struct mark {
    uint64_t tick;
    char text[MARK_TEXT_MAX + 1];
};

/* In the order of ticks; fn returns false to stop. */
typedef bool mark_fn(void *context, const struct mark *mark);
bool marks_each(const struct session *s, mark_fn *fn, void *context,
                struct error *err);

/* Add to a session that nobody has open: all or nothing. */
bool marks_add(const char *path, const struct mark *marks, unsigned count,
               struct error *err);

/* Is it the key of a mark? Then *tick is set. */
bool mark_key_get(const struct store_bytes *k, uint64_t *tick);

#endif
