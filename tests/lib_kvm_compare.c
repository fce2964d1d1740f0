#include "lib_kvm_compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Some software KVMs shut down at the first instruction under 32-bit or PAE
 * paging. */
static bool runs_legacy_paging(struct kvm_oracle *o)
{
    struct sys_result r;
    const uint8_t *after;
    uint64_t seed = 0;
    do {
        scene_begin(o->scene, seed++);
        scene_enter(o->scene, MODE_P32, 0);
    } while (o->scene->paging == PAGING_NONE);
    kvm_vm_run(o->vm, &o->scene->s, o->scene->mem, &r, &after);
    return r.end == SYS_HALTED;
}

struct kvm_oracle *kvm_oracle_new(const char **why)
{
    struct kvm_oracle *o = calloc(1, sizeof *o);
    *why = "no memory";
    if (!o)
        return NULL;
    o->show = 20;
    o->scene = calloc(1, sizeof *o->scene);
    o->after = calloc(1, SYS_MEM_BYTES);
    o->tier0 = kvm_tier0_new();
    if (o->scene && o->after && o->tier0)
        o->vm = kvm_vm_new(why);
    if (o->vm) {
        o->scene->is_soft_kvm = !runs_legacy_paging(o);
        return o;
    }
    kvm_oracle_free(o);
    return NULL;
}

void kvm_oracle_free(struct kvm_oracle *o)
{
    if (!o)
        return;
    kvm_vm_free(o->vm);
    kvm_tier0_free(o->tier0);
    free(o->scene);
    free(o->after);
    free(o);
}

/* ---- differences ------------------------------------------------------------
 */

struct report {
    char text[4000];
    size_t used;
};

static void note(struct report *r, const char *name, uint64_t kvm,
                 uint64_t tier0)
{
    if (kvm == tier0 || r->used + 120 > sizeof r->text)
        return;
    r->used += (size_t)snprintf(r->text + r->used, sizeof r->text - r->used,
                                "  %-12s kvm %" PRIx64 ", tier 0 %" PRIx64 "\n",
                                name, kvm, tier0);
}

static void note_segment(struct report *r, const char *name,
                         const struct segment *k, const struct segment *t,
                         bool has_base, bool is_flat)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%s", name);
    note(r, text, k->selector, t->selector);
    bool present = k->attr & SEG_ATTR_P;
    (void)snprintf(text, sizeof text, "%s.present", name);
    note(r, text, present, (t->attr & SEG_ATTR_P) != 0);
    (void)snprintf(text, sizeof text, "%s.base", name);
    if (present || has_base)
        note(r, text, k->base, t->base);
    if (!present || is_flat)
        return;
    (void)snprintf(text, sizeof text, "%s.limit", name);
    note(r, text, k->limit, t->limit);
    (void)snprintf(text, sizeof text, "%s.attr", name);
    note(r, text, k->attr, t->attr);
}

static void compare_state(struct report *r, const struct sys_state *k,
                          const struct sys_state *t, uint64_t soft_flags)
{
    static const char *const regs[16] = {
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static const char *const segs[] = {"es", "cs", "ss", "ds", "fs", "gs"};
    char text[16];
    bool is_64 = (k->efer & EFER_LMA) && (k->seg[SEG_CS].attr & SEG_ATTR_L);
    for (unsigned n = 0; n < 16; n++)
        note(r, regs[n], k->r[n], t->r[n]);
    note(r, "rip", k->rip, t->rip);
    note(r, "rflags", k->rflags & ~soft_flags, t->rflags & ~soft_flags);
    for (unsigned n = 0; n < SEG_COUNT; n++)
        note_segment(r, segs[n], &k->seg[n], &t->seg[n], is_64 && n >= SEG_FS,
                     false);
    note_segment(r, "ldtr", &k->ldtr, &t->ldtr, false, false);
    note_segment(r, "tr", &k->tr, &t->tr, false, false);
    note(r, "gdtr.base", k->gdtr.base, t->gdtr.base);
    note(r, "gdtr.limit", k->gdtr.limit, t->gdtr.limit);
    note(r, "idtr.base", k->idtr.base, t->idtr.base);
    note(r, "idtr.limit", k->idtr.limit, t->idtr.limit);
    note(r, "cr0", k->cr0, t->cr0);
    note(r, "cr2", k->cr2, t->cr2);
    note(r, "cr3", k->cr3, t->cr3);
    note(r, "cr4", k->cr4, t->cr4);
    note(r, "cr8", k->cr8, t->cr8);
    note(r, "efer", k->efer, t->efer);
    for (unsigned n = 0; n < 8; n++) {
        (void)snprintf(text, sizeof text, "dr%u", n);
        if (n != 4 && n != 5)
            note(r, text, k->dr[n], t->dr[n]);
    }
    for (unsigned n = 0; n < SYS_MSR_COUNT; n++) {
        (void)snprintf(text, sizeof text, "msr %x", sys_msr_index[n]);
        note(r, text, k->msr[n], t->msr[n]);
    }
}

static void compare_memory(struct report *r, const uint8_t *before,
                           const uint8_t *k, const uint8_t *t)
{
    if (memcmp(k, t, SYS_MEM_BYTES) == 0)
        return;
    for (size_t at = 0; at < SYS_MEM_BYTES; at += 4) {
        uint32_t a, b, c;
        memcpy(&a, k + at, 4);
        memcpy(&b, t + at, 4);
        memcpy(&c, before + at, 4);
        if (a == b || r->used + 120 > sizeof r->text)
            continue;
        r->used += (size_t)snprintf(
            r->text + r->used, sizeof r->text - r->used,
            "  [%zx]      kvm %x, tier 0 %x, before %x\n", at, a, b, c);
    }
}

static void compare_ports(struct report *r, const struct sys_result *k,
                          const struct sys_result *t)
{
    note(r, "port count", k->ports, t->ports);
    for (unsigned n = 0; n < SYS_PORT_LOG; n++)
        note(r, "port access", k->port[n], t->port[n]);
}

/* ---- one case
 * ---------------------------------------------------------------- */

static void print_case(struct kvm_oracle *o, const struct scene_group *g,
                       uint64_t seed, const char *text)
{
    static const char *const modes[] = {"real", "v86",      "p16",     "p32",
                                        "64",   "compat32", "compat16"};
    const struct scene *sc = o->scene;
    fprintf(stderr,
            "%s seed %" PRIu64 ": mode %s cpl %u paging %d rflags %" PRIx64
            " sp %" PRIx64 " cr4 %" PRIx64 " bytes",
            g->name, seed, modes[sc->mode], sc->cpl, (int)sc->paging,
            sc->s.rflags, sc->s.r[REG_RSP], sc->s.cr4);
    for (unsigned at = sc->start; at < sc->at && at < sc->start + 24; at++)
        fprintf(stderr, " %02x", sc->mem[at]);
    fprintf(stderr, "\n%s", text);
}

bool kvm_oracle_case(struct kvm_oracle *o, const struct scene_group *g,
                     uint64_t seed)
{
    struct sys_result k, t;
    struct report r = {.used = 0};
    const uint8_t *after;
    scene_begin(o->scene, seed);
    g->build(o->scene);
    o->cases++;
    kvm_vm_run(o->vm, &o->scene->s, o->scene->mem, &k, &after);
    if (k.end == SYS_GAVE_UP) {
        o->gave_up++;
        if (getenv("KVM_ORACLE_WHY"))
            print_case(o, g, seed, k.why);
        return true;
    }
    kvm_tier0_run(o->tier0, &o->scene->s, o->scene->mem, &t, o->after);
    if (t.end == SYS_GAVE_UP) { /* a jump into the wild that goes on and on */
        o->gave_up++;
        return true;
    }
    note(&r, "end", k.end, t.end);
    if (k.end == SYS_HALTED && t.end == SYS_HALTED)
        compare_state(&r, &k.s, &t.s, o->scene->is_soft_kvm ? FLAG_AC : 0);
    compare_ports(&r, &k, &t);
    compare_memory(&r, o->scene->mem, after, o->after);
    if (r.used == 0)
        return true;
    o->differ++;
    if (o->shown++ < o->show)
        print_case(o, g, seed, r.text);
    return false;
}
