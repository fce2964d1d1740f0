/* What guest.c shares with the readers of each system. */
#ifndef RELIVE_ANALYSIS_GUEST_INTERNAL_H
#define RELIVE_ANALYSIS_GUEST_INTERNAL_H

#include "analysis/guest.h"

/* One system's reader. All but `find` are called on what `find` or `keep` has
 * accepted, with memory as it is now. */
struct guest_reader {
    enum guest_os os;
    /* The state of a system that is there; NULL: it is not. */
    void *(*find)(const struct guest_memory *m, const char *pdb);
    /* Is it still there? */
    bool (*keep)(void *state, const struct guest_memory *m, const char *pdb);
    void (*drop)(void *state);
    const char *(*version)(const void *state);
    uint64_t (*kernel_root)(const void *state);
    const struct symbols *(*symbols)(const void *state);
    void (*processes)(void *state, const struct guest_memory *m,
                      guest_process_fn *fn, void *context);
    void (*threads)(void *state, const struct guest_memory *m,
                    const struct guest_process *p, guest_thread_fn *fn,
                    void *context);
    void (*modules)(void *state, const struct guest_memory *m,
                    guest_module_fn *fn, void *context);
    bool (*current)(void *state, const struct guest_memory *m,
                    struct guest_process *p, struct guest_thread *t);
    bool (*syscall_name)(void *state, const struct guest_memory *m,
                         unsigned number, char *name, size_t bytes);
};

extern const struct guest_reader guest_linux, guest_windows;

#endif
