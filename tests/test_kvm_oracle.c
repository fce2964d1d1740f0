/* A bounded, fixed-seed sample of the KVM oracle, of the groups that agree
 * everywhere. Where KVM cannot be used it says so and skips. */
#include "lib_kvm_compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { CASES = 40 };

static void tier_0_agrees_with_kvm(void **state)
{
    const char *why;
    struct kvm_oracle *o = kvm_oracle_new(&why);
    (void)state;
    if (!o) {
        print_message("KVM oracle: skipped, %s\n", why);
        skip();
    }
    for (unsigned g = 0; g < scene_group_count; g++) {
        if (!scene_groups[g].is_sampled)
            continue;
        for (uint64_t seed = 1; seed <= CASES; seed++)
            (void)kvm_oracle_case(o, &scene_groups[g], seed);
    }
    uint64_t differ = o->differ;
    print_message("KVM oracle: %lu cases, %lu without an answer%s\n",
                  (unsigned long)o->cases, (unsigned long)o->gave_up,
                  o->scene->is_soft_kvm ? ", on a software KVM" : "");
    kvm_oracle_free(o);
    assert_int_equal(differ, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tier_0_agrees_with_kvm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
