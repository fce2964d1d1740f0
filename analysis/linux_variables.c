#include "analysis/linux_internal.h"
#include "base/bytes.h"

#include <string.h>

enum { IMAGE_BYTES = 64 << 20, NAME_BYTES = 48 };

static uint64_t symbol(const struct linux_guest *l, const char *name)
{
    struct symbol s;
    return symbol_table_find(l->kernel, name, &s) ? s.address : 0;
}

/* ---- what is exported to modules
 * ------------------------------------------------------- */

/* Rows of {offset to the value, offset to the name, offset to the namespace},
 * each counted from its own place (include/linux/export.h): the row is where a
 * second word leads to the name. */
static uint64_t find_row(const struct guest_memory *m, uint64_t from,
                         uint64_t to, uint64_t name, uint64_t base)
{
    for (uint64_t at = from; at < to; at += 4096) {
        const uint8_t *page = m->page(m->context, at, true);
        for (unsigned i = 4; page && i < 4096; i += 4) {
            int32_t offset = (int32_t)load_le32(page + i);
            if (at + i + (uint64_t)(int64_t)offset != name)
                continue;
            int32_t value = (int32_t)load_le32(page + i - 4);
            return base + (at - from) + i - 4 + (uint64_t)(int64_t)value;
        }
    }
    return 0;
}

/* The address of an exported symbol: its name lies among names. */
static uint64_t exported(const struct linux_guest *l,
                         const struct guest_memory *m, const char *name)
{
    char text[NAME_BYTES + 2] = {0};
    uint64_t from = l->kallsyms.paddr, to = from + IMAGE_BYTES, at = from;
    size_t n = strlen(name);
    if (n > NAME_BYTES)
        return 0;
    memcpy(text + 1, name, n); /* a NUL in front and behind */
    while ((at = guest_search_physical(m, at, to, text, n + 2)) !=
           UINT64_MAX) {
        uint64_t value =
            find_row(m, from, to, at + 1, l->kallsyms.base);
        if (!m->cpu.is_long)
            value &= UINT32_MAX;
        if (value)
            return value;
        at++;
    }
    return 0;
}

static uint64_t variable(const struct linux_guest *l,
                         const struct guest_memory *m, const char *name)
{
    uint64_t address = symbol(l, name);
    return address ? address : exported(l, m, name);
}

/* ---- what must be there
 * ---------------------------------------------------------------- */

/* A table that begins with the addresses of these two functions. */
static uint64_t find_table(const struct linux_guest *l,
                           const struct guest_memory *m, const char *first,
                           const char *second)
{
    uint8_t bytes[16];
    unsigned word = guest_word(m);
    uint64_t a = symbol(l, first), b = symbol(l, second);
    if (!a || !b)
        return 0;
    store_le64(bytes, a);
    store_le64(bytes + word, b);
    uint64_t from = l->kallsyms.paddr;
    uint64_t at = guest_search_physical(m, from, from + IMAGE_BYTES, bytes,
                                        2 * word);
    return at == UINT64_MAX ? 0 : l->kallsyms.base + (at - from);
}

/* "Linux version 6.1.0-... #1 SMP ...": some kernels also hold the text as it
 * was before the build was numbered. */
static bool is_version(const char *text)
{
    const char *sign = strchr(text, '#');
    return sign && sign[1] >= '0' && sign[1] <= '9';
}

static void find_version(struct linux_guest *l, const struct guest_memory *m)
{
    static const char words[] = "Linux version ";
    uint64_t banner = symbol(l, "linux_banner");
    uint64_t from = l->kallsyms.paddr, at = from;
    bool is_found = banner && guest_read_text(m, l->root, banner, l->version,
                                              sizeof l->version);
    while (!is_found &&
           (at = guest_search_physical(m, at, from + IMAGE_BYTES, words,
                                       sizeof words - 1)) != UINT64_MAX) {
        size_t n = guest_read_physical(m, at, l->version,
                                       sizeof l->version - 1);
        l->version[n] = 0;
        is_found = is_version(l->version);
        at++;
    }
    if (!is_found)
        l->version[0] = 0;
    l->version[strcspn(l->version, "?\n")] = 0;
    for (char *c = l->version; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

void linux_find_variables(struct linux_guest *l, const struct guest_memory *m)
{
    uint64_t top = symbol(l, m->cpu.is_long ? "init_top_pgt"
                                            : "swapper_pg_dir");
    uint64_t paddr, base = l->kallsyms.base;
    l->root = l->kallsyms.root;
    /* The kernel's own tables, when they do map it. */
    if (top && guest_translate(m, l->kallsyms.paddr + (top - base), base,
                               &paddr) &&
        paddr == l->kallsyms.paddr)
        l->root = l->kallsyms.paddr + (top - base);
    l->init_task = variable(l, m, "init_task");
    l->init_mm = symbol(l, "init_mm");
    l->current_task = variable(l, m, "current_task");
    l->per_cpu_offset = variable(l, m, "__per_cpu_offset");
    l->modules = symbol(l, "modules");
    l->sys_call_table = symbol(l, "sys_call_table");
    if (!l->sys_call_table)
        l->sys_call_table =
            m->cpu.is_long
                ? find_table(l, m, "__x64_sys_read", "__x64_sys_write")
                : find_table(l, m, "__ia32_sys_restart_syscall",
                             "__ia32_sys_exit");
    find_version(l, m);
}

/* ---- the list of modules
 * -------------------------------------------------------------- */

enum {
    MODULE_LOOK = 512, /* bytes of one that are looked at */
    MODULE_NAME = 56,  /* MODULE_NAME_LEN: 64 less a word, 8 bytes at most */
    MODULE_STATE_MAX = 3
};

static bool is_module_name(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz_"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
    return n > 0 && n < MODULE_NAME && !name[n];
}

/* struct module begins with its state, the links and the name, which zeros fill
 * up. One that has a place in sysfs holds a pointer to itself not far behind
 * (struct module_kobject): *is_known. */
static bool is_module(const struct linux_guest *l,
                      const struct guest_memory *m, uint64_t module,
                      bool *is_known)
{
    uint8_t bytes[MODULE_LOOK];
    unsigned word = guest_word(m), name = 3 * word, behind = name + 64 - word;
    if (guest_read(m, l->root, module, bytes, sizeof bytes) != sizeof bytes ||
        load_le32(bytes) > MODULE_STATE_MAX ||
        !is_module_name((const char *)bytes + name))
        return false;
    for (unsigned i = name; i < behind; i++)
        if (bytes[i] && i > name && !bytes[i - 1])
            return false;
    for (unsigned i = behind; i + word <= sizeof bytes; i += word)
        *is_known |= (word == 8 ? load_le64(bytes + i)
                                : load_le32(bytes + i)) == module;
    return true;
}

/* A ring of modules that comes back here; other rings have numbers where a
 * short name could be. */
static bool is_module_list(const struct linux_guest *l,
                           const struct guest_memory *m, uint64_t head)
{
    uint64_t at, back, previous = head;
    unsigned word = guest_word(m);
    bool is_known = false;
    if (!linux_word(l, m, head, &at) || at == head)
        return false;
    for (unsigned n = 0; n < LINUX_MODULES_MAX; n++) {
        if (!linux_word(l, m, at + word, &back) || back != previous)
            return false;
        if (at == head)
            return is_known;
        previous = at;
        if (!is_module(l, m, at - word, &is_known) ||
            !linux_word(l, m, at, &at))
            return false;
    }
    return false;
}

uint64_t linux_find_modules(const struct linux_guest *l,
                            const struct guest_memory *m)
{
    unsigned word = guest_word(m);
    uint64_t from = l->kallsyms.paddr, base = l->kallsyms.base;
    for (uint64_t at = 0; at < IMAGE_BYTES; at += 4096) {
        const uint8_t *page = m->page(m->context, from + at, true);
        for (unsigned i = 0; page && i + 2 * word <= 4096; i += word) {
            uint64_t next = word == 8 ? load_le64(page + i)
                                      : load_le32(page + i);
            uint64_t previous = word == 8 ? load_le64(page + i + word)
                                          : load_le32(page + i + word);
            if (!linux_is_kernel_address(m, next) ||
                !linux_is_kernel_address(m, previous) || next % word ||
                previous % word)
                continue;
            if (is_module_list(l, m, base + at + i))
                return base + at + i;
        }
    }
    return 0;
}
