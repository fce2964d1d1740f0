/* What is read of a Linux guest from outside is what the guest prints of
 * itself: symbols, processes, modules, the current process, system calls. */
#include "analysis/linux_internal.h"
#include "analysis/guest_print.h"
#include "analysis/lua_api.h"
#include "analysis/profile.h"
#include "analysis/unwind.h"
#include "base/bytes.h"
#include "cpu/cpu.h"
#include "lib_opened.h"
#include "lib_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lualib.h>

/* The guest ends in the write of its last line. */
static void record(struct lab *lab, const char *arch, const char *mem)
{
    char path[64];
    (void)snprintf(path, sizeof path, "vmlinuz-%s", arch);
    lab_needs(lab, path);
    lab_write("in.txt",
              "wait serial \"guest# \" within 120s\n"
              "serial \"echo 0 >/proc/sys/kernel/kptr_restrict; "
              "sleep 1000 & sh -c 'echo spi${x}ns $$; "
              "while :; do :; done' &\\n\"\n"
              "wait serial \"spins \" within 5s\n"
              "after 500ms serial \"kill $!; "
              "grep -v ']' /proc/kallsyms | cut -d ' ' -f 1,3 | md5sum; "
              "grep psmouse_disconnect /proc/kallsyms; cat /proc/modules; "
              "ps -o pid,ppid,comm; cat /proc/version; "
              "echo she${x}ll is $$ n${x}ow\\n\"\n");
    lab_run(lab,
            "$R record -o %s --kernel $G/vmlinuz-%s --initrd $G/initrd-%s "
            "--append 'console=ttyS0 quiet relive.mouse' --input in.txt "
            "--mem %s --serial file:%s.txt --until 40s "
            "--until-serial ' now'",
            arch, arch, arch, mem, arch);
    lab_assert_status(lab, 0);
}

struct seen {
    struct guest *guest;
    char *serial; /* what the guest printed */
    unsigned word, count;
    FILE *file;
};

/* "PID PPID COMMAND" with the columns that ps prints. ps appends to the names
 * of workers what they do. A guest_process_fn. */
static bool check_process(void *context, const struct guest_process *p)
{
    struct seen *s = context;
    char line[120];
    if (p->pid == 0) {
        assert_string_equal(p->name, "swapper/0");
        return true;
    }
    (void)snprintf(line, sizeof line, "\n%5llu %5llu %.15s",
                   (unsigned long long)p->pid, (unsigned long long)p->parent,
                   p->name);
    if (!strstr(s->serial, line))
        fail_msg("the guest did not print '%s'", line + 1);
    assert_int_equal(p->is_kernel, p->root == 0);
    s->count++;
    return true;
}

/* A guest_module_fn. */
static bool check_module(void *context, const struct guest_module *m)
{
    struct seen *s = context;
    char line[160], address[32];
    (void)snprintf(line, sizeof line, "\n%s %llu ", m->name,
                   (unsigned long long)m->bytes);
    const char *at = strstr(s->serial, line);
    if (!at)
        fail_msg("the guest did not print '%s'", line + 1);
    (void)snprintf(address, sizeof address, "Live 0x%llx",
                   (unsigned long long)m->base);
    at = strstr(at, "Live ");
    assert_int_equal(strncmp(at, address, strlen(address)), 0);
    s->count++;
    return true;
}

/* Lines between two of the guest's. */
static unsigned count_lines(const char *from, const char *to)
{
    unsigned n = 0;
    for (; from < to; from++)
        n += *from == '\n';
    return n;
}

/* Every process that ps lists but ps itself, which has ended. */
static void compare_processes(struct seen *s)
{
    const char *from = strstr(s->serial, "PID   PPID");
    const char *to = strstr(s->serial, "\nLinux version");
    assert_non_null(from);
    assert_non_null(to);
    s->count = 0;
    guest_processes(s->guest, check_process, s);
    assert_int_equal(s->count, count_lines(from, to) - 1);
}

static void compare_modules(struct seen *s)
{
    unsigned lines = 0;
    for (const char *at = s->serial; (at = strstr(at, " Live 0x")); at++)
        lines++;
    s->count = 0;
    guest_modules(s->guest, check_module, s);
    assert_true(lines > 0);
    assert_int_equal(s->count, lines);
}

/* A symbols_each_fn. */
static bool print_symbol(void *context, const struct symbol *symbol)
{
    struct seen *s = context;
    if (strcmp(symbol->module, "kernel") != 0)
        return true;
    (void)fprintf(s->file, "%0*llx %s\n",
                  (int)(2 * s->word), (unsigned long long)symbol->address,
                  symbol->name);
    return true;
}

static void compare_symbols(struct lab *lab, struct seen *s)
{
    char sum[40];
    s->file = fopen("symbols.txt", "w");
    assert_non_null(s->file);
    symbols_each(guest_symbols(s->guest), print_symbol, s);
    assert_int_equal(fclose(s->file), 0);
    lab_run(lab, "md5sum <symbols.txt");
    (void)snprintf(sum, sizeof sum, "%.32s", lab->text);
    if (!strstr(s->serial, sum))
        fail_msg("the guest's list of symbols is another");

    const char *line = strstr(s->serial, " t psmouse_disconnect");
    assert_non_null(line);
    struct symbol symbol;
    assert_true(symbols_find(guest_symbols(s->guest),
                             "psmouse!psmouse_disconnect", &symbol));
    assert_int_equal(symbol.address, strtoull(line - 2 * s->word, NULL, 16));
    struct symbol_place place;
    assert_true(symbols_lookup(guest_symbols(s->guest), symbol.address + 1,
                               &place));
    assert_string_equal(place.symbol.name, "psmouse_disconnect");
    assert_string_equal(place.symbol.module, "psmouse");
}

/* The number behind a word at the start of a line. */
static unsigned long long number_behind(const char *serial, const char *words)
{
    const char *at = strstr(serial, words);
    assert_non_null(at);
    return strtoull(at + strlen(words), NULL, 10);
}

static void look(struct opened *o, struct guest *g, uint64_t tick)
{
    struct guest_memory memory;
    opened_goto(o, tick);
    guest_memory_of(&memory, o->machine);
    assert_int_equal(guest_look(g, &memory), GUEST_LINUX);
}

/* While the shell spins it is what runs, but for interrupts' work. */
static void spinning_is_current(struct opened *o, struct seen *s)
{
    unsigned long long pid = number_behind(s->serial, "spins ");
    unsigned found = 0;
    uint64_t end = opened_end(o);
    for (unsigned i = 1; i <= 40; i++) {
        struct guest_process p;
        struct guest_thread t;
        struct guest_memory memory;
        look(o, s->guest, end - i * (end / 100));
        guest_memory_of(&memory, o->machine);
        if (!guest_current(s->guest, &p, &t) || p.pid != pid)
            continue;
        found++;
        assert_int_equal(t.tid, pid);
        assert_string_equal(p.name, "sh");
        if (memory.cpu.cpl == 3)
            assert_int_equal(p.root & ~0x1fffull,
                             memory.cpu.cr3 & ~0x1fffull);
    }
    /* It spun for half a second or more out of about ten. */
    assert_true(found >= 3);
}

/* A profile of that time: the shell has most of it, all samples are accounted
 * for, and taking it again gives the same. */
static void profile_shows_it(struct opened *o, struct seen *s)
{
    unsigned long long pid = number_behind(s->serial, "spins ");
    uint64_t end = opened_end(o), total = 0, ticks = 0;
    struct profile_options options = {.from = end - end / 3,
                                      .to = end - end / 30,
                                      .every = end / 300,
                                      .has_stacks = true};
    struct profile *p, *again;
    struct error err;
    const struct profile_symbol *symbols, *same;
    const struct profile_process *processes;
    const struct profile_stack *stacks;
    assert_int_equal(profile_take(o->travel, s->guest, &options, &p, &err),
                     PROFILE_DONE);
    assert_true(profile_samples(p) > 80);
    size_t n = profile_processes(p, &processes);
    for (size_t i = 0; i < n; i++) {
        total += processes[i].user + processes[i].kernel;
        if (processes[i].pid == pid)
            ticks = processes[i].user;
    }
    assert_int_equal(total, profile_samples(p) * options.every);
    assert_true(ticks >= 4 * options.every);
    n = profile_symbols(p, &symbols);
    total = 0;
    for (size_t i = 0; i < n; i++) {
        total += symbols[i].self;
        assert_true(symbols[i].inclusive >= symbols[i].self);
        assert_true(i == 0 || symbols[i - 1].self >= symbols[i].self);
    }
    assert_int_equal(total, profile_samples(p) * options.every);
    total = 0;
    size_t stack_count = profile_stacks(p, &stacks);
    for (size_t i = 0; i < stack_count; i++)
        total += stacks[i].ticks;
    assert_int_equal(total, profile_samples(p) * options.every);
    assert_int_equal(profile_take(o->travel, s->guest, &options, &again, &err),
                     PROFILE_DONE);
    assert_int_equal(profile_symbols(again, &same), n);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(symbols[i].name, same[i].name);
        assert_int_equal(symbols[i].self, same[i].self);
        assert_int_equal(symbols[i].inclusive, same[i].inclusive);
    }
    profile_free(p);
    profile_free(again);
}

/* The return address on the stack when a function is entered stays its caller
 * while the function runs. */
static void callers_are_found(struct opened *o, struct seen *s)
{
    struct symbol function;
    struct guest_memory m;
    struct probe_hit hit;
    struct error err;
    struct unwind_frame frames[UNWIND_MAX];
    uint64_t back = 0, end = opened_end(o);
    look(o, s->guest, end - end / 10);
    assert_true(symbols_find(guest_symbols(s->guest), "vfs_read", &function));
    const struct probe probe = {.vaddr = function.address,
                                .kinds = PROBE_EXEC};
    assert_int_equal(travel_continue(o->travel, &probe, 1, &hit, &err),
                     TRAVEL_HIT);
    guest_memory_of(&m, o->machine);
    uint64_t sp = m.cpu.rsp;
    assert_true(guest_read_word(&m, m.cpu.cr3, sp, &back));
    unsigned found = 0, looks = 0;
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(guest_look(s->guest, &m), GUEST_LINUX);
        unsigned n = unwind(s->guest, &m, frames, UNWIND_MAX);
        bool is_there = false;
        for (unsigned k = 1; k < n; k++)
            is_there |= frames[k].pc == back && frames[k].sp == sp + s->word;
        found += is_there;
        looks++;
        if (i == 0 && s->word == 8) { /* all the way out, by the tables */
            assert_string_equal(guest_os_name(guest_os(s->guest)), "linux");
            assert_int_equal(frames[1].how, UNWIND_ORC);
            assert_true(frames[n - 1].pc >> 47 == 0 ||
                        frames[n - 2].pc >> 47 == 0);
        }
        assert_int_equal(travel_step(o->travel, NULL, 0, &hit, &err),
                         TRAVEL_THERE);
        guest_memory_of(&m, o->machine);
        if (m.cpu.rsp > sp)
            break; /* it has returned */
    }
    /* 32-bit kernels describe no prologues. */
    assert_true(s->word == 8 ? found == looks : 2 * found > looks);
}

/* Memory in which some pages are not what they were, by a seed. */
struct hostile {
    struct guest_memory m;
    uint32_t seed;
    unsigned next;
    uint8_t pages[64][4096];
};

/* A guest_memory.page. */
static const uint8_t *hostile_page(void *context, uint64_t paddr, bool touched)
{
    struct hostile *h = context;
    const uint8_t *page = h->m.page(h->m.context, paddr, touched);
    uint32_t random = ((uint32_t)(paddr >> 12) ^ h->seed) * 2654435761u;
    if (!page || random >> 28 != 0)
        return page;
    uint8_t *copy = h->pages[h->next++ % 64];
    memcpy(copy, page, 4096);
    for (unsigned i = 0; i < 8; i++) { /* words from elsewhere in it */
        random = random * 1664525 + 1013904223;
        memcpy(copy + (random >> 8 & 0xff8), page + (random >> 20 & 0xff8), 8);
    }
    return copy;
}

/* Callbacks of one type each; walks that go on too long are cut there too. */
struct walk {
    struct guest *guest;
    unsigned seen;
};

static bool see_thread(void *context, const struct guest_thread *t)
{
    struct walk *w = context;
    assert_true(strnlen(t->name, sizeof t->name) < sizeof t->name);
    return ++w->seen < 2 * GUEST_LIST_MAX;
}

static bool see_process(void *context, const struct guest_process *p)
{
    struct walk *w = context;
    assert_true(strnlen(p->name, sizeof p->name) < sizeof p->name);
    guest_threads(w->guest, p, see_thread, w);
    return ++w->seen < 2 * GUEST_LIST_MAX;
}

static bool see_module(void *context, const struct guest_module *m)
{
    struct walk *w = context;
    assert_true(strnlen(m->name, sizeof m->name) < sizeof m->name);
    return ++w->seen < 2 * GUEST_LIST_MAX;
}

static void hostile_memory_ends_every_walk(struct opened *o)
{
    enum { ROUNDS = 24 };
    struct hostile *h = calloc(1, sizeof *h);
    struct unwind_frame frames[UNWIND_MAX];
    struct guest_process p;
    struct guest_thread t;
    char name[64];
    opened_goto(o, opened_end(o));
    guest_memory_of(&h->m, o->machine);
    struct guest_memory bad = h->m;
    bad.page = hostile_page;
    bad.context = h;
    struct walk w = {.guest = guest_new()};
    for (h->seed = 1; h->seed <= ROUNDS; h->seed++) {
        if (h->seed % 4 == 1) /* from what was found in good memory, or not */
            (void)guest_look(w.guest, &h->m);
        (void)guest_look(w.guest, &bad);
        w.seen = 0;
        guest_processes(w.guest, see_process, &w);
        guest_modules(w.guest, see_module, &w);
        (void)guest_current(w.guest, &p, &t);
        (void)guest_syscall_name(w.guest, 3, name, sizeof name);
        assert_true(unwind(w.guest, &bad, frames, UNWIND_MAX) <= UNWIND_MAX);
    }
    guest_free(w.guest);
    free(h);
}

static void syscalls_have_names(struct guest *g, unsigned word)
{
    static const struct {
        unsigned number64, number32;
        const char *name;
    } rows[] = {/* asm/unistd_64.h and unistd_32.h */
                {0, 3, "read"},       {1, 4, "write"},  {39, 20, "getpid"},
                {57, 2, "fork"},      {60, 1, "exit"},  {59, 11, "execve"},
                {231, 252, "exit_group"}, {257, 295, "openat"}};
    char name[64];
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(guest_syscall_name(
            g, word == 8 ? rows[i].number64 : rows[i].number32, name,
            sizeof name));
        assert_string_equal(name, rows[i].name);
    }
    assert_false(guest_syscall_name(g, 1000, name, sizeof name));
    assert_false(guest_syscall_name(g, 4000000000u, name, sizeof name));
}

/* Offsets found by looks are those of the kernel's BTF. */
static void derived_layout_is_the_described_one(struct opened *o)
{
    struct guest_memory memory;
    guest_memory_of(&memory, o->machine);
    struct linux_guest *l = guest_linux.find(&memory, NULL);
    assert_non_null(l);
    const struct linux_layout b = l->layout;
    uint64_t modules = l->modules;
    l->modules = 0;
    linux_layout_clear(&l->layout);
    assert_int_equal(l->layout.task_comm, -1);
    linux_layout_derive(l, &memory);
    const struct linux_layout d = l->layout;
    assert_true(l->is_complete);
    assert_int_equal(l->modules, modules);
    assert_int_equal(d.task_tasks, b.task_tasks);
    assert_int_equal(d.task_comm, b.task_comm);
    assert_int_equal(d.task_pid, b.task_pid);
    assert_int_equal(d.task_tgid, b.task_tgid);
    assert_int_equal(d.task_parent, b.task_parent);
    assert_int_equal(d.task_mm, b.task_mm);
    assert_int_equal(d.task_thread_group, b.task_thread_group);
    assert_int_equal(d.mm_pgd, b.mm_pgd);
    assert_int_equal(d.module_list, b.module_list);
    assert_int_equal(d.module_name, b.module_name);
    assert_int_equal(d.module_base, b.module_base);
    assert_int_equal(d.module_size, b.module_size);
    assert_int_equal(d.module_kallsyms, b.module_kallsyms);
    guest_linux.drop(l);
}

/* A list in the kernel's data whose one entry has a number where a module's name
 * would be. */
struct decoy {
    struct guest_memory m;
    uint64_t head, entry; /* physical */
    uint64_t to_linear;
    uint8_t pages[2][4096];
};

/* A guest_memory.page. */
static const uint8_t *decoy_page(void *context, uint64_t paddr, bool touched)
{
    struct decoy *d = context;
    const uint8_t *page = d->m.page(d->m.context, paddr, touched);
    bool is_head = paddr == (d->head & ~0xfffull);
    if (!page || (!is_head && paddr != (d->entry & ~0xfffull)))
        return page;
    uint8_t *copy = memcpy(d->pages[is_head], page, 4096);
    uint64_t to = d->to_linear + (is_head ? d->entry : d->head);
    uint8_t *at = copy + ((is_head ? d->head : d->entry) & 0xfff);
    store_le32(at, (uint32_t)to);
    store_le32(at + 4, (uint32_t)to);
    store_le32(at + 8, is_head ? 0 : 'Z'); /* such as a process's number */
    return copy;
}

static void a_ring_of_numbers_is_no_list_of_modules(struct opened *o)
{
    struct decoy *d = calloc(1, sizeof *d);
    guest_memory_of(&d->m, o->machine);
    struct linux_guest *l = guest_linux.find(&d->m, NULL);
    assert_non_null(l);
    const struct linux_layout layout = l->layout;
    uint64_t modules = l->modules;
    d->to_linear = l->kallsyms.base - l->kallsyms.paddr;
    d->head = l->kallsyms.paddr + 64;
    d->entry = l->kallsyms.paddr - (4 << 20) + 64; /* outside the image */
    guest_linux.drop(l);
    struct guest_memory bad = d->m;
    bad.page = decoy_page;
    bad.context = d;
    uint64_t next;
    l = guest_linux.find(&bad, NULL);
    assert_non_null(l);
    assert_true(linux_word(l, &bad, d->to_linear + d->entry, &next));
    assert_int_equal(next, d->to_linear + d->head); /* the ring is there */
    assert_int_equal(l->modules, modules);
    assert_memory_equal(&l->layout, &layout, sizeof layout);
    guest_linux.drop(l);
    free(d);
}

/* A debugger's questions, at the end. */
static void questions_are_answered(struct opened *o, struct seen *s)
{
    struct writer w;
    struct symbol symbol;
    char want[80];
    look(o, s->guest, opened_end(o));
    writer_init(&w);
    guest_print(s->guest, o->machine, "ps", "", &w);
    guest_print(s->guest, o->machine, "lsmod", "", &w);
    guest_print(s->guest, o->machine, "symbol", " vfs_read", &w);
    guest_print(s->guest, o->machine, "symbol", " nobody", &w);
    guest_print(s->guest, o->machine, "bt", "", &w);
    writer_u8(&w, 0);
    const char *text = (const char *)w.data;
    (void)snprintf(want, sizeof want, " %6llu ",
                   number_behind(s->serial, "shell is "));
    assert_non_null(strstr(text, want));
    assert_non_null(strstr(text, "  psmouse\n"));
    assert_true(symbols_find(guest_symbols(s->guest), "vfs_read", &symbol));
    (void)snprintf(want, sizeof want, "%016llx  kernel!vfs_read\n",
                   (unsigned long long)symbol.address);
    assert_non_null(strstr(text, want));
    assert_non_null(strstr(text, "symbol: 'nobody' is not known"));
    writer_fini(&w);
}

/* A lua_host.stop. */
static const char *never(void *context)
{
    (void)context;
    return NULL;
}

/* Scripts see the same: where the shell's last line ends, and while it spun. */
static void scripts_see_it(struct opened *o, struct seen *s)
{
    static const char script[] =
        "local shell, spins, ended = ...\n"
        "local by_pid, now = {}, guest.processes()\n"
        "for _, p in ipairs(now) do by_pid[p.pid] = p end\n"
        "assert(guest.os() == 'linux' and guest.version():find('^Linux'))\n"
        "assert(by_pid[0].name == 'swapper/0' and by_pid[0].kernel)\n"
        "assert(by_pid[shell].name == 'sh' and not by_pid[shell].kernel)\n"
        "assert(by_pid[by_pid[shell].parent].name == 'init')\n"
        "assert(not by_pid[spins])\n"
        "assert(guest.threads(shell)[1].tid == shell)\n"
        "assert(guest.threads(99999) == nil)\n"
        "local found = false\n"
        "for i = 1, 40 do\n"
        "  local there = session:at(ended - i * (ended // 100))\n"
        "  local p = guest.current(there)\n"
        "  found = found or p and p.pid == spins and p.tid == spins\n"
        "end\n"
        "assert(found, 'never saw it spin')\n"
        "local a = symbols.find('kernel!vfs_read')\n"
        "local l = symbols.lookup(a + 2)\n"
        "assert(l.name == 'vfs_read' and l.offset == 2)\n"
        "assert(symbols.format(a + 2) == 'kernel!vfs_read+0x2')\n"
        "assert(symbols.find('no such') == nil)\n"
        "assert(#symbols.search('psmouse_', 3) == 3)\n"
        "local m = {}\n"
        "for _, x in ipairs(guest.modules()) do m[x.name] = x end\n"
        "local d = symbols.find('psmouse!psmouse_disconnect')\n"
        "assert(d >= m.psmouse.base and d < m.psmouse.base + m.psmouse.size)\n"
        "assert(guest.root())\n"
        "assert(guest.syscall(-1) == nil)\n"
        "assert(guest.os(0) == 'unknown' and #guest.processes(0) == 0)\n"
        "assert(symbols.find('vfs_read', 0) == nil)\n";
    struct lua_session ls = {.travel = o->travel,
                             .machine = o->machine,
                             .session = replayer_session(o->replayer),
                             .path = "s",
                             .here = {opened_end(o), 0}};
    const struct lua_host host = {.stop = never};
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    lua_api_install(L, &ls, &host);
    assert_int_equal(luaL_loadstring(L, script), LUA_OK);
    lua_pushinteger(L, (lua_Integer)number_behind(s->serial, "shell is "));
    lua_pushinteger(L, (lua_Integer)number_behind(s->serial, "spins "));
    lua_pushinteger(L, (lua_Integer)opened_end(o));
    if (lua_pcall(L, 3, 0, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
    lua_session_release(&ls);
}

static void compare(struct lab *lab, const char *arch, unsigned word,
                    const char *mem)
{
    struct opened o;
    struct seen s = {.guest = guest_new(), .word = word};
    char path[64];
    record(lab, arch, mem);
    (void)snprintf(path, sizeof path, "%s.txt", arch);
    size_t bytes;
    s.serial = lab_read(path, &bytes);
    char *to = s.serial; /* lines end in \n alone */
    for (char *from = s.serial; *from; from++)
        if (*from != '\r')
            *to++ = *from;
    *to = 0;
    opened_open(&o, arch);
    look(&o, s.guest, opened_end(&o));
    compare_symbols(lab, &s);
    compare_processes(&s);
    compare_modules(&s);
    syscalls_have_names(s.guest, word);
    assert_non_null(strstr(s.serial, guest_version(s.guest)));
    if (word == 8)
        derived_layout_is_the_described_one(&o);
    else
        a_ring_of_numbers_is_no_list_of_modules(&o);
    spinning_is_current(&o, &s);
    profile_shows_it(&o, &s);
    callers_are_found(&o, &s);
    hostile_memory_ends_every_walk(&o);
    questions_are_answered(&o, &s);
    scripts_see_it(&o, &s);
    opened_close(&o);
    guest_free(s.guest);
    free(s.serial);
}

static void amd64(void **state)
{
    compare(*state, "amd64", 8, "256M");
}

static void i386(void **state)
{
    /* With so little memory its modules lie close to the kernel's image. */
    compare(*state, "i386", 4, "64M");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amd64),
        cmocka_unit_test(i386),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
