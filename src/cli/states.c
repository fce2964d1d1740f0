/* relive states: answers questions about the states of a session, for a bisect
 * that compares this program with another one, or two engines of it. */
#include "cli/states.h"
#include "base/bytes.h"
#include "cli/commands.h"
#include "cli/replay.h"
#include "cli/version.h"
#include "mem/phys.h"
#include "replay/station.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool put_bytes(const struct writer *w, struct error *err)
{
    if (w->failed)
        return error_set(err, ERR_NOMEM, "no memory for an answer");
    (void)printf("bytes %zu\n", w->used);
    return fwrite(w->data, 1, w->used, stdout) == w->used ||
           error_set(err, ERR_IO, "cannot write an answer");
}

static bool answer_run(struct station *s, const char *words, struct error *err)
{
    struct stretch w;
    struct station_mark marks[STATION_MARKS_MAX];
    unsigned count;
    if (sscanf(words, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %u",
               &w.start, &w.from, &w.to, &w.every, &w.block) != 5 ||
        w.start > w.from || w.from > w.to)
        return error_set(err, ERR_USAGE,
                         "run: expected START <= FROM <= TO, EVERY and BLOCK, "
                         "found '%.100s'",
                         words);
    if (!station_run(s, &w, marks, &count, err))
        return false;
    (void)printf("marks %u\n", count);
    for (unsigned i = 0; i < count; i++) {
        (void)printf("%" PRIu64 " ", marks[i].tick);
        for (unsigned k = 0; k < STATION_HASH_BYTES; k++)
            (void)printf("%02x", marks[i].hash[k]);
        (void)printf("\n");
    }
    return true;
}

static bool frame(struct station *s, const char *words, struct writer *w,
                  struct error *err)
{
    const uint8_t *contents;
    uint64_t paddr;
    uint32_t number;
    if (sscanf(words, "%" SCNu32, &number) != 1 ||
        !station_frame(s, number, &contents, &paddr))
        return error_set(err, ERR_USAGE,
                         "frame: expected the number of a frame, found "
                         "'%.100s'",
                         words);
    writer_u64(w, paddr);
    writer_bytes(w, contents, PAGE_BYTES);
    return true;
}

static bool code(struct station *s, const char *words, struct writer *w,
                 struct error *err)
{
    uint64_t to;
    unsigned most;
    if (sscanf(words, "%" SCNu64 " %u", &to, &most) != 2)
        return error_set(err, ERR_USAGE,
                         "code: expected TO and MOST, found '%.100s'", words);
    return station_code(s, to, most, w, err);
}

static bool answer(struct station *s, const char *line, struct error *err)
{
    char name[16];
    int used = 0;
    struct writer w;
    if (sscanf(line, "%15s%n", name, &used) != 1)
        return error_set(err, ERR_USAGE, "expected a question");
    if (strcmp(name, "run") == 0)
        return answer_run(s, line + used, err);
    writer_init(&w);
    bool ok = true;
    if (strcmp(name, "devices") == 0)
        station_devices(s, &w);
    else if (strcmp(name, "frames") == 0)
        station_frames(s, &w);
    else if (strcmp(name, "layers") == 0)
        station_layers(s, &w);
    else if (strcmp(name, "frame") == 0)
        ok = frame(s, line + used, &w, err);
    else if (strcmp(name, "code") == 0)
        ok = code(s, line + used, &w, err);
    else
        ok = error_set(err, ERR_USAGE,
                       "expected run, devices, frames, layers, frame or code, "
                       "found '%.15s'",
                       name);
    ok = ok && put_bytes(&w, err);
    writer_fini(&w);
    return ok;
}

static void serve(struct station *s)
{
    char line[STATES_LINE];
    struct error err;
    (void)printf("%s %s\n", STATES_HELLO, RELIVE_BUILD);
    (void)fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (!answer(s, line, &err))
            (void)printf("error %s\n", err.text);
        (void)fflush(stdout);
    }
}

static int answer_all(struct replay *r, const struct cli_options *o)
{
    struct error err;
    struct station *s = NULL;
    if (replay_open(r, o, &err))
        s = station_new(r->replayer, r->setup.machine, &err);
    if (!s)
        return cli_fail(&err);
    serve(s);
    station_free(s);
    return STATUS_OK;
}

static int run(const struct cli_options *o)
{
    return replay_command(o, answer_all);
}

const struct command command_states = {
    .name = "states",
    .synopsis = "SESSION [OPTIONS]",
    .summary = "answer questions about states, for bisect and diff",
    .details =
        "Read questions from standard input, a line each, and answer them: "
        "what\nrelive bisect and relive diff ask of the programs that they "
        "compare.\n\n"
        "  run START FROM TO EVERY BLOCK\n"
        "             from the state at tick START run to FROM, then to TO, "
        "and\n"
        "             look at every EVERYth tick (0: at TO alone); at most "
        "BLOCK\n"
        "             instructions to a block (0: as ever). Answer: 'marks "
        "N',\n"
        "             then N lines of a tick and the hash of all seen so far\n"
        "  devices, frames, layers, frame N, code TO MOST\n"
        "             about the state that the last run ended in. Answer: "
        "'bytes N'\n"
        "             and N bytes\n\n"
        "'error SENTENCE' is the answer to what cannot be answered.",
    .groups = {engine_options, media_options},
    .takes_session = true,
    .run = run,
};
