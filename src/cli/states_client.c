#include "cli/states_client.h"

#include "cli/states.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MAX = 32, ANSWER_MAX = 1 << 30 };

/* ---- asking and reading -----------------------------------------------------
 */

/* It answers no more. */
static bool lost(struct states_client *c, struct error *err)
{
    int status = 0;
    bool is_known = c->pid > 0 && waitpid(c->pid, &status, 0) == c->pid;
    c->pid = 0;
    c->has_spoken = is_known && WIFEXITED(status) && WEXITSTATUS(status) == 2;
    if (is_known && WIFSIGNALED(status))
        return error_set(err, ERR_IO, "%.200s: ended by signal %d", c->name,
                         WTERMSIG(status));
    return error_set(err, ERR_IO,
                     "%.200s: expected a program that knows 'relive states', "
                     "found one that ended with status %d",
                     c->name, is_known ? WEXITSTATUS(status) : -1);
}

static bool ask(struct states_client *c, struct error *err, const char *format,
                ...) __attribute__((format(printf, 3, 4)));
static bool ask(struct states_client *c, struct error *err, const char *format,
                ...)
{
    va_list args;
    va_start(args, format);
    bool ok = vfprintf(c->to, format, args) > 0 && fflush(c->to) == 0;
    va_end(args);
    return ok || lost(c, err);
}

static bool read_line(struct states_client *c, char line[STATES_LINE],
                      struct error *err)
{
    if (!fgets(line, STATES_LINE, c->from))
        return lost(c, err);
    line[strcspn(line, "\n")] = 0;
    if (strncmp(line, "error ", 6) == 0)
        return error_set(err, ERR_INPUT, "%.100s: %.400s", c->name, line + 6);
    return true;
}

static bool bad_answer(const struct states_client *c, const char *line,
                       struct error *err)
{
    return error_set(err, ERR_INPUT,
                     "%.200s: not an answer of relive states: '%.100s'",
                     c->name, line);
}

static bool read_count(struct states_client *c, const char *word, size_t most,
                       size_t *count, struct error *err)
{
    char line[STATES_LINE];
    size_t length = strlen(word);
    if (!read_line(c, line, err))
        return false;
    if (strncmp(line, word, length) != 0 ||
        sscanf(line + length, "%zu", count) != 1 || *count > most)
        return bad_answer(c, line, err);
    return true;
}

static bool read_bytes(struct states_client *c, struct writer *out,
                       struct error *err)
{
    size_t left;
    uint8_t piece[8192];
    if (!read_count(c, "bytes ", ANSWER_MAX, &left, err))
        return false;
    while (left > 0) {
        size_t n = left < sizeof piece ? left : sizeof piece;
        if (fread(piece, 1, n, c->from) != n)
            return lost(c, err);
        writer_bytes(out, piece, n);
        left -= n;
    }
    return !out->failed || error_set(err, ERR_NOMEM, "no memory for an answer");
}

/* ---- the side's calls -------------------------------------------------------
 */

static bool begin_run(void *context, const struct stretch *w, struct error *err)
{
    return ask(context, err,
               "run %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %u\n",
               w->start, w->from, w->to, w->every, w->block);
}

static bool parse_mark(const char *line, struct station_mark *mark)
{
    int used = 0;
    if (sscanf(line, "%" SCNu64 " %n", &mark->tick, &used) != 1 || used == 0)
        return false;
    for (unsigned i = 0; i < STATION_HASH_BYTES; i++)
        if (sscanf(line + used + 2 * i, "%2hhx", &mark->hash[i]) != 1)
            return false;
    return true;
}

static bool end_run(void *context, struct station_mark marks[STATION_MARKS_MAX],
                    unsigned *count, struct error *err)
{
    struct states_client *c = context;
    char line[STATES_LINE];
    size_t n;
    if (!read_count(c, "marks ", STATION_MARKS_MAX, &n, err))
        return false;
    *count = (unsigned)n;
    for (size_t i = 0; i < n; i++)
        if (!read_line(c, line, err))
            return false;
        else if (!parse_mark(line, &marks[i]))
            return bad_answer(c, line, err);
    return true;
}

static bool devices(void *context, struct writer *out, struct error *err)
{
    return ask(context, err, "devices\n") && read_bytes(context, out, err);
}

static bool frames(void *context, struct writer *out, struct error *err)
{
    return ask(context, err, "frames\n") && read_bytes(context, out, err);
}

static bool layers(void *context, struct writer *out, struct error *err)
{
    return ask(context, err, "layers\n") && read_bytes(context, out, err);
}

static bool frame(void *context, uint32_t number, struct writer *out,
                  struct error *err)
{
    return ask(context, err, "frame %u\n", number) &&
           read_bytes(context, out, err);
}

static bool code(void *context, uint64_t to, unsigned most, struct writer *out,
                 struct error *err)
{
    return ask(context, err, "code %" PRIu64 " %u\n", to, most) &&
           read_bytes(context, out, err);
}

/* ---- life -------------------------------------------------------------------
 */

static void become(const char *program, const char *session,
                   const char *const *args, int in, int out)
{
    const char *argv[ARGS_MAX + 1] = {program, "states", session};
    unsigned n = 3;
    while (*args && n < ARGS_MAX)
        argv[n++] = *args++;
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0)
        _exit(127);
    (void)execvp(program, (char *const *)argv);
    (void)fprintf(stderr, "relive: %s: %s\n", program, strerror(errno));
    _exit(2);
}

static bool start(struct states_client *c, const char *program,
                  const char *session, const char *const *args,
                  struct error *err)
{
    int down[2], up[2];
    if (pipe2(down, O_CLOEXEC) != 0)
        return error_set(err, ERR_IO, "cannot make a pipe: %s",
                         strerror(errno));
    if (pipe2(up, O_CLOEXEC) != 0) {
        (void)close(down[0]);
        (void)close(down[1]);
        return error_set(err, ERR_IO, "cannot make a pipe: %s",
                         strerror(errno));
    }
    (void)fflush(NULL);
    c->pid = fork();
    if (c->pid == 0)
        become(program, session, args, down[0], up[1]);
    (void)close(down[0]);
    (void)close(up[1]);
    c->to = fdopen(down[1], "w");
    c->from = fdopen(up[0], "r");
    if (!c->to)
        (void)close(down[1]);
    if (!c->from)
        (void)close(up[0]);
    if (c->pid > 0 && c->to && c->from)
        return true;
    return error_set(err, ERR_IO, "%.200s: cannot start: %s", program,
                     strerror(errno));
}

bool states_client_open(struct states_client *c, const char *name,
                        const char *program, const char *session,
                        const char *const *args, struct error *err)
{
    char line[STATES_LINE];
    size_t hello = strlen(STATES_HELLO);
    *c = (struct states_client){
        .name = name,
        .side = {c, begin_run, end_run, devices, frames, frame, layers, code}};
    (void)signal(SIGPIPE, SIG_IGN);
    if (!start(c, program, session, args, err) || !read_line(c, line, err))
        return false;
    if (strncmp(line, STATES_HELLO, hello) != 0)
        return bad_answer(c, line, err);
    (void)snprintf(c->build, sizeof c->build, "%.190s", line + hello + 1);
    return true;
}

void states_client_close(struct states_client *c)
{
    if (c->to)
        (void)fclose(c->to);
    if (c->from)
        (void)fclose(c->from);
    if (c->pid > 0)
        (void)waitpid(c->pid, NULL, 0);
    c->to = c->from = NULL;
    c->pid = 0;
}
