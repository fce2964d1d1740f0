#include "host/input_script.h"

#include "host/blob.h"
#include "base/duration.h"
#include "base/hex.h"
#include "host/keymap.h"

#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 1024, MOVE_MAX = 10000 };

/* One line being read. */
struct line {
    const char *file;
    unsigned number;
    const char *at, *end;
};

/* A word or a quoted text, unescaped. */
struct word {
    char text[WORD_MAX];
    size_t bytes;
    bool is_quoted;
    bool is_end; /* nothing is left on the line */
};

static bool expected(const struct line *l, const char *what,
                     const struct word *found, struct error *err)
{
    if (found->is_end)
        return error_set(err, ERR_USAGE,
                         "%.300s:%u: expected %s, found the end of the line",
                         l->file, l->number, what);
    return error_set(err, ERR_USAGE, "%.300s:%u: expected %s, found '%.60s'",
                     l->file, l->number, what, found->text);
}

/* ---- words ----------------------------------------------------------------
 */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The character after a backslash; -1: no such escape. */
static int unescape(struct line *l)
{
    static const char from[] = "ntrbe\\\"'", to[] = "\n\t\r\b\x1b\\\"'";
    if (l->at == l->end)
        return -1;
    char c = *l->at++;
    const char *known = c ? strchr(from, c) : NULL;
    if (known)
        return (unsigned char)to[known - from];
    if (c != 'x' || l->end - l->at < 2)
        return -1;
    int high = hex_digit(l->at[0]), low = hex_digit(l->at[1]);
    l->at += 2;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool read_quoted(struct line *l, struct word *w, struct error *err)
{
    w->is_quoted = true;
    for (l->at++; l->at < l->end && *l->at != '"';) {
        int c = (unsigned char)*l->at++;
        if (c == '\\' && (c = unescape(l)) < 0)
            return error_set(err, ERR_USAGE,
                             "%.300s:%u: expected \\n \\t \\r \\b \\e \\\\ "
                             "\\\" or \\xHH after a backslash",
                             l->file, l->number);
        if (w->bytes == WORD_MAX - 1)
            return error_set(err, ERR_USAGE,
                             "%.300s:%u: expected a text of at most %d "
                             "characters, found a longer one",
                             l->file, l->number, WORD_MAX - 1);
        w->text[w->bytes++] = (char)c;
    }
    if (l->at == l->end)
        return error_set(err, ERR_USAGE,
                         "%.300s:%u: expected a closing quote, found the end "
                         "of the line",
                         l->file, l->number);
    l->at++;
    return true;
}

static bool next_word(struct line *l, struct word *w, struct error *err)
{
    memset(w, 0, sizeof *w);
    while (l->at < l->end && is_blank(*l->at))
        l->at++;
    w->is_end = l->at == l->end || *l->at == '#';
    if (w->is_end)
        return true;
    if (*l->at == '"')
        return read_quoted(l, w, err);
    while (l->at < l->end && !is_blank(*l->at)) {
        if (w->bytes == WORD_MAX - 1)
            return error_set(err, ERR_USAGE,
                             "%.300s:%u: expected words of at most %d "
                             "characters, found a longer one",
                             l->file, l->number, WORD_MAX - 1);
        w->text[w->bytes++] = *l->at++;
    }
    return true;
}

static bool is_word(const struct word *w, const char *text)
{
    return !w->is_quoted && !w->is_end && strcmp(w->text, text) == 0;
}

/* ---- arguments ------------------------------------------------------------
 */

static bool take_time(struct line *l, uint64_t *ns, struct error *err)
{
    struct word w;
    if (!next_word(l, &w, err))
        return false;
    if (w.is_end || w.is_quoted || !duration_parse(w.text, ns))
        return expected(l, "a time like 2.5s or 300ms", &w, err);
    return true;
}

static bool take_number(struct line *l, int limit, int *out, struct error *err)
{
    struct word w;
    char *end;
    if (!next_word(l, &w, err))
        return false;
    long v = strtol(w.text, &end, 10);
    if (w.is_end || w.is_quoted || *end || v < -limit || v > limit)
        return expected(l, "a whole number", &w, err);
    *out = (int)v;
    return true;
}

static bool keep_text(struct line *l, const struct word *w,
                      struct input_action *a, struct error *err)
{
    a->text = malloc(w->bytes + 1);
    if (!a->text)
        return error_set(err, ERR_NOMEM, "%.300s:%u: out of memory", l->file,
                         l->number);
    memcpy(a->text, w->text, w->bytes + 1);
    a->text_bytes = w->bytes;
    return true;
}

static bool take_text(struct line *l, struct input_action *a, struct error *err)
{
    struct word w;
    if (!next_word(l, &w, err))
        return false;
    if (!w.is_quoted || w.bytes == 0)
        return expected(l, "a text in double quotes", &w, err);
    return keep_text(l, &w, a, err);
}

static bool take_typed(struct line *l, struct input_action *a,
                       struct error *err)
{
    uint16_t key;
    bool shift;
    if (!take_text(l, a, err))
        return false;
    for (size_t i = 0; i < a->text_bytes; i++)
        if (!keymap_char(a->text[i], &key, &shift))
            return error_set(err, ERR_USAGE,
                             "%.300s:%u: expected characters of a US "
                             "keyboard, found byte 0x%02x",
                             l->file, l->number, (unsigned char)a->text[i]);
    return true;
}

static bool take_file(struct line *l, struct input_action *a, struct error *err)
{
    struct word w;
    if (!next_word(l, &w, err))
        return false;
    if (w.is_end || w.bytes == 0 || memchr(w.text, 0, w.bytes))
        return expected(l, "a file name", &w, err);
    return keep_text(l, &w, a, err);
}

static bool take_keys(struct line *l, struct input_action *a, struct error *err)
{
    struct word w;
    if (!next_word(l, &w, err))
        return false;
    if (w.is_end || w.is_quoted)
        return expected(l, "a key like enter or ctrl-alt-del", &w, err);
    for (const char *p = w.text;; p++) {
        size_t length = strcspn(p, "-");
        if (a->keys == INPUT_KEYS || !keymap_name(p, length, &a->key[a->keys]))
            return expected(l, "keys like ctrl-alt-del (see relive help input)",
                            &w, err);
        a->keys++;
        p += length;
        if (!*p)
            return true;
    }
}

static bool take_button(struct line *l, bool required, struct input_action *a,
                        struct error *err)
{
    static const char *const names[] = {"left", "right", "middle"};
    struct word w;
    if (!next_word(l, &w, err))
        return false;
    if (w.is_end && !required) {
        a->buttons = 7;
        return true;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (is_word(&w, names[i])) {
            a->buttons = 1u << i;
            return true;
        }
    }
    return expected(l, "left, right or middle", &w, err);
}

static bool take_drive(struct line *l, struct input_action *a,
                       struct error *err)
{
    struct word w;
    if (!next_word(l, &w, err))
        return false;
    if (!is_word(&w, "cdrom") && !is_word(&w, "floppy"))
        return expected(l, "cdrom or floppy", &w, err);
    a->drive = w.text[0] == 'f';
    return true;
}

/* ---- actions --------------------------------------------------------------
 */

static bool take_mouse(struct line *l, struct input_action *a,
                       struct error *err)
{
    struct word w;
    if (!next_word(l, &w, err))
        return false;
    if (is_word(&w, "move")) {
        a->kind = INPUT_MOUSE_MOVE;
        return take_number(l, MOVE_MAX, &a->dx, err) &&
               take_number(l, MOVE_MAX, &a->dy, err);
    }
    if (is_word(&w, "wheel")) {
        a->kind = INPUT_MOUSE_WHEEL;
        return take_number(l, 100, &a->dy, err);
    }
    if (is_word(&w, "down")) {
        a->kind = INPUT_MOUSE_DOWN;
        return take_button(l, true, a, err);
    }
    if (is_word(&w, "click")) {
        a->kind = INPUT_MOUSE_CLICK;
        return take_button(l, true, a, err);
    }
    if (is_word(&w, "up")) {
        a->kind = INPUT_MOUSE_UP;
        return take_button(l, false, a, err);
    }
    return expected(l, "mouse move, wheel, down, up or click", &w, err);
}

static bool take_wait(struct line *l, struct input_action *a, struct error *err)
{
    struct word w;
    if (!next_word(l, &w, err))
        return false;
    if (!is_word(&w, "serial") && !is_word(&w, "screen"))
        return expected(l, "wait serial or wait screen", &w, err);
    a->kind = w.text[1] == 'e' ? INPUT_WAIT_SERIAL : INPUT_WAIT_SCREEN;
    if (!take_text(l, a, err))
        return false;
    const char *before = l->at;
    if (!next_word(l, &w, err))
        return false;
    if (is_word(&w, "within"))
        return take_time(l, &a->within_ns, err);
    l->at = before;
    return true;
}

static bool take_insert(struct line *l, struct input_action *a,
                        struct error *err)
{
    return take_drive(l, a, err) && take_file(l, a, err);
}

static bool take_nothing(struct line *l, struct input_action *a,
                         struct error *err)
{
    (void)l;
    (void)a;
    (void)err;
    return true;
}

static const struct {
    const char *name;
    enum input_kind kind; /* mouse and wait choose among several */
    bool (*take)(struct line *l, struct input_action *a, struct error *err);
} verbs[] = {
    {"type", INPUT_TYPE, take_typed},
    {"key", INPUT_KEY, take_keys},
    {"press", INPUT_PRESS, take_keys},
    {"release", INPUT_RELEASE, take_keys},
    {"mouse", INPUT_MOUSE_MOVE, take_mouse},
    {"serial", INPUT_SERIAL, take_text},
    {"wait", INPUT_WAIT_SERIAL, take_wait},
    {"screenshot", INPUT_SCREENSHOT, take_file},
    {"power", INPUT_POWER, take_nothing},
    {"reset", INPUT_RESET, take_nothing},
    {"eject", INPUT_EJECT, take_drive},
    {"insert", INPUT_INSERT, take_insert},
    {"quit", INPUT_QUIT, take_nothing},
};

static bool take_verb(struct line *l, const struct word *w,
                      struct input_action *a, struct error *err)
{
    struct word rest;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (!is_word(w, verbs[i].name))
            continue;
        a->kind = verbs[i].kind;
        if (!verbs[i].take(l, a, err) || !next_word(l, &rest, err))
            return false;
        if (!rest.is_end)
            return expected(l, "the end of the line", &rest, err);
        return true;
    }
    return expected(l,
                    "an action (type, key, press, release, mouse, serial, "
                    "wait, screenshot, power, reset, eject, insert or quit)",
                    w, err);
}

/* True with a->line 0: the line is empty. */
static bool parse_line(struct line *l, struct input_action *a,
                       struct error *err)
{
    struct word w;
    if (!next_word(l, &w, err))
        return false;
    if (w.is_end)
        return true;
    a->line = l->number;
    if (is_word(&w, "at") || is_word(&w, "after")) {
        a->when = w.text[1] == 't' ? INPUT_AT : INPUT_AFTER;
        if (!take_time(l, &a->when_ns, err) || !next_word(l, &w, err))
            return false;
    }
    return take_verb(l, &w, a, err);
}

/* ---- the whole ------------------------------------------------------------
 */

static bool append(struct input_script *s, struct input_action *a,
                   uint64_t *last_at, struct error *err)
{
    if (a->when == INPUT_AT && a->when_ns < *last_at) {
        error_set(err, ERR_USAGE,
                  "%.300s:%u: expected times in ascending order, found one "
                  "before that of an earlier line",
                  s->name, a->line);
        free(a->text);
        return false;
    }
    if (a->when == INPUT_AT)
        *last_at = a->when_ns;
    if ((s->count & (s->count - 1)) == 0) { /* full at powers of two */
        size_t room = s->count ? 2 * s->count : 1;
        void *grown = realloc(s->actions, room * sizeof *s->actions);
        if (!grown) {
            free(a->text);
            return error_set(err, ERR_NOMEM, "%.300s: out of memory", s->name);
        }
        s->actions = grown;
    }
    s->actions[s->count++] = *a;
    return true;
}

static bool parse_lines(struct input_script *s, const char *text, size_t bytes,
                        struct error *err)
{
    struct line l = {.file = s->name};
    const char *end = text + bytes;
    uint64_t last_at = 0;
    for (const char *p = text; p < end; p = l.end + 1) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        struct input_action a = {0};
        l.number++;
        l.at = p;
        l.end = newline ? newline : end;
        if (!parse_line(&l, &a, err)) {
            free(a.text);
            return false;
        }
        if (a.line && !append(s, &a, &last_at, err))
            return false;
        if (!newline)
            break;
    }
    return true;
}

bool input_script_parse(const char *name, const char *text, size_t bytes,
                        struct input_script *out, struct error *err)
{
    memset(out, 0, sizeof *out);
    out->name = strdup(name);
    if (!out->name)
        return error_set(err, ERR_NOMEM, "%.300s: out of memory", name);
    if (parse_lines(out, text, bytes, err))
        return true;
    input_script_fini(out);
    return false;
}

bool input_script_read(const char *path, struct input_script *out,
                       struct error *err)
{
    void *text;
    size_t bytes;
    memset(out, 0, sizeof *out);
    if (!blob_read(path, INPUT_SCRIPT_MAX, &text, &bytes, err))
        return false;
    bool ok = input_script_parse(path, text, bytes, out, err);
    free(text);
    return ok;
}

void input_script_fini(struct input_script *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->actions[i].text);
    free(s->actions);
    free(s->name);
    memset(s, 0, sizeof *s);
}
