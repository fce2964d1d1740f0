/* Ways to boot: floppy, hard disk, CD (GRUB), multiboot, memtest86+. Each looks
 * at what the guest shows. */
#include "lib_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define FIXED "--rtc 2026-01-31T12:00:00 --mem 64M --until 60s"

static void press_a_key(void)
{
    lab_write("key.txt", "wait screen \"press a key\" within 30s\n"
                         "screenshot boot.png\n"
                         "key x\n");
}

/* A replay reaches the recorded state, and its picture has the same bytes. */
static void replays(struct lab *lab, const char *session)
{
    char recorded[64], replayed[64];
    lab_state(lab, recorded);
    lab_run(lab, "$R replay %s $S --screenshot replay.png", session);
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "all equal");
    lab_state(lab, replayed);
    assert_string_equal(recorded, replayed);
}

static void floppy_boots_and_reads_the_keyboard(void **state)
{
    struct lab *lab = *state;
    press_a_key();
    lab_run(lab,
            "$R record -o floppy --floppy $G/disk_text.bin --boot a " FIXED
            " --input key.txt --serial stdio");
    lab_assert_text(lab, "relive disk guest");
    lab_assert_text(lab, "35 sectors are right");
    lab_assert_text(lab, "key x");
    lab_assert_status(lab, 33);
    replays(lab, "floppy");
}

static void hard_disk_boots(void **state)
{
    struct lab *lab = *state;
    press_a_key();
    lab_run(lab,
            "$R record -o disk --disk $G/disk_text.bin " FIXED
            " --input key.txt --serial stdio");
    lab_assert_text(lab, "35 sectors are right");
    lab_assert_text(lab, "key x");
    lab_assert_status(lab, 33);
    replays(lab, "disk");
}

static void multiboot_image_gets_what_the_specification_says(void **state)
{
    struct lab *lab = *state;
    lab_run(lab, "$R record -o multi --kernel $G/elf_multiboot.bin "
                 "--append 'some words' " FIXED " --debugcon stdio");
    lab_assert_text(lab, "relive multiboot guest: ");
    lab_assert_text(lab, "some words");
    lab_assert_status(lab, 33);
    replays(lab, "multi");
}

static void grub_rescue_cd_reaches_its_menu(void **state)
{
    struct lab *lab = *state;
    lab_needs(lab, "grub.iso");
    lab_write("grub.txt", "wait screen \"*relive rescue entry one\" within 60s\n"
                          "key down\n"
                          "wait screen \"*relive halt\" within 10s\n"
                          "screenshot grub.png\n"
                          "quit\n");
    lab_run(lab, "$R record -o grub --cdrom $G/grub.iso --boot d " FIXED
                 " --input grub.txt");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "the input script ended the run");
    replays(lab, "grub");
}

static void memtest_completes_part_of_a_pass(void **state)
{
    struct lab *lab = *state;
    lab_needs(lab, "memtest.bin");
    lab_write("memtest.txt", "wait screen \"Memtest86+\" within 30s\n"
                             "wait screen \"Test #6\" within 30s\n"
                             "wait screen \"Errors: 0\" within 1s\n"
                             "screenshot memtest.png\n"
                             "quit\n");
    lab_run(lab, "$R run --kernel $G/memtest.bin --mem 16M --until 60s "
                 "--input memtest.txt $S");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "the input script ended the run");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floppy_boots_and_reads_the_keyboard),
        cmocka_unit_test(hard_disk_boots),
        cmocka_unit_test(multiboot_image_gets_what_the_specification_says),
        cmocka_unit_test(grub_rescue_cd_reaches_its_menu),
        cmocka_unit_test(memtest_completes_part_of_a_pass),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
