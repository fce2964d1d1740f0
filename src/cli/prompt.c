#include "cli/prompt.h"

#include "base/stream.h"
#include "cli/options.h"
#include "cli/signals.h"

#include <ctype.h>
#include <errno.h>
#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HISTORY_LINES = 1000 };

struct prompt {
    struct lua_vm *vm; /* borrowed */
    EditLine *edit;    /* owned; NULL: not a terminal */
    History *history;  /* owned */
    char file[1024];   /* of the history; "": none */
    struct writer text; /* lines of an unfinished statement */
    char *line;         /* owned; of getline() */
    size_t line_bytes;
    bool has_failed;
};

/* ---- libedit --------------------------------------------------------------
 */

static struct prompt *prompt_of(EditLine *edit)
{
    void *p = NULL;
    (void)el_get(edit, EL_CLIENTDATA, &p);
    return p;
}

static char *prompt_text(EditLine *edit)
{
    static char first[] = "relive> ", more[] = "     .> ";
    return prompt_of(edit)->text.used ? more : first;
}

struct candidates {
    struct writer list; /* one a line */
    char common[256];   /* their common beginning */
    unsigned count;
};

static void on_candidate(void *context, const char *text)
{
    struct candidates *c = context;
    size_t n = 0;
    if (c->count++ == 0)
        (void)snprintf(c->common, sizeof c->common, "%s", text);
    while (c->common[n] && c->common[n] == text[n])
        n++;
    c->common[n] = 0;
    writer_bytes(&c->list, text, strlen(text));
    writer_u8(&c->list, '\n');
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == ':';
}

/* Insert what all candidates share, or list them. */
static unsigned char on_tab(EditLine *edit, int key)
{
    char word[256];
    struct candidates c = {.count = 0};
    const LineInfo *line = el_line(edit);
    const char *begin = line->cursor;
    (void)key;
    while (begin > line->buffer && is_name_char(begin[-1]))
        begin--;
    size_t length = (size_t)(line->cursor - begin);
    if (length >= sizeof word)
        return CC_NORM;
    memcpy(word, begin, length);
    word[length] = 0;
    writer_init(&c.list);
    lua_vm_complete(prompt_of(edit)->vm, word, on_candidate, &c);
    unsigned char what = CC_ERROR;
    if (c.count > 0 && strlen(c.common) > length) {
        what = el_insertstr(edit, c.common + length) == 0 ? CC_REFRESH
                                                          : CC_ERROR;
    } else if (c.count > 1 && !c.list.failed) {
        (void)printf("\n%.*s", (int)c.list.used, (const char *)c.list.data);
        what = CC_REDISPLAY;
    }
    writer_fini(&c.list);
    return what;
}

static void load_history(struct prompt *p)
{
    HistEvent event;
    const char *home = getenv("HOME");
    p->history = history_init();
    if (!p->history)
        return;
    (void)history(p->history, &event, H_SETSIZE, HISTORY_LINES);
    (void)history(p->history, &event, H_SETUNIQUE, 1);
    if (home && strlen(home) < sizeof p->file - 20) {
        (void)snprintf(p->file, sizeof p->file, "%s/.relive_history", home);
        (void)history(p->history, &event, H_LOAD, p->file);
    }
    (void)el_set(p->edit, EL_HIST, history, p->history);
}

static void open_edit(struct prompt *p)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return;
    p->edit = el_init("relive", stdin, stdout, stderr);
    if (!p->edit)
        return;
    (void)el_set(p->edit, EL_CLIENTDATA, p);
    (void)el_set(p->edit, EL_PROMPT, prompt_text);
    (void)el_set(p->edit, EL_EDITOR, "emacs");
    (void)el_set(p->edit, EL_SIGNAL, 0);
    (void)el_set(p->edit, EL_ADDFN, "relive-complete", "complete a name",
                 on_tab);
    (void)el_set(p->edit, EL_BIND, "\t", "relive-complete", NULL);
    (void)el_set(p->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    load_history(p);
}

static void close_edit(struct prompt *p)
{
    HistEvent event;
    if (p->history && p->file[0])
        (void)history(p->history, &event, H_SAVE, p->file);
    if (p->edit)
        el_end(p->edit);
    if (p->history)
        history_end(p->history);
}

/* ---- lines ----------------------------------------------------------------
 */

/* The next line, with its newline; NULL at the end, or for Ctrl-C. */
static const char *next_line(struct prompt *p)
{
    int count;
    HistEvent event;
    if (!p->edit)
        return getline(&p->line, &p->line_bytes, stdin) < 0 ? NULL : p->line;
    const char *line = el_gets(p->edit, &count);
    if (!line || count <= 0)
        return NULL;
    if (p->history && line[0] != '\n')
        (void)history(p->history, &event, H_ENTER, line);
    return line;
}

/* False: the prompt has ended. */
static bool run_line(struct prompt *p, const char *line, int *status)
{
    struct error err;
    writer_bytes(&p->text, line, strlen(line));
    writer_u8(&p->text, 0);
    if (p->text.failed) {
        cli_warn("out of memory");
        return false;
    }
    switch (lua_vm_run_text(p->vm, (const char *)p->text.data, "=prompt",
                            &err)) {
    case LUA_VM_EXIT:
        *status = lua_vm_status(p->vm);
        return false;
    case LUA_VM_PARTIAL:
        p->text.used--; /* the line goes on */
        return true;
    case LUA_VM_FAILED:
        (void)fflush(stdout);
        (void)cli_fail(&err);
        p->has_failed = true;
        break;
    case LUA_VM_OK:
        break;
    }
    (void)fflush(stdout);
    writer_reset(&p->text);
    return true;
}

int prompt_run(struct lua_vm *vm)
{
    struct prompt p = {.vm = vm};
    int status = STATUS_OK;
    const char *line;
    writer_init(&p.text);
    open_edit(&p);
    if (p.edit)
        (void)printf("relive query: 'exit()' or Ctrl-D ends, Tab completes; "
                     "relive help lua lists what there is\n");
    for (;;) {
        line = next_line(&p);
        if (!line && !signals_arrived())
            break;
        if (line && !run_line(&p, line, &status))
            break;
        if (!line) {
            writer_reset(&p.text);
            (void)printf("\n");
        }
        signals_forget();
        if (!p.edit && !line)
            break;
    }
    if (p.edit && !line)
        (void)printf("\n");
    if (!p.edit && p.has_failed && status == STATUS_OK)
        status = STATUS_BAD;
    close_edit(&p);
    writer_fini(&p.text);
    free(p.line);
    return status;
}
