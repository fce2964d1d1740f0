/* Segments against the host's processor: random descriptors in its local
 * descriptor table, used from compatibility mode at CPL 3, must load, fault,
 * limit and answer LAR, LSL, VERR and VERW as they do in tier 0. */
#include "lib_kvm_scene.h"
#include "lib_ldt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CASES = 4000, EDGE = AT_DATA };

struct bench {
    struct scene scene;
    struct kvm_tier0 *tier0; /* owned */
    uint8_t after[SYS_MEM_BYTES];
    unsigned selector, limit;
};

/* What the handler that the code ended in was given. */
struct ending {
    unsigned trap;
    uint64_t error, rip;
    uint16_t cs;
    uint32_t flags;
};

static struct ending find_ending(const struct bench *b,
                                 const struct sys_result *r)
{
    static const uint32_t has_error = 1u << 8 | 31u << 10 | 1u << 17;
    struct ending e = {.trap = (unsigned)(r->s.rip - 1 - AT_HANDLER) / 4};
    uint64_t frame[3];
    size_t at = r->s.r[REG_RSP];
    if (e.trap < 32 && (has_error >> e.trap & 1)) {
        memcpy(&e.error, b->after + at, 8);
        at += 8;
    }
    memcpy(frame, b->after + at, sizeof frame);
    e.rip = frame[0];
    e.cs = (uint16_t)frame[1];
    e.flags = (uint32_t)frame[2];
    return e;
}

static bool choose_segment(struct bench *b, unsigned index)
{
    struct scene *sc = &b->scene;
    struct ldt_entry e = {
        .contents = scene_below(sc, 3),
        .is_restricted = scene_chance(sc, 40),
        .is_absent = scene_chance(sc, 12),
        .is_32 = scene_chance(sc, 50),
        .in_pages = scene_chance(sc, 30),
    };
    e.limit = e.in_pages ? 6 + scene_below(sc, 5) : EDGE + scene_below(sc, 64);
    if (scene_chance(sc, 5)) { /* Linux allows it when absent */
        e.contents = 3;
        e.is_absent = true;
    }
    b->limit = e.in_pages ? e.limit << 12 | 0xfff : e.limit;
    b->selector =
        index * 8 | 4 | (scene_chance(sc, 80) ? 3 : scene_below(sc, 4));
    return ldt_set(index, &e, sc->mem + AT_LDT + index * 8);
}

static void emit_access(struct bench *b)
{
    static const uint8_t ops[] = {0x8a, 0x88, 0x8b, 0x89, 0x03, 0x01, 0x39};
    struct scene *sc = &b->scene;
    EMIT(sc, 0x8e, 0xc0); /* MOV ES, AX */
    if (scene_chance(sc, 30))
        EMIT(sc, 0x66);
    EMIT(sc, 0x26, PICK(sc, ops), 0x15);
    scene_emit_value(sc, b->limit - 6 + scene_below(sc, 10), 4);
}

static void emit_stack(struct bench *b)
{
    static const uint8_t ops[] = {0x52, 0x5a, 0x6a};
    struct scene *sc = &b->scene;
    uint8_t op = PICK(sc, ops);
    EMIT(sc, 0x89, 0xe5, 0x8e, 0xd0, 0xbc); /* EBP = ESP; SS = AX; ESP = */
    scene_emit_value(sc, b->limit - 6 + scene_below(sc, 12), 4);
    if (scene_chance(sc, 30))
        EMIT(sc, 0x66);
    EMIT(sc, op);
    if (op == 0x6a)
        EMIT(sc, 0x81);
    EMIT(sc, 0x89, 0xe0, 0x8e, 0xd1, 0x89, 0xec); /* EAX = ESP; SS, ESP back */
}

static void emit_far(struct bench *b)
{
    struct scene *sc = &b->scene;
    uint32_t offset = AT_DATA - 0x800 + scene_below(sc, 64); /* HLT there */
    if (scene_chance(sc, 30) && b->limit >= EDGE && b->limit < EDGE + 64)
        offset = b->limit - 2 + scene_below(sc, 4);
    if (scene_chance(sc, 25)) { /* CALL, the stack odd and AC set */
        EMIT(sc, 0x9c, 0x80, 0x4c, 0x24, 0x02, 0x04, 0x9d, 0x4c);
        EMIT(sc, 0x9a);
        scene_emit_value(sc, offset, 4);
        scene_emit_value(sc, b->selector, 2);
        return;
    }
    if (scene_chance(sc, 60)) { /* JMP */
        EMIT(sc, 0xea);
        scene_emit_value(sc, offset, 4);
        scene_emit_value(sc, b->selector, 2);
        return;
    }
    EMIT(sc, 0x50, 0x68); /* PUSH EAX; PUSH offset; RET or IRET */
    if (scene_chance(sc, 50)) {
        scene_emit_value(sc, offset, 4);
        EMIT(sc, 0xcb);
        return;
    }
    sc->at -= 2;
    EMIT(sc, 0x68);
    scene_emit_value(sc, 0x202, 4);
    EMIT(sc, 0x50, 0x68);
    scene_emit_value(sc, offset, 4);
    EMIT(sc, 0xcf);
}

static void emit_code(struct bench *b)
{
    struct scene *sc = &b->scene;
    switch (scene_below(sc, 8)) {
    case 0:
        EMIT(sc, 0x0f, 0x02, 0xd0); /* LAR EDX, EAX */
        break;
    case 1:
        EMIT(sc, 0x0f, 0x03, 0xd0); /* LSL */
        break;
    case 2:
        EMIT(sc, 0x0f, 0x00, 0xe0); /* VERR */
        break;
    case 3:
        EMIT(sc, 0x0f, 0x00, 0xe8); /* VERW */
        break;
    case 4:
        emit_stack(b);
        break;
    case 5:
        emit_far(b);
        break;
    default:
        emit_access(b);
    }
}

static bool same(const struct bench *b, const struct ldt_result *h,
                 const struct sys_result *r)
{
    const struct scene *sc = &b->scene;
    struct ending e = find_ending(b, r);
    bool at_code = e.cs == sc->s.seg[SEG_CS].selector;
    if (r->end != SYS_HALTED)
        return false;
    /* Our code ends in a HLT, which CPL 3 may not execute. */
    if (h->trap == LDT_NO_TRAP)
        return e.trap == 13 && at_code && e.rip == sc->at && e.error == 0 &&
               h->eax == (uint32_t)r->s.r[REG_RAX] &&
               h->edx == (uint32_t)r->s.r[REG_RDX] &&
               ((h->flags ^ e.flags) & FLAGS_ARITH) == 0;
    if (h->trap != e.trap || h->error != e.error || h->is_at_code != at_code)
        return false;
    return at_code ? h->rip == e.rip - sc->start
                   : h->rip == e.rip && h->cs == e.cs;
}

static void print_case(const struct bench *b, unsigned seed,
                       const struct ldt_result *h, const struct sys_result *r)
{
    const struct scene *sc = &b->scene;
    struct ending e = find_ending(b, r);
    uint64_t d = scene_get(sc, AT_LDT + (b->selector & 0xf8), 8);
    print_error("seed %u: descriptor %016llx selector %x code", seed,
                (unsigned long long)d, b->selector);
    for (unsigned at = sc->start; at < sc->at; at++)
        print_error(" %02x", sc->mem[at]);
    print_error("\n  host   trap %u(%llx) cs %x rip %llx eax %x edx %x\n",
                h->trap, (unsigned long long)h->error, h->cs,
                (unsigned long long)h->rip, h->eax, h->edx);
    print_error("  tier 0 trap %u(%llx) cs %x rip %llx eax %x edx %x\n", e.trap,
                (unsigned long long)e.error, e.cs, (unsigned long long)e.rip,
                (unsigned)r->s.r[REG_RAX], (unsigned)r->s.r[REG_RDX]);
}

static bool run_case(struct bench *b, unsigned seed)
{
    struct scene *sc = &b->scene;
    struct ldt_result host;
    struct sys_result ours;
    scene_begin(sc, seed);
    scene_enter(sc, MODE_COMPAT32, 3);
    if (!choose_segment(b, seed % LDT_ENTRIES))
        return true;
    sc->s.rflags = 0x202;
    sc->s.cr0 |= CR0_AM; /* as the host has it */
    sc->s.r[REG_RAX] = b->selector;
    sc->s.r[REG_RCX] = sc->s.seg[SEG_SS].selector;
    emit_code(b);
    memcpy(ldt_memory(), sc->mem, LDT_MEMORY_BYTES);
    ldt_run(sc->mem + sc->start, sc->at - sc->start, b->selector,
            (uint32_t)sc->s.r[REG_RDX], &host);
    kvm_tier0_run(b->tier0, &sc->s, sc->mem, &ours, b->after);
    bool is_same = same(b, &host, &ours) &&
                   memcmp(ldt_memory() + AT_DATA - 0x1000,
                          b->after + AT_DATA - 0x1000, 0x2000) == 0;
    if (!is_same)
        print_case(b, seed, &host, &ours);
    return is_same;
}

static void segments_behave_as_on_the_host(void **state)
{
    unsigned differ = 0;
    (void)state;
    if (!ldt_open()) {
        print_message("segments on the host: skipped, no modify_ldt here\n");
        skip();
    }
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->tier0 = kvm_tier0_new();
    assert_non_null(b->tier0);
    for (unsigned seed = 1; seed <= CASES && differ < 10; seed++)
        differ += !run_case(b, seed);
    kvm_tier0_free(b->tier0);
    free(b);
    ldt_close();
    assert_int_equal(differ, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_behave_as_on_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
