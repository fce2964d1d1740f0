#include "replay/explain.h"

#include "replay/snapshot.h"

#include <stdio.h>

bool explain_difference(struct replayer *r, uint64_t *tick, char *text,
                        size_t text_bytes)
{
    struct error err;
    const struct replay_report *report = replayer_report(r);
    struct store *store = replayer_session(r)->store;
    *tick = report->first_bad_tick;
    if (!report->difference[0]) {
        if (snapshot_ceiling(store, *tick, tick, &err) != STORE_FOUND)
            return false;
        replayer_set_verify(r, false);
        enum replay_stop stop = replayer_run(r, *tick, &err);
        if (stop != REPLAY_UNTIL ||
            replayer_meet_snapshot(r, &err) != REPLAY_DIVERGED)
            return false;
    }
    (void)snprintf(text, text_bytes, "%s", report->difference);
    return text[0] != 0;
}

bool explain_agrees(struct replayer *r, uint64_t last_good, uint64_t first_bad,
                    bool *is_known)
{
    struct error err;
    replayer_set_verify(r, true);
    *is_known = replayer_seek(r, last_good, &err);
    if (!*is_known)
        return false;
    enum replay_stop stop = replayer_run(r, first_bad, &err);
    *is_known = stop == REPLAY_UNTIL || stop == REPLAY_END ||
                stop == REPLAY_TORN || stop == REPLAY_DIVERGED;
    return stop != REPLAY_DIVERGED;
}
