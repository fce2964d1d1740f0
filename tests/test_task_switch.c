/* Hardware task switches that fault, with scenarios of the KVM oracle. */
#include "lib_kvm_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    GDT_AT = AT_FAR_DATA + 0x1000 - 128
}; /* the old TSS's descriptor is in
      the first page, the new one's
      in the second */

static void enter_paged(struct scene *sc)
{
    uint64_t seed = 0;
    do {
        scene_begin(sc, seed++);
        scene_enter(sc, MODE_P32, 0);
    } while (sc->paging != PAGING_32);
}

/* A JMP to a task while the old descriptor cannot be written. */
static void busy_bits_change_together(void **state)
{
    struct sys_result r;
    struct scene *sc = calloc(1, sizeof *sc);
    struct kvm_tier0 *tier0 = kvm_tier0_new();
    uint8_t *after = malloc(SYS_MEM_BYTES);
    (void)state;
    assert_true(sc && tier0 && after);
    enter_paged(sc);
    scene_tasks(sc);
    memcpy(sc->mem + GDT_AT, sc->mem + AT_GDT, SLOT_END * 8);
    sc->s.gdtr.base = GDT_AT;
    sc->s.cr0 |= CR0_WP;
    scene_put(sc, AT_PT + AT_FAR_DATA / 4096 * 4, AT_FAR_DATA | 0x65, 4);
    EMIT(sc, 0xea, 0, 0, 0, 0, SLOT_TSS32 * 8, 0);
    kvm_tier0_run(tier0, &sc->s, sc->mem, &r, after);

    assert_int_equal(r.end, SYS_HALTED);
    assert_int_equal(r.s.rip, AT_HANDLER + 4 * 14 + 1); /* #PF */
    assert_int_equal(r.s.cr2, GDT_AT + SLOT_TSS * 8 + 5);
    assert_int_equal(r.s.tr.selector, SLOT_TSS * 8);
    assert_memory_equal(after + GDT_AT, sc->mem + GDT_AT, SLOT_END * 8);
    free(after);
    kvm_tier0_free(tier0);
    free(sc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(busy_bits_change_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
