/* A session at a glance: what was on the screen and on the serial line, what the
 * guest did and how fast, as one HTML page that needs nothing else. */
#ifndef RELIVE_ANALYSIS_REPORT_H
#define RELIVE_ANALYSIS_REPORT_H

#include "base/error.h"
#include "base/stream.h"
#include "dev/display.h"
#include "replay/travel.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* What the program around offers; analysis knows no clock and no images. */
struct report_host {
    void *context;
    uint64_t (*now_ns)(void *context);
    /* The picture as a PNG, appended. */
    bool (*png)(void *context, const struct screen *screen,
                struct writer *out, struct error *err);
};

struct report_options {
    const char *path;  /* of the session, as commands name it */
    unsigned points;   /* of the time line, 2..2000 */
    unsigned pictures; /* of the screen, at most; 0: none */
};

/* Runs through the session (three times: to look, for interrupts, for
 * exceptions) and then looks for a crash. A new object; the caller drops it.
 * NULL: err, also when the travel's poll function said to stop. */
json_t *report_gather(struct travel *t, const struct report_options *o,
                      const struct report_host *host, struct error *err);

/* ---- report_page.c
 * ------------------------------------------------------------------------ */

/* The page that shows it. False: out of memory. */
bool report_page(const json_t *report, struct writer *out);

#endif
