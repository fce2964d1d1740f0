#include "lib_ldt.h"

#ifdef __x86_64__

#include <asm/ldt.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    AT_MEMORY = 0x31000000, /* all below 4 GiB, for 32-bit code */
    AT_LOW = 0x30000000,
    LOW_BYTES = 0x20000,
    AT_ENTRY = AT_LOW + 0x1000,
    AT_LINKAGE = AT_LOW + 0x2000,
    STACK_TOP = AT_LOW + LOW_BYTES - 64,
    HOST_CODE_32 = 0x23
};

static sigjmp_buf recovery;
static struct ldt_result *result;
static uint8_t signal_stack[65536];
static const int signals[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV};
static struct sigaction saved[sizeof signals / sizeof signals[0]];

static void on_signal(int number, siginfo_t *info, void *context)
{
    /* The code may have set AC, which C code cannot live with. */
    __asm__ volatile("pushfq; andl $0xfffbffff, (%%rsp); popfq" ::
                         : "cc", "memory");
    const greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)number;
    (void)info;
    result->trap = (unsigned)g[REG_TRAPNO];
    result->error = (uint64_t)g[REG_ERR];
    result->rip = (uint64_t)g[REG_RIP];
    result->cs = (uint16_t)g[REG_CSGSFS];
    result->eax = (uint32_t)g[REG_RAX];
    result->edx = (uint32_t)g[REG_RDX];
    result->is_at_code = result->cs == HOST_CODE_32;
    if (result->is_at_code)
        result->rip -= AT_LOW;
    siglongjmp(recovery, 1);
}

static void *map_low(uintptr_t at, size_t bytes)
{
    void *p = mmap((void *)at, bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return p == (void *)at ? p : NULL;
}

/* 64-bit code below 4 GiB that calls 32-bit code and returns: a far return from
 * there keeps 32 bits of RIP. RDI: the linkage; see ldt_run(). */
static const uint8_t entry[] = {
    0x53, 0x55,                        /* push rbx; push rbp */
    0x48, 0x89,   0x67, 0x08,          /* mov [rdi+8], rsp */
    0x48, 0x89,   0xfb,                /* mov rbx, rdi */
    0x8b, 0x43,   0x10,                /* mov eax, [rbx+16] */
    0x8b, 0x53,   0x14,                /* mov edx, [rbx+20] */
    0xb9, LDT_SS, 0,    0,    0,       /* mov ecx, LDT_SS */
    0x8b, 0x63,   0x18,                /* mov esp, [rbx+24] */
    0x68, 0x02,   0x02, 0,    0, 0x9d, /* push 202h; popfq */
    0xff, 0x1b,                        /* call far [rbx] */
    0x9c, 0x8f,   0x43, 0x20,          /* pushfq; pop [rbx+32] */
    0x89, 0x43,   0x10,                /* mov [rbx+16], eax */
    0x89, 0x53,   0x14,                /* mov [rbx+20], edx */
    0x48, 0x8b,   0x63, 0x08,          /* mov rsp, [rbx+8] */
    0x5d, 0x5b,   0xc3                 /* pop rbp; pop rbx; ret */
};

struct linkage {
    uint32_t offset, selector;
    uint64_t rsp;
    uint32_t eax, edx;
    uint32_t esp, spare;
    uint64_t flags;
};

bool ldt_open(void)
{
    stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
    struct sigaction action = {.sa_sigaction = on_signal,
                               .sa_flags =
                                   SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    uint8_t unused[8];
    const struct ldt_entry probe = {.limit = 0xffff};
    if (!ldt_set(0, &probe, unused) || !map_low(AT_LOW, LOW_BYTES))
        return false;
    if (!map_low(AT_MEMORY, LDT_MEMORY_BYTES)) {
        (void)munmap((void *)AT_LOW, LOW_BYTES);
        return false;
    }
    memcpy((void *)AT_ENTRY, entry, sizeof entry);
    (void)sigaltstack(&stack, NULL);
    for (size_t n = 0; n < sizeof signals / sizeof signals[0]; n++)
        (void)sigaction(signals[n], &action, &saved[n]);
    return true;
}

void ldt_close(void)
{
    for (size_t n = 0; n < sizeof signals / sizeof signals[0]; n++)
        (void)sigaction(signals[n], &saved[n], NULL);
    (void)munmap((void *)AT_MEMORY, LDT_MEMORY_BYTES);
    (void)munmap((void *)AT_LOW, LOW_BYTES);
}

bool ldt_set(unsigned index, const struct ldt_entry *e, uint8_t descriptor[8])
{
    uint8_t table[LDT_ENTRIES * 8] = {0};
    struct user_desc d = {
        .entry_number = index,
        .base_addr = AT_MEMORY,
        .limit = e->limit,
        .seg_32bit = e->is_32,
        .contents = e->contents & 3,
        .read_exec_only = e->is_restricted,
        .limit_in_pages = e->in_pages,
        .seg_not_present = e->is_absent,
        .useable = 1,
    };
    if (syscall(SYS_modify_ldt, 0x11, &d, sizeof d) != 0 ||
        syscall(SYS_modify_ldt, 0, table, sizeof table) < 0)
        return false;
    memcpy(descriptor, table + index * 8, 8);
    descriptor[2] = descriptor[3] = descriptor[4] = descriptor[7] = 0;
    return true;
}

uint8_t *ldt_memory(void)
{
    return (uint8_t *)AT_MEMORY;
}

void ldt_run(const uint8_t *code, size_t count, uint32_t eax, uint32_t edx,
             struct ldt_result *out)
{
    struct linkage *l = (struct linkage *)AT_LINKAGE;
    uint8_t *low = (uint8_t *)AT_LOW;
    void (*call)(struct linkage *) =
        (void (*)(struct linkage *))(uintptr_t)AT_ENTRY;
    memcpy(low, code, count);
    low[count] = 0xcb; /* RET far */
    *l = (struct linkage){.offset = AT_LOW,
                          .selector = HOST_CODE_32,
                          .eax = eax,
                          .edx = edx,
                          .esp = STACK_TOP};
    memset(out, 0, sizeof *out);
    result = out;
    if (sigsetjmp(recovery, 1) == 0) {
        call(l);
        out->trap = LDT_NO_TRAP;
        out->eax = l->eax;
        out->edx = l->edx;
        out->flags = (uint32_t)l->flags;
    }
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"(0));
}

#else

bool ldt_open(void)
{
    return false;
}
void ldt_close(void)
{
}

#endif
