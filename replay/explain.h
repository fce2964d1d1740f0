/* What a replay that has diverged from its recording differs in. */
#ifndef RELIVE_REPLAY_EXPLAIN_H
#define RELIVE_REPLAY_EXPLAIN_H

#include "replay/replayer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Behind a digest that differed (REPLAY_DIVERGED). A digest says that something
 * is different, a snapshot what: run on to the next one. *tick: its tick; text:
 * the first register, chip, frame or disk block that differs there. False:
 * there is none, or nothing differs any more. Moves the machine. */
bool explain_difference(struct replayer *r, uint64_t *tick, char *text,
                        size_t text_bytes);

/* Does the machine, as it runs code now, give what was recorded from last_good
 * to first_bad? Moves it. False in *is_known: there is no way to tell. */
bool explain_agrees(struct replayer *r, uint64_t last_good, uint64_t first_bad,
                    bool *is_known);

#endif
