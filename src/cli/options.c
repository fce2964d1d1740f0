#include "cli/options.h"

#include "base/duration.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPTIONS_MAX = 64,
    HELP_COLUMN = 28,
    HELP_WIDTH = 80,
    VALUE_FIRST = 1000 /* getopt's code of the first row */
};

/* ---- printing -------------------------------------------------------------
 */

void cli_warn(const char *text)
{
    (void)fputs("relive: ", stderr);
    for (const char *p = text; *p; p++)
        (void)fputc((unsigned char)*p < 0x20 ? '?' : *p, stderr);
    (void)fputc('\n', stderr);
}

int cli_fail(const struct error *err)
{
    cli_warn(err->text);
    return STATUS_BAD;
}

/* Words of `text` in lines that end before column HELP_WIDTH; the cursor
 * stands at HELP_COLUMN. */
static void help_text(const char *text)
{
    size_t column = HELP_COLUMN;
    while (*text) {
        size_t length = strcspn(text, " ");
        if (column > HELP_COLUMN && column + 1 + length > HELP_WIDTH) {
            (void)printf("\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            (void)putchar(' ');
            column++;
        }
        (void)printf("%.*s", (int)length, text);
        column += length;
        text += length;
        text += strspn(text, " ");
    }
    (void)putchar('\n');
}

static void help_rows(const struct option_row *rows)
{
    for (; rows->name; rows++) {
        char left[80];
        char letter[8] = "    ";
        if (rows->letter)
            (void)snprintf(letter, sizeof letter, "-%c, ", rows->letter);
        (void)snprintf(left, sizeof left, "  %s--%s%s%s", letter, rows->name,
                       rows->arg ? " " : "", rows->arg ? rows->arg : "");
        if (strlen(left) < HELP_COLUMN)
            (void)printf("%-*s", HELP_COLUMN, left);
        else
            (void)printf("%s\n%*s", left, HELP_COLUMN, "");
        help_text(rows->help);
    }
}

void options_help(const struct command *c)
{
    (void)printf("usage: relive %s %s\n\n%s\n", c->name, c->synopsis,
                 c->details);
    (void)printf("\nOptions:\n");
    for (unsigned i = 0; c->groups[i]; i++)
        help_rows(c->groups[i]);
    (void)printf("%-*s%s\n", HELP_COLUMN, "      --help", "show this text");
}

/* ---- ticks ----------------------------------------------------------------
 */

bool tick_option_parse(struct tick_option *t, const char *name,
                       const char *text, struct error *err)
{
    char *end;
    t->is_given = true;
    t->is_time = duration_parse(text, &t->value);
    if (t->is_time)
        return true;
    errno = 0;
    t->value = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && !*end && errno == 0)
        return true;
    return error_set(err, ERR_USAGE,
                     "--%s: expected a tick like 1000000 or a guest time like "
                     "2.5s, found '%.100s'",
                     name, text);
}

uint64_t tick_option_ticks(const struct tick_option *t, uint32_t cpu_mhz,
                           uint64_t otherwise)
{
    if (!t->is_given)
        return otherwise;
    return t->is_time ? duration_ticks(t->value, cpu_mhz) : t->value;
}

/* ---- setters that several commands' tables name ----------------------------
 */

bool take_from(struct cli_options *o, const char *v, struct error *err)
{
    return tick_option_parse(&o->from, "from", v, err);
}

bool take_to(struct cli_options *o, const char *v, struct error *err)
{
    return tick_option_parse(&o->to, "to", v, err);
}

bool take_json(struct cli_options *o, const char *v, struct error *err)
{
    (void)v;
    (void)err;
    o->json = true;
    return true;
}

bool take_output(struct cli_options *o, const char *v, struct error *err)
{
    (void)err;
    o->output = v;
    return true;
}

bool take_every(struct cli_options *o, const char *v, struct error *err)
{
    char *end;
    o->every = strtoull(v, &end, 10);
    return (v[0] >= '1' && v[0] <= '9' && !*end) ||
           error_set(err, ERR_USAGE,
                     "--every: expected a number of ticks from 1, found "
                     "'%.100s'",
                     v);
}

/* ---- parsing --------------------------------------------------------------
 */

/* The command's rows as getopt wants them. */
struct getopt_table {
    struct option longs[OPTIONS_MAX + 1];
    const struct option_row *rows[OPTIONS_MAX];
    char letters[2 * OPTIONS_MAX + 4];
};

static void build(const struct command *c, struct getopt_table *t)
{
    unsigned n = 0;
    char *letter = t->letters;
    memset(t, 0, sizeof *t);
    /* '-': words that are no options come as they stand, so that what follows
     * a script is left to it. */
    if (c->takes_script)
        *letter++ = '-';
    *letter++ = ':';
    *letter++ = 'h';
    for (unsigned g = 0; c->groups[g]; g++) {
        for (const struct option_row *r = c->groups[g]; r->name; r++) {
            if (n == OPTIONS_MAX - 1)
                return;
            t->rows[n] = r;
            t->longs[n] = (struct option){.name = r->name,
                                          .has_arg = r->arg ? required_argument
                                                            : no_argument,
                                          .val = VALUE_FIRST + (int)n};
            n++;
            if (r->letter) {
                *letter++ = r->letter;
                *letter++ = ':';
            }
        }
    }
    t->longs[n] = (struct option){.name = "help", .val = 'h'};
}

static const struct option_row *row_of(const struct getopt_table *t, int code)
{
    if (code >= VALUE_FIRST)
        return t->rows[code - VALUE_FIRST];
    for (unsigned i = 0; t->rows[i]; i++)
        if (t->rows[i]->letter == code)
            return t->rows[i];
    return NULL;
}

static bool bad_option(const struct command *c, int code, const char *word,
                       struct error *err)
{
    if (code == ':')
        return error_set(err, ERR_USAGE,
                         "%s: option '%.100s' expects a value (see relive %s "
                         "--help)",
                         c->name, word, c->name);
    return error_set(err, ERR_USAGE,
                     "%s: unknown option '%.100s' (see relive %s --help)",
                     c->name, word, c->name);
}

static bool take_arguments(const struct command *c, int count, char **words,
                           struct cli_options *o, struct error *err)
{
    if (c->takes_session && !o->session && count > 0) {
        o->session = *words++;
        count--;
    }
    if (c->takes_other && count > 0) {
        o->other = *words++;
        count--;
    }
    if (count > 0)
        return error_set(err, ERR_USAGE,
                         "%s: unexpected argument '%.100s' (see relive %s "
                         "--help)",
                         c->name, *words, c->name);
    if (c->takes_session && !o->session)
        return error_set(err, ERR_USAGE,
                         "%s: expected a SESSION (see relive %s --help)",
                         c->name, c->name);
    if (c->takes_other && !o->other)
        return error_set(err, ERR_USAGE,
                         "%s: expected two sessions (see relive %s --help)",
                         c->name, c->name);
    return true;
}

/* A word that is no option, where a script may come: true when it was one. */
static bool take_script(struct cli_options *o, int argc, char **argv)
{
    if (!o->session) {
        o->session = optarg;
        return false;
    }
    o->script = optarg;
    o->script_words = argv + optind;
    o->script_count = argc - optind;
    return true;
}

enum parse_result options_parse(const struct command *c, int argc, char **argv,
                                struct cli_options *o, struct error *err)
{
    struct getopt_table table;
    int code;
    memset(o, 0, sizeof *o);
    machine_config_init(&o->config);
    build(c, &table);
    opterr = 0;
    optind = 1;
    while ((code = getopt_long(argc, argv, table.letters, table.longs, NULL)) !=
           -1) {
        if (code == 'h')
            return PARSE_HELP;
        if (code == 1) {
            if (take_script(o, argc, argv))
                return PARSE_OK;
            continue;
        }
        const struct option_row *row =
            code == '?' || code == ':' ? NULL : row_of(&table, code);
        if (!row) {
            /* Inside "-xyz", optind still points at the word. */
            char letter[3] = {'-', (char)optopt, 0};
            bool is_letter = optopt > 0 && optopt < 128;
            (void)bad_option(c, code, is_letter ? letter : argv[optind - 1],
                             err);
            return PARSE_BAD;
        }
        if (!row->take(o, optarg, err))
            return PARSE_BAD;
    }
    if (!take_arguments(c, argc - optind, argv + optind, o, err))
        return PARSE_BAD;
    return PARSE_OK;
}
