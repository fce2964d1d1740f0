#include "lib_session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { DISK_BYTES = 1 << 20 };

char session_path[80];
char session_dir[64];

/* A BIOS whose loop fills pieces of memory from 64 KiB to 576 KiB and halts
 * after 64 of them. Each timer interrupt (every 6.9 ms) counts, sends the count
 * to port E9h, echoes a byte of COM1, and every fourth writes a sector of the
 * disk by PIO. */
/* clang-format off */
static const uint8_t guest_code[] = {
    0xfa,                                  /* cli */
    0x31, 0xc0,                            /* xor %ax,%ax */
    0x8e, 0xd8,                            /* mov %ax,%ds */
    0x8e, 0xc0,                            /* mov %ax,%es */
    0x8e, 0xd0,                            /* mov %ax,%ss */
    0xbc, 0x00, 0x70,                      /* mov $0x7000,%sp */
    0xc7, 0x06, 0x20, 0x00, 0x9b, 0x00,    /* movw $0x9b,0x20 */
    0xc7, 0x06, 0x22, 0x00, 0x00, 0xf0,    /* movw $0xf000,0x22 */
    0x66, 0xb9, 0x1b, 0x00, 0x00, 0x00,    /* mov $0x1b,%ecx */
    0x0f, 0x32,                            /* rdmsr */
    0x80, 0xe4, 0xf7,                      /* and $0xf7,%ah */
    0x0f, 0x30,                            /* wrmsr */
    0xb0, 0x11,                            /* mov $0x11,%al */
    0xe6, 0x20,                            /* out %al,$0x20 */
    0xb0, 0x08,                            /* mov $0x8,%al */
    0xe6, 0x21,                            /* out %al,$0x21 */
    0xb0, 0x04,                            /* mov $0x4,%al */
    0xe6, 0x21,                            /* out %al,$0x21 */
    0xb0, 0x01,                            /* mov $0x1,%al */
    0xe6, 0x21,                            /* out %al,$0x21 */
    0xb0, 0xfe,                            /* mov $0xfe,%al */
    0xe6, 0x21,                            /* out %al,$0x21 */
    0xb0, 0x34,                            /* mov $0x34,%al */
    0xe6, 0x43,                            /* out %al,$0x43 */
    0xb0, 0x00,                            /* mov $0x0,%al */
    0xe6, 0x40,                            /* out %al,$0x40 */
    0xb0, 0x20,                            /* mov $0x20,%al */
    0xe6, 0x40,                            /* out %al,$0x40 */
    0x66, 0xb8, 0x04, 0x09, 0x00, 0x80,    /* mov $0x80000904,%eax */
    0xba, 0xf8, 0x0c,                      /* mov $0xcf8,%dx */
    0x66, 0xef,                            /* out %eax,(%dx) */
    0xba, 0xfc, 0x0c,                      /* mov $0xcfc,%dx */
    0xb8, 0x05, 0x00,                      /* mov $0x5,%ax */
    0xef,                                  /* out %ax,(%dx) */
    0x66, 0xb8, 0x40, 0x09, 0x00, 0x80,    /* mov $0x80000940,%eax */
    0xba, 0xf8, 0x0c,                      /* mov $0xcf8,%dx */
    0x66, 0xef,                            /* out %eax,(%dx) */
    0xba, 0xfc, 0x0c,                      /* mov $0xcfc,%dx */
    0xb8, 0x00, 0x80,                      /* mov $0x8000,%ax */
    0xef,                                  /* out %ax,(%dx) */
    0xb0, 0x02,                            /* mov $0x2,%al */
    0xba, 0xf6, 0x03,                      /* mov $0x3f6,%dx */
    0xee,                                  /* out %al,(%dx) */
    0xfb,                                  /* sti */
    0xa1, 0x02, 0x05,                      /* mov 0x502,%ax */
    0x83, 0xc0, 0x37,                      /* add $0x37,%ax */
    0x25, 0xff, 0x7f,                      /* and $0x7fff,%ax */
    0x0d, 0x00, 0x10,                      /* or $0x1000,%ax */
    0xa3, 0x02, 0x05,                      /* mov %ax,0x502 */
    0x8e, 0xc0,                            /* mov %ax,%es */
    0x89, 0xc7,                            /* mov %ax,%di */
    0x81, 0xe7, 0xff, 0x0f,                /* and $0xfff,%di */
    0xb9, 0x40, 0x00,                      /* mov $0x40,%cx */
    0xf3, 0xab,                            /* rep stos %ax,%es:(%di) */
    0x66, 0xff, 0x06, 0x04, 0x05,          /* incl 0x504 */
    0xf6, 0x06, 0x04, 0x05, 0x3f,          /* testb $0x3f,0x504 */
    0x75, 0xd8,                            /* jne 70 <main> */
    0xf4,                                  /* hlt */
    0xeb, 0xd5,                            /* jmp 70 <main> */
    0x60,                                  /* pusha */
    0xff, 0x06, 0x00, 0x05,                /* incw 0x500 */
    0xa0, 0x00, 0x05,                      /* mov 0x500,%al */
    0xe6, 0xe9,                            /* out %al,$0xe9 */
    0xba, 0xfd, 0x03,                      /* mov $0x3fd,%dx */
    0xec,                                  /* in (%dx),%al */
    0xa8, 0x01,                            /* test $0x1,%al */
    0x74, 0x0a,                            /* je b7 <isr+0x1c> */
    0xba, 0xf8, 0x03,                      /* mov $0x3f8,%dx */
    0xec,                                  /* in (%dx),%al */
    0x00, 0x06, 0x08, 0x05,                /* add %al,0x508 */
    0xe6, 0xe9,                            /* out %al,$0xe9 */
    0xf6, 0x06, 0x00, 0x05, 0x03,          /* testb $0x3,0x500 */
    0x75, 0x2d,                            /* jne eb <isr+0x50> */
    0xba, 0xf6, 0x01,                      /* mov $0x1f6,%dx */
    0xb0, 0xe0,                            /* mov $0xe0,%al */
    0xee,                                  /* out %al,(%dx) */
    0xba, 0xf2, 0x01,                      /* mov $0x1f2,%dx */
    0xb0, 0x01,                            /* mov $0x1,%al */
    0xee,                                  /* out %al,(%dx) */
    0x42,                                  /* inc %dx */
    0xa0, 0x00, 0x05,                      /* mov 0x500,%al */
    0xee,                                  /* out %al,(%dx) */
    0x42,                                  /* inc %dx */
    0x30, 0xc0,                            /* xor %al,%al */
    0xee,                                  /* out %al,(%dx) */
    0x42,                                  /* inc %dx */
    0xee,                                  /* out %al,(%dx) */
    0xba, 0xf7, 0x01,                      /* mov $0x1f7,%dx */
    0xb0, 0x30,                            /* mov $0x30,%al */
    0xee,                                  /* out %al,(%dx) */
    0xec,                                  /* in (%dx),%al */
    0xa8, 0x80,                            /* test $0x80,%al */
    0x75, 0xfb,                            /* jne db <isr+0x40> */
    0xba, 0xf0, 0x01,                      /* mov $0x1f0,%dx */
    0xbe, 0x00, 0x05,                      /* mov $0x500,%si */
    0xb9, 0x00, 0x01,                      /* mov $0x100,%cx */
    0xf3, 0x6f,                            /* rep outsw %ds:(%si),(%dx) */
    0xb0, 0x20,                            /* mov $0x20,%al */
    0xe6, 0x20,                            /* out %al,$0x20 */
    0x61,                                  /* popa */
    0xcf,                                  /* iret */
};
/* clang-format on */

static uint8_t bios[65536];

static bool read_zeros(void *context, uint64_t offset, void *out, size_t bytes,
                       struct error *err)
{
    (void)context, (void)offset, (void)err;
    memset(out, 0, bytes);
    return true;
}

static void close_nothing(void *context)
{
    (void)context;
}

int session_dir_make(void **state)
{
    (void)state;
    strcpy(session_dir, "/tmp/relive-session-XXXXXX");
    if (!mkdtemp(session_dir))
        return -1;
    (void)snprintf(session_path, sizeof session_path, "%s/s", session_dir);
    return 0;
}

int session_dir_remove(void **state)
{
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -r '%s'", session_dir);
    return system(command);
}

struct block *session_disk(uint64_t bytes)
{
    const struct block_base base = {
        .bytes = bytes, .read = read_zeros, .close = close_nothing};
    struct error err;
    struct block *b = block_new("disk", &base, false, &err);
    assert_non_null(b);
    return b;
}

struct machine *session_machine(void)
{
    /* f000:fff0: jmp f000:0000 */
    static const uint8_t reset[] = {0xea, 0x00, 0x00, 0x00, 0xf0};
    struct machine_config config;
    struct error err = {0};
    memcpy(bios, guest_code, sizeof guest_code);
    memcpy(bios + 0xfff0, reset, sizeof reset);
    machine_config_init(&config);
    config.mem_bytes = 2 << 20;
    const struct machine_media media = {
        .disk = {session_disk(DISK_BYTES)},
        .bios = {.data = bios, .bytes = sizeof bios}};
    struct machine *m = machine_new(&config, &media, &err);
    if (!m)
        print_error("%s\n", err.text);
    assert_non_null(m);
    return m;
}

struct recorder_options session_options(void)
{
    static struct media_identity media = {.role = "bios", .path = "b.bin"};
    media.bytes = sizeof bios;
    media_hash(bios, sizeof bios, media.hash);
    return (struct recorder_options){.path = session_path,
                                     .media = &media,
                                     .media_count = 1,
                                     .build = "test",
                                     .created = 1};
}

void session_send(struct recorder *r, const char *text)
{
    struct error err;
    struct event e = {.type = EVENT_TYPE_SERIAL,
                      .bytes = (uint16_t)strlen(text)};
    memcpy(e.payload, text, e.bytes);
    assert_true(recorder_inject(r, &e, &err));
}

/* Such a guest runs a second in so little time that on a busy machine snapshots
 * would be left out: let each be copied before the next is due. */
static void run_to(struct recorder *r, struct machine *m, uint64_t tick)
{
    while (machine_tick(m) < tick) {
        uint64_t next = machine_tick(m) + SECOND / 16;
        assert_int_equal(recorder_run(r, next < tick ? next : tick),
                         STOP_TICK);
        snapshotter_wait_copied(recorder_snapshotter(r));
    }
}

void session_record(const struct recorder_options *options, unsigned seconds)
{
    struct error err = {0};
    struct machine *m = session_machine();
    struct recorder *r = recorder_new(options, m, &err);
    if (!r)
        print_error("%s\n", err.text);
    assert_non_null(r);
    for (unsigned i = 1; i <= seconds; i++) {
        run_to(r, m, i * SECOND - 12345 * i);
        session_send(r, i % 3 ? "a" : "bc");
        if (i % 4 == 0)
            session_send(r, "d");
        run_to(r, m, i * SECOND);
    }
    if (!recorder_finish(r, STOP_TICK, &err))
        print_error("%s\n", err.text);
    assert_string_equal(err.text, "");
    recorder_free(r);
    machine_free(m);
}

struct replayer *session_replayer(struct machine **m)
{
    struct error err = {0};
    struct replayer *rp = replayer_open(session_path, &err);
    if (!rp)
        print_error("%s\n", err.text);
    assert_non_null(rp);
    *m = session_machine();
    assert_true(replayer_attach(rp, *m, &err));
    return rp;
}

void session_drop(struct replayer *rp, struct machine *m)
{
    replayer_free(rp);
    machine_free(m);
}
