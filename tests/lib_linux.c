#include "lib_linux.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    DISK_BYTES = 4 << 20,
    LOG_MAX = 100000 /* a boot adds less to the log */
};

/* A disk of bytes that no pattern of addresses would give. */
static void make_disk(const char *path)
{
    uint32_t x = 2463534242u;
    uint8_t *bytes = malloc(DISK_BYTES);
    assert_non_null(bytes);
    for (size_t i = 0; i < DISK_BYTES; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = (uint8_t)x;
    }
    lab_write_bytes(path, bytes, DISK_BYTES);
    free(bytes);
}

static void write_script(const char *arch)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%s.txt", arch);
    lab_write(path,
              "wait serial \"guest# \" within 120s\n"
              "serial \"uname -m\\n\"\n"
              "wait serial \"guest# \" within 20s\n"
              "serial \"md5sum /dev/sda\\n\"\n"
              "wait serial \"/dev/sda\" within 60s\n"
              "wait serial \"guest# \" within 20s\n"
              "serial \"echo written-$((6*7)) | dd of=/dev/sda bs=512 seek=9 "
              "conv=notrunc,sync; sync; echo 3 >/proc/sys/vm/drop_caches; "
              "dd if=/dev/sda bs=512 skip=9 count=1 | head -n 1\\n\"\n"
              "wait serial \"written-42\" within 60s\n"
              "wait serial \"guest# \" within 20s\n"
              "wait screen \"guest#\" within 20s\n"
              "type \"echo screen $((40+2)) is up\\n\"\n"
              "wait screen \"screen 42 is up\" within 20s\n"
              "serial \"grep -c . /proc/bus/input/devices; "
              "dd if=/dev/input/mice bs=3 count=4 2>/dev/null | od -t x1\\n\"\n"
              "after 500ms mouse move 10 -3\n"
              "after 20ms mouse click left\n"
              "after 200ms mouse move -5 7\n"
              "wait serial \"0000014\" within 20s\n"
              "wait serial \"guest# \" within 20s\n"
              "screenshot %s.png\n"
              "serial \"poweroff -f\\n\"\n",
              arch);
}

void linux_records_and_replays(struct lab *lab, const char *arch,
                               const char *machine)
{
    char name[64], recorded[64], replayed[64];
    unsigned long long ticks;
    (void)snprintf(name, sizeof name, "vmlinuz-%s", arch);
    lab_needs(lab, name);
    make_disk("disk.img");
    write_script(arch);
    lab_run(lab,
            "$R record -o %s --kernel $G/vmlinuz-%s --initrd $G/initrd-%s "
            "--append 'console=tty1 console=ttyS0 quiet relive.disk "
            "relive.mouse' --disk disk.img --input %s.txt --serial file:%s.log "
            "--rtc 2026-01-31T12:00:00; status=$?; cat %s.log; "
            "md5sum disk.img; exit $status",
            arch, arch, arch, arch, arch, arch);
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "the guest powered off");
    lab_assert_text(lab, machine);
    lab_assert_text(lab, "written-42");
    ticks = lab_figure(lab, "ticks");
    lab_state(lab, recorded);
    assert_in_range(lab_figure(lab, "bytes ("), 100, LOG_MAX);

    /* The guest read the disk's bytes, and the image was not written to. */
    lab_run(lab, "set -- $(md5sum disk.img); grep -q \"^$1  /dev/sda\" %s.log",
            arch);
    lab_assert_status(lab, 0);
    lab_run(lab, "$R screenshot %s --at %llu -o at.png && cmp at.png %s.png",
            arch, ticks, arch);
    /* Recorded with compiled code, replayed without. */
    lab_run(lab, "$R replay --engine interp %s $S --serial - >again.log && "
                 "cmp again.log %s.log",
            arch, arch);
    lab_assert_text(lab, "all equal");
    lab_assert_status(lab, 0);
    lab_state(lab, replayed);
    assert_string_equal(recorded, replayed);
    lab_run(lab, "$R check %s", arch);
    lab_assert_status(lab, 0);
}
