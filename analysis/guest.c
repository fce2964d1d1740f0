#include "analysis/guest_internal.h"
#include "analysis/pdb.h"

#include <stdlib.h>
#include <string.h>

struct guest {
    struct guest_memory memory;
    const struct guest_reader *reader; /* NULL: unknown */
    void *state;                       /* owned, the reader's */
    char *pdb;                         /* owned; NULL: none */
};

static const struct guest_reader *const readers[] = {&guest_windows,
                                              &guest_linux};
enum { READERS = sizeof readers / sizeof readers[0] };

struct guest *guest_new(void)
{
    return calloc(1, sizeof(struct guest));
}

static void forget(struct guest *g)
{
    if (g->reader)
        g->reader->drop(g->state);
    g->reader = NULL;
    g->state = NULL;
}

void guest_free(struct guest *g)
{
    if (!g)
        return;
    forget(g);
    free(g->pdb);
    free(g);
}

bool guest_set_pdb(struct guest *g, const char *path, struct error *err)
{
    struct pdb *pdb = pdb_open_file(path, err);
    if (!pdb)
        return false;
    pdb_close(pdb);
    char *copy = strdup(path);
    if (!copy)
        return error_set(err, ERR_NOMEM, "%s: out of memory", path);
    forget(g);
    free(g->pdb);
    g->pdb = copy;
    return true;
}

enum guest_os guest_look(struct guest *g, const struct guest_memory *memory)
{
    g->memory = *memory;
    if (g->reader && g->reader->keep(g->state, &g->memory, g->pdb))
        return g->reader->os;
    forget(g);
    for (unsigned i = 0; i < READERS; i++) {
        g->state = readers[i]->find(&g->memory, g->pdb);
        if (g->state) {
            g->reader = readers[i];
            return g->reader->os;
        }
    }
    return GUEST_UNKNOWN;
}

enum guest_os guest_os(const struct guest *g)
{
    return g->reader ? g->reader->os : GUEST_UNKNOWN;
}

const char *guest_os_name(enum guest_os os)
{
    static const char *const names[] = {[GUEST_UNKNOWN] = "unknown",
                                        [GUEST_LINUX] = "linux",
                                        [GUEST_WINDOWS] = "windows"};
    return names[os];
}

const char *guest_version(const struct guest *g)
{
    return g->reader ? g->reader->version(g->state) : "";
}

uint64_t guest_kernel_root(const struct guest *g)
{
    return g->reader ? g->reader->kernel_root(g->state) : 0;
}

const struct symbols *guest_symbols(const struct guest *g)
{
    return g->reader ? g->reader->symbols(g->state) : NULL;
}

void guest_processes(struct guest *g, guest_process_fn *fn, void *context)
{
    if (g->reader)
        g->reader->processes(g->state, &g->memory, fn, context);
}

void guest_threads(struct guest *g, const struct guest_process *p,
                   guest_thread_fn *fn, void *context)
{
    if (g->reader)
        g->reader->threads(g->state, &g->memory, p, fn, context);
}

void guest_modules(struct guest *g, guest_module_fn *fn, void *context)
{
    if (g->reader)
        g->reader->modules(g->state, &g->memory, fn, context);
}

bool guest_current(struct guest *g, struct guest_process *p,
                   struct guest_thread *t)
{
    return g->reader && g->reader->current(g->state, &g->memory, p, t);
}

bool guest_syscall_name(struct guest *g, unsigned number, char *name,
                        size_t bytes)
{
    return g->reader && g->reader->syscall_name(g->state, &g->memory, number,
                                                name, bytes);
}
