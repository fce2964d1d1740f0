/* The host side of the oracle: a child process whose signal handler loads the
 * next case into its own signal frame and returns to it. RT_SIGRETURN loads all
 * registers at once; TF or the INT3 behind the instruction, or its fault,
 * brings the next signal, whose frame holds the outcome. */
#include "tests/lib_oracle.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { STACK_BYTES = 128 * 1024, HANG_MS = 20000, TRAP_FLAG = 0x100 };

/* A signal handler has no argument of ours, and the child has one thread. */
static struct {
    struct oracle_shared *shared;
    uint8_t *code;      /* writable view of the code pages */
    uint8_t *read_only; /* writable view of the data pages */
    int wake, report;
    uint32_t next;
    bool running;
    uint32_t code_at, code_bytes; /* what the last case wrote */
} child;

unsigned oracle_page_rights(unsigned page)
{
    switch (page) {
    case 1:
    case 2:
    case 5:
        return ORACLE_R | ORACLE_W;
    case 4:
    case 6:
        return ORACLE_R;
    case 17:
    case 18:
        return ORACLE_R | ORACLE_X;
    default:
        return 0;
    }
}

const struct oracle_segment oracle_segments[ORACLE_LDT_ENTRIES] = {
    [ORACLE_LDT_CODE] = {(uint32_t)ORACLE_CODE - 0x1000, 0xffff,
                         .is_code = true},
    [ORACLE_LDT_DATA] = {(uint32_t)ORACLE_WINDOW, 0xffff},
    [ORACLE_LDT_SHORT] = {(uint32_t)ORACLE_WINDOW, 0x27ff},
    [ORACLE_LDT_DOWN] = {(uint32_t)ORACLE_WINDOW, 0x17ff, .expands_down = true},
    [ORACLE_LDT_CONST] = {(uint32_t)ORACLE_WINDOW, 0x2abc,
                          .is_read_only = true},
};

void oracle_selectors(unsigned mode, uint16_t selectors[6])
{
    static const uint16_t all[ORACLE_MODES][6] = {
        {ORACLE_SS, ORACLE_CS64, ORACLE_SS, ORACLE_SS, 0, 0},
        {ORACLE_SS, ORACLE_CS32, ORACLE_SS, ORACLE_SS, ORACLE_LDT_DOWN << 3 | 7,
         ORACLE_LDT_CONST << 3 | 7},
        {ORACLE_LDT_SHORT << 3 | 7, ORACLE_LDT_CODE << 3 | 7,
         ORACLE_LDT_DATA << 3 | 7, ORACLE_LDT_DATA << 3 | 7,
         ORACLE_LDT_DOWN << 3 | 7, ORACLE_LDT_CONST << 3 | 7}};
    memcpy(selectors, all[mode], sizeof all[mode]);
}

uint64_t oracle_segment_base(unsigned mode, ZydisRegister r)
{
    uint16_t selectors[6];
    if (mode == ORACLE_64)
        return r == ZYDIS_REGISTER_FS   ? ORACLE_FS_BASE
               : r == ZYDIS_REGISTER_GS ? ORACLE_GS_BASE
                                        : 0;
    oracle_selectors(mode, selectors);
    unsigned n = (unsigned)ZydisRegisterGetId(r);
    if (n > 5 || !(selectors[n] & 4))
        return 0;
    return oracle_segments[selectors[n] >> 3].base;
}

uint64_t oracle_code_base(unsigned mode)
{
    return mode == ORACLE_16 ? oracle_segments[ORACLE_LDT_CODE].base : 0;
}

/* ---- inside the child
 * -------------------------------------------------------------- */

/* FS does not point at the C library's thread data while the child works, so it
 * calls the system without that library. */
static long raw_call(long number, uint64_t a, uint64_t b, uint64_t c)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

static void set_bases(void)
{
    (void)raw_call(SYS_arch_prctl, ARCH_SET_FS, ORACLE_FS_BASE, 0);
    (void)raw_call(SYS_arch_prctl, ARCH_SET_GS, ORACLE_GS_BASE, 0);
}

/* Greg of each general register, in enum reg order. */
static const int gregs[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static void reset_data(const struct oracle_case *k)
{
    memcpy(child.read_only, child.shared->base, ORACLE_DATA_BYTES);
    if (k->patch_bytes)
        memcpy(child.read_only + (k->patch_at - ORACLE_DATA), k->patch,
               k->patch_bytes);
}

static void load_case(ucontext_t *uc, const struct oracle_case *k)
{
    greg_t *g = uc->uc_mcontext.gregs;
    for (unsigned n = 0; n < 16; n++)
        g[gregs[n]] = (greg_t)k->in.r[n];
    g[REG_RIP] = (greg_t)k->in.rip;
    g[REG_EFL] = (greg_t)(k->in.rflags | (k->stepped ? TRAP_FLAG : 0));
    uint16_t selectors[6];
    oracle_selectors(k->mode, selectors);
    g[REG_CSGSFS] = (greg_t)((uint64_t)selectors[2] << 48 | selectors[1]);
    if (k->mode != ORACLE_64) {
        __asm__ volatile("mov %0, %%es" : : "r"(selectors[0]));
        __asm__ volatile("mov %0, %%ds" : : "r"(selectors[3]));
        __asm__ volatile("mov %0, %%fs" : : "r"(selectors[4]));
        __asm__ volatile("mov %0, %%gs" : : "r"(selectors[5]));
    }
    memcpy(uc->uc_mcontext.fpregs, k->in.fx, 416);
    /* The software-reserved bytes without the magic number: a plain FXSAVE
     * image, the extended state behind it is not restored. */
    memset((uint8_t *)uc->uc_mcontext.fpregs + 416, 0, 96);
    reset_data(k);
    memset(child.code + child.code_at, 0xcc, child.code_bytes);
    child.code_at =
        (uint32_t)(k->in.rip + oracle_code_base(k->mode) - ORACLE_CODE);
    child.code_bytes = sizeof k->bytes;
    if (child.code_bytes > ORACLE_CODE_BYTES - child.code_at)
        child.code_bytes = ORACLE_CODE_BYTES - child.code_at;
    memcpy(child.code + child.code_at, k->bytes, child.code_bytes);
}

static void store_result(const ucontext_t *uc, const struct oracle_case *k,
                         struct oracle_result *out, const uint16_t *selectors)
{
    const greg_t *g = uc->uc_mcontext.gregs;
    for (unsigned n = 0; n < 16; n++)
        out->out.r[n] = (uint64_t)g[gregs[n]];
    out->out.rip = (uint64_t)g[REG_RIP];
    out->out.rflags = (uint64_t)g[REG_EFL];
    memcpy(out->out.selector, selectors, 12);
    out->out.selector[1] = (uint16_t)g[REG_CSGSFS];
    out->out.selector[2] = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
    memcpy(out->out.fx, uc->uc_mcontext.fpregs, 512);
    out->trap = (uint32_t)g[REG_TRAPNO];
    out->error = (uint32_t)g[REG_ERR];
    out->cr2 = (uint64_t)g[REG_CR2];
    memcpy(out->memory, child.read_only, ORACLE_DATA_BYTES);
    reset_data(k);
    out->wrote = memcmp(out->memory, child.read_only, ORACLE_DATA_BYTES) != 0;
}

static void next_batch(void)
{
    char byte = 1;
    uint64_t at = (uint64_t)(uintptr_t)&byte;
    if (child.running)
        (void)raw_call(SYS_write, (uint64_t)child.report, at, 1);
    if (raw_call(SYS_read, (uint64_t)child.wake, at, 1) != 1)
        (void)raw_call(SYS_exit_group, 0, 0, 0);
    child.next = 0;
}

/* The kernel leaves AC as the case had it: clear it before any C code. */
void oracle_signal(int number, siginfo_t *info, void *context);
void oracle_take_signal(int number, siginfo_t *info, void *context);
__asm__(".text\n"
        ".globl oracle_signal\n"
        "oracle_signal:\n"
        "push $0x202\n"
        "popfq\n"
        "jmp oracle_take_signal\n");

__attribute__((no_stack_protector)) void
oracle_take_signal(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    struct oracle_shared *s = child.shared;
    (void)number;
    (void)info;
    uint16_t selectors[6] = {0};
    __asm__ volatile("mov %%es, %0" : "=m"(selectors[0]));
    __asm__ volatile("mov %%ds, %0" : "=m"(selectors[3]));
    __asm__ volatile("mov %%fs, %0" : "=m"(selectors[4]));
    __asm__ volatile("mov %%gs, %0" : "=m"(selectors[5]));
    __asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(ORACLE_SS));
    if (child.running) {
        const struct oracle_case *k = &s->cases[child.next];
        if (k->loads_segments || k->mode != ORACLE_64)
            set_bases();
        store_result(uc, k, &s->results[child.next], selectors);
        child.next++;
        s->done = child.next;
    }
    if (!child.running || child.next == s->count)
        next_batch();
    child.running = true;
    load_case(uc, &s->cases[child.next]);
}

/* The window: shared memory, so that a second view can write what it may not.
 */
static bool map_window(void)
{
    size_t bytes = (size_t)ORACLE_PAGES * ORACLE_PAGE;
    int fd = memfd_create("oracle", 0);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
        return false;
    uint8_t *view = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_POPULATE, fd, 0);
    if (view == MAP_FAILED)
        return false;
    for (unsigned p = 0; p < ORACLE_PAGES; p++) {
        unsigned rights = oracle_page_rights(p);
        void *at = (void *)(uintptr_t)(ORACLE_WINDOW + p * ORACLE_PAGE);
        int prot = (rights & ORACLE_R ? PROT_READ : 0) |
                   (rights & ORACLE_W ? PROT_WRITE : 0) |
                   (rights & ORACLE_X ? PROT_EXEC : 0);
        if (mmap(at, ORACLE_PAGE, prot,
                 MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd,
                 (off_t)p * ORACLE_PAGE) != at)
            return false;
    }
    child.read_only = view + ORACLE_DATA_FIRST * ORACLE_PAGE;
    child.code = view + ORACLE_CODE_FIRST * ORACLE_PAGE;
    memset(child.code, 0xcc, ORACLE_CODE_BYTES);
    close(fd);
    return true;
}

static bool set_ldt(void)
{
    for (unsigned k = 0; k < ORACLE_LDT_ENTRIES; k++) {
        const struct oracle_segment *s = &oracle_segments[k];
        struct user_desc d;
        memset(&d, 0, sizeof d);
        d.entry_number = k;
        d.base_addr = s->base;
        d.limit = s->limit;
        d.contents = s->is_code ? 2 : s->expands_down ? 1 : 0;
        d.read_exec_only = s->is_read_only;
        if (syscall(SYS_modify_ldt, 0x11, &d, sizeof d) != 0)
            return false;
    }
    return true;
}

static bool catch_signals(void)
{
    static const int numbers[] = {SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGBUS};
    struct sigaction sa;
    stack_t stack = {.ss_size = STACK_BYTES};
    stack.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL) != 0)
        return false;
    memset(&sa, 0, sizeof sa);
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sa.sa_sigaction = oracle_signal;
    sigfillset(&sa.sa_mask);
    for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++)
        if (sigaction(numbers[k], &sa, NULL) != 0)
            return false;
    return true;
}

/* The dynamic linker writes to thread data when it binds a function at its
 * first call, so what the handler calls is called while FS is good. */
static void bind_functions(void)
{
    volatile size_t bytes = 64;
    volatile int differs;
    memset(child.read_only, 1, bytes);
    memcpy(child.read_only, child.shared->base, bytes);
    differs = memcmp(child.read_only, child.shared->base, bytes);
    (void)differs;
}

__attribute__((noreturn)) static void child_main(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!map_window() || !catch_signals() || !set_ldt())
        _exit(2);
    bind_functions();
    set_bases();
    __asm__ volatile("int3");
    __builtin_unreachable();
}

/* ---- the parent
 * ------------------------------------------------------------------------ */

static bool start_child(struct oracle_native *n)
{
    int down[2], up[2];
    if (pipe(down) != 0)
        return false;
    if (pipe(up) != 0)
        return false;
    n->pid = fork();
    if (n->pid < 0)
        return false;
    if (n->pid == 0) {
        child.shared = n->shared;
        child.wake = down[0];
        child.report = up[1];
        close(down[1]);
        close(up[0]);
        child_main();
    }
    close(down[0]);
    close(up[1]);
    n->to_child = down[1];
    n->from_child = up[0];
    return true;
}

static void stop_child(struct oracle_native *n)
{
    close(n->to_child);
    close(n->from_child);
    (void)kill(n->pid, SIGKILL);
    (void)waitpid(n->pid, NULL, 0);
}

bool oracle_native_init(struct oracle_native *n)
{
    memset(n, 0, sizeof *n);
    n->shared = mmap(NULL, sizeof *n->shared, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (n->shared == MAP_FAILED)
        return false;
    (void)signal(SIGPIPE, SIG_IGN);
    return start_child(n);
}

void oracle_native_fini(struct oracle_native *n)
{
    stop_child(n);
    munmap(n->shared, sizeof *n->shared);
}

/* Until the child has answered, or hangs in one case. Cases differ: Linux lets a
 * program sleep for each locked access across two cache lines. */
static bool wait_for_child(const struct oracle_native *n)
{
    struct pollfd p = {.fd = n->from_child, .events = POLLIN};
    uint32_t before;
    do {
        before = n->shared->done;
        if (poll(&p, 1, HANG_MS) == 1)
            return true;
    } while (n->shared->done != before);
    return false;
}

bool oracle_native_run(struct oracle_native *n)
{
    char byte = 1;
    n->shared->done = 0;
    if (write(n->to_child, &byte, 1) == 1 && wait_for_child(n) &&
        read(n->from_child, &byte, 1) == 1)
        return true;
    stop_child(n);
    (void)start_child(n);
    return false;
}
