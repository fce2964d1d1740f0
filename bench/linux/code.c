/* Workloads about control flow: bytecode, calls, smc. */
#include "works.h"

#include <string.h>
#include <sys/mman.h>

/* ---- bytecode: a stack machine with a switch loop --------------------------
 */

enum op { PUSH, LOAD, STORE, ADD, SUB, MUL, XOR, SHIFT, LESS, JUMP_IF, END };

static uint64_t interpret(const int32_t *code, uint64_t locals[8])
{
    uint64_t stack[16], *top = stack;
    for (unsigned pc = 0;;) {
        switch ((enum op)code[pc++]) {
        case PUSH:
            *top++ = (uint64_t)(int64_t)code[pc++];
            break;
        case LOAD:
            *top++ = locals[code[pc++]];
            break;
        case STORE:
            locals[code[pc++]] = *--top;
            break;
        case ADD:
            top--;
            top[-1] += top[0];
            break;
        case SUB:
            top--;
            top[-1] -= top[0];
            break;
        case MUL:
            top--;
            top[-1] *= top[0];
            break;
        case XOR:
            top--;
            top[-1] ^= top[0];
            break;
        case SHIFT:
            top[-1] >>= code[pc++];
            break;
        case LESS:
            top--;
            top[-1] = top[-1] < top[0];
            break;
        case JUMP_IF:
            pc = *--top ? (unsigned)code[pc] : pc + 1;
            break;
        case END:
            return locals[1];
        }
    }
}

uint64_t work_bytecode(unsigned repeats)
{
    /* local 0 counts down; local 1 collects; local 2 is a second number. */
    /* clang-format off */
    static const int32_t program[] = {
        /* 0 */ LOAD, 1, LOAD, 2, XOR, PUSH, (int32_t)0x85ebca6b, MUL, STORE, 1,
        /* 10 */ LOAD, 1, SHIFT, 13, LOAD, 1, ADD, STORE, 2,
        /* 19 */ LOAD, 2, LOAD, 1, LESS, JUMP_IF, 33,
        /* 26 */ LOAD, 2, LOAD, 0, ADD, STORE, 2,
        /* 33 */ LOAD, 0, PUSH, 1, SUB, STORE, 0, LOAD, 0, JUMP_IF, 0, END};
    /* clang-format on */
    uint64_t locals[8] = {0, 1, 2}, sum = 0;
    for (unsigned r = 0; r < repeats; r++) {
        locals[0] = 40000;
        sum = sum * 31 + interpret(program, locals);
    }
    return sum;
}

/* ---- calls -----------------------------------------------------------------
 */

static __attribute__((noinline, noclone)) uint64_t fibonacci(unsigned n)
{
    if (n < 2)
        return n;
    return fibonacci(n - 1) + fibonacci(n - 2);
}

static __attribute__((noinline, noclone)) unsigned ackermann(unsigned m,
                                                             unsigned n)
{
    if (m == 0)
        return n + 1;
    if (n == 0)
        return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

uint64_t work_calls(unsigned repeats)
{
    uint64_t sum = 0;
    for (unsigned r = 0; r < repeats; r++) {
        sum += fibonacci(31 + (r & 1));
        sum = sum * 3 + ackermann(2, 1000 + r);
    }
    return sum;
}

/* ---- smc -------------------------------------------------------------------
 */

uint64_t work_smc(unsigned repeats)
{
    static const uint8_t code[] = {0xb8, 0,    0, 0, 0, /* mov eax, number */
                                   0x01, 0xf8,          /* add eax, edi */
                                   0xc3};               /* ret */
    uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t (*call)(uint32_t);
    uint64_t sum = 0;
    must(page != MAP_FAILED, "mmap");
    memcpy(page, code, sizeof code);
    memcpy(&call, &page, sizeof call);
    for (uint32_t r = 0; r < repeats; r++) {
        uint32_t number = r * 2654435761u;
        memcpy(page + 1, &number, sizeof number);
        __asm__ volatile("" ::: "memory");
        sum += call(r);
    }
    munmap(page, 4096);
    return sum;
}
