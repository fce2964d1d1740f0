#include "tests/lib_ssehost.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { DEFAULT_MXCSR = 0x1f80 };

_Static_assert(offsetof(struct ssehost, gpr) == 48, "used by ssehost_enter");
_Static_assert(offsetof(struct ssehost, mxcsr) == 104, "used by ssehost_enter");

void ssehost_enter(struct ssehost *n, const void *code);
void ssehost_leave(void);

/* Load the state at RDI, jump to the code at RSI, which comes back through R13.
 * R15 keeps the state's address. */
__asm__(".text\n"
        ".globl ssehost_enter, ssehost_leave\n"
        "ssehost_enter:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "sub $8, %rsp\n"
        "stmxcsr (%rsp)\n"
        "mov %rdi, %r15\n"
        "mov %rsi, %r14\n"
        "lea ssehost_leave(%rip), %r13\n"
        "movups (%r15), %xmm0\n"
        "movups 16(%r15), %xmm1\n"
        "movups 32(%r15), %xmm2\n"
        "ldmxcsr 104(%r15)\n"
        "push 96(%r15)\n"
        "popfq\n"
        "mov 48(%r15), %rax\n"
        "mov 56(%r15), %rcx\n"
        "mov 64(%r15), %rdx\n"
        "mov 72(%r15), %rbx\n"
        "mov 80(%r15), %rsi\n"
        "mov 88(%r15), %rdi\n"
        "jmp *%r14\n"
        "ssehost_leave:\n"
        "mov %rax, 48(%r15)\n"
        "mov %rcx, 56(%r15)\n"
        "mov %rdx, 64(%r15)\n"
        "mov %rbx, 72(%r15)\n"
        "mov %rsi, 80(%r15)\n"
        "mov %rdi, 88(%r15)\n"
        "pushfq\n"
        "pop 96(%r15)\n"
        "movups %xmm0, (%r15)\n"
        "movups %xmm1, 16(%r15)\n"
        "movups %xmm2, 32(%r15)\n"
        "stmxcsr 104(%r15)\n"
        "ldmxcsr (%rsp)\n"
        "add $8, %rsp\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "cld\n"
        "ret\n");

/* Signal handlers have no argument of ours; the tests have one thread. */
static struct {
    struct ssehost *native;
    uint32_t fault_mxcsr;
    uint8_t *code;
    struct sigaction before[SSEHOST_ILL + 1];
} run;

static const int signals[] = {
    [SSEHOST_FPE] = SIGFPE, [SSEHOST_SEGV] = SIGSEGV, [SSEHOST_ILL] = SIGILL};

static void on_signal(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)info;
    for (unsigned k = SSEHOST_FPE; k <= SSEHOST_ILL; k++)
        if (signals[k] == number)
            run.native->fault = (enum ssehost_fault)k;
    run.fault_mxcsr = uc->uc_mcontext.fpregs->mxcsr;
    uc->uc_mcontext.fpregs->mxcsr = DEFAULT_MXCSR;
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)ssehost_leave;
}

bool ssehost_init(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction sa;
    if (page == MAP_FAILED)
        return false;
    run.code = page;
    memset(&sa, 0, sizeof sa);
    sa.sa_flags = SA_SIGINFO | SA_NODEFER;
    sa.sa_sigaction = on_signal;
    for (unsigned k = SSEHOST_FPE; k <= SSEHOST_ILL; k++)
        sigaction(signals[k], &sa, &run.before[k]);
    return true;
}

void ssehost_fini(void)
{
    for (unsigned k = SSEHOST_FPE; k <= SSEHOST_ILL; k++)
        sigaction(signals[k], &run.before[k], NULL);
    munmap(run.code, 4096);
}

void ssehost_run(struct ssehost *n, const uint8_t *bytes, unsigned len)
{
    static const uint8_t back[3] = {0x41, 0xff, 0xe5}; /* jmp *%r13 */
    memcpy(run.code, bytes, len);
    memcpy(run.code + len, back, sizeof back);
    run.native = n;
    n->fault = SSEHOST_NONE;
    ssehost_enter(n, run.code);
    if (n->fault)
        n->mxcsr = run.fault_mxcsr;
}
