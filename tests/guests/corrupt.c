/* A program with a bug for debuggers to find: a name that is too long is copied
 * over the pointer behind it, and much later that pointer is followed. Static,
 * without a C library, at an address where nothing else lies, for x86-64 and
 * i386. Labels mark the instructions that tests of debuggers stop at. */
enum { NAME_BYTES = 16, ROUNDS = 20000, PAGES = 64, PAGE_BYTES = 4096 };

struct record {
    char name[NAME_BYTES];
    struct record *next;
    long value;
};

static struct record records[3];
static char pages[PAGES * PAGE_BYTES];

#ifdef __x86_64__
#define SYS_WRITE 1
#define SYS_EXIT 60
static long call(long number, long a, const void *b, long c)
{
    long result;
    __asm__ volatile(".globl at_syscall\nat_syscall: syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}
#else
#define SYS_WRITE 4
#define SYS_EXIT 1
static long call(long number, long a, const void *b, long c)
{
    long result;
    __asm__ volatile(".globl at_syscall\nat_syscall: int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(c)
                     : "memory");
    return result;
}
#endif

/* Labels are there once only. */
#define ONCE __attribute__((noinline, noclone))

ONCE static long system_call(long number, long a, const void *b, long c)
{
    return call(number, a, b, c);
}

/* The bug: nothing compares `bytes` with the room there is. */
ONCE static void set_name(struct record *r, const char *text,
                          unsigned long bytes)
{
    void *to = r->name;
    __asm__ volatile(".globl at_copy\nat_copy: rep movsb\n"
                     ".globl behind_copy\nbehind_copy:"
                     : "+D"(to), "+S"(text), "+c"(bytes)
                     :
                     : "memory");
}

ONCE static void touch(char *page)
{
    __asm__ volatile(".globl at_touch\nat_touch: movb $1, (%0)"
                     :
                     : "r"(page)
                     : "memory");
}

ONCE static long sum(void)
{
    long total = 0;
    for (const struct record *r = records; r; r = r->next)
        total += r->value;
    return total;
}

ONCE static long work(void)
{
    volatile long total = 0;
    for (int i = 0; i < ROUNDS; i++)
        total += i;
    return total;
}

void _start(void);
void _start(void)
{
    static const char ready[] = "corrupt: ready\n";
    records[0].next = &records[1];
    records[1].next = &records[2];
    set_name(&records[0], "first", 6);
    set_name(&records[1], "a name of 20 by-AAAA", 20);
    set_name(&records[2], "third", 6);
    for (int i = 0; i < PAGES; i++)
        touch(pages + i * PAGE_BYTES);
    (void)system_call(SYS_WRITE, 1, ready, sizeof ready - 1);
    records[0].value = work();
    (void)system_call(SYS_EXIT, sum() == 0, 0, 0);
    for (;;)
        ;
}
