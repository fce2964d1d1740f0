/* A guest's memory as guest knowledge walks it: Windows images with edited page
 * tables, lists, names and registers. Every walk must end and stay inside. */
#include "analysis/guest.h"
#include "analysis/unwind.h"
#include "lib_fuzz.h"
#include "lib_fuzz_windows.h"

#include <string.h>

struct walk {
    struct guest *g;
    unsigned lists;
};

static bool see_thread(void *context, const struct guest_thread *t)
{
    struct walk *w = context;
    if (strnlen(t->name, sizeof t->name) == sizeof t->name)
        fuzz_fail("a name without an end");
    return ++w->lists < 10000;
}

static bool see_process(void *context, const struct guest_process *p)
{
    struct walk *w = context;
    if (strnlen(p->name, sizeof p->name) == sizeof p->name)
        fuzz_fail("a name without an end");
    guest_threads(w->g, p, see_thread, w);
    return ++w->lists < 10000;
}

static bool see_module(void *context, const struct guest_module *m)
{
    struct walk *w = context;
    if (strnlen(m->name, sizeof m->name) == sizeof m->name ||
        strnlen(m->path, sizeof m->path) == sizeof m->path)
        fuzz_fail("a name without an end");
    return ++w->lists < 10000;
}

static void look(struct guest *g, const struct guest_memory *m)
{
    struct walk w = {.g = g};
    struct guest_process p;
    struct guest_thread t;
    struct unwind_frame frames[UNWIND_MAX];
    char name[GUEST_NAME_BYTES];
    (void)guest_look(g, m);
    guest_processes(g, see_process, &w);
    guest_modules(g, see_module, &w);
    (void)guest_current(g, &p, &t);
    (void)guest_syscall_name(g, 0x52, name, sizeof name);
    if (unwind(g, m, frames, UNWIND_MAX) > UNWIND_MAX)
        fuzz_fail("too many frames");
}

/* Bytes at places and of values that the input says. */
static void damage(struct fuzz *f, struct winimage *w)
{
    for (unsigned n = fuzz_u8(f) % 24; n > 0 && fuzz_more(f); n--) {
        uint64_t at = fuzz_u32(f) % (w->next - 8);
        if (fuzz_u8(f) & 1)
            memcpy(w->ram + at, w->ram + fuzz_u32(f) % (w->next - 8), 8);
        else
            fuzz_bytes(f, w->ram + at, 1 + fuzz_u8(f) % 8);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct winimage w;
    struct fuzz f = fuzz_begin(data, size);
    winimage_make(&w, &winimage_versions[fuzz_u8(&f) % WINIMAGE_VERSIONS]);
    w.g.cpu.rip = fuzz_u8(&f) & 1 ? w.g.cpu.syscall_entry : fuzz_u64(&f);
    w.g.cpu.rsp = fuzz_u8(&f) & 1 ? w.process[0] : fuzz_u64(&f);
    w.g.cpu.rbp = w.g.cpu.rsp + fuzz_u8(&f);
    struct guest *g = guest_new();
    bool before = fuzz_u8(&f) & 1;
    if (before)
        look(g, &w.g);
    damage(&f, &w);
    look(g, &w.g);
    guest_free(g);
    return 0;
}
