/* Debian's gdb on recordings of Debian's kernels, amd64 and i386: from the end
 * of a program, or of the kernel, back to what caused it; and steps backwards
 * across everything that interrupts a program. */
#include "lib_program.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct system {
    const char *arch, *gdb_arch, *entry; /* the kernel's for system calls */
    const char *fd, *count;              /* arguments of ksys_write */
    const char *left;                    /* of a repeated instruction */
    const char *data;                    /* of proc_dointvec_minmax's table */
    const char *end;                     /* what follows the program */
    const char *until;                   /* and how the recording ends */
} systems[] = {
    {"amd64", "x86-64", "entry_SYSCALL_64", "$rdi", "$rdx", "$rcx",
     "*(unsigned long *)($rdi + 8)", "", ""},
    {"i386", "i386", "entry_INT80_32", "$eax", "$ecx", "$ecx",
     "*(unsigned *)($eax + 4)", ";echo_c_>/proc/sysrq-trigger",
     "--until-serial 'end Kernel panic'"},
};

/* A guest that prints addresses of its kernel, changes a setting, runs
 * tests/guests/corrupt.c and ends. '_' are blanks to its /init. */
static void record(struct lab *lab, const struct system *s)
{
    char name[64];
    (void)snprintf(name, sizeof name, "vmlinuz-%s", s->arch);
    lab_needs(lab, name);
    (void)snprintf(name, sizeof name, "corrupt-%s", s->arch);
    lab_needs(lab, name);
    lab_run(
        lab,
        "test -d %1$s && exit; mkdir -p root && "
        "cp $G/corrupt-%1$s root/corrupt && "
        "(cd root && echo corrupt | cpio --quiet -o -H newc | gzip) "
        ">more && cat $G/initrd-%1$s more >initrd-%1$s && "
        "$R record -o %1$s --kernel $G/vmlinuz-%1$s --initrd initrd-%1$s "
        "--append \"console=ttyS0 nokaslr relive.run=grep_-E_'T.ksys.write\\$"
        "|proc.dointvec.minmax\\$|asm.sysvec.apic.timer.interrupt\\$|"
        "T.asm.exc.page.fault\\$|entry.SYSCALL.64\\$|entry.INT80.32\\$'_"
        "/proc/kallsyms;echo_19_>/proc/sys/vm/swappiness;/corrupt%2$s\" "
        "--mem 128M --pace max --vga none --serial file:%1$s.log %3$s && "
        "cp %1$s.log log",
        s->arch, s->end, s->until);
    lab_assert_status(lab, 0);
}

/* An address that the guest has printed. */
static unsigned long long kernel_address(const struct system *s,
                                         const char *name)
{
    char file[64], word[64];
    size_t bytes;
    (void)snprintf(file, sizeof file, "%s.log", s->arch);
    (void)snprintf(word, sizeof word, " %s\r", name);
    char *log = lab_read(file, &bytes), *at = strstr(log, word);
    if (!at)
        fail_msg("the guest does not say where %s is: %s", name, log);
    while (at > log && at[-1] != '\n')
        at--;
    unsigned long long address = strtoull(at, NULL, 16);
    free(log);
    assert_true(address != 0);
    return address;
}

/* Serve the session from a tick to gdb, which runs the commands of script.gdb;
 * the text is gdb's. */
static void debug(struct lab *lab, const char *session, const char *at,
                  const char *gdb_arch)
{
    lab_run(lab, "command -v gdb");
    if (lab->status != 0)
        skip();
    lab_run(lab,
            "rm -f socket; $R debug %s --at %s --arch %s --listen unix:socket "
            ">served 2>&1 & for i in $(seq 1000); do test -S socket && break; "
            "sleep 0.02; done; timeout 300 gdb -nx -q -batch "
            "-x script.gdb 2>&1; status=$?; wait; exit $status",
            session, at, gdb_arch);
    lab_assert_status(lab, 0);
}

#define HEAD                                                                   \
    "set pagination off\nset confirm off\nset width 0\n"                       \
    "symbol-file %s/corrupt-%s\ntarget remote ./socket\n"

/* The texts are there in this order. */
static void expect(const struct lab *lab, const char *const *texts)
{
    const char *at = lab->text;
    for (; *texts; texts++) {
        const char *found = strstr(at, *texts);
        if (!found)
            fail_msg("expected '%s' next in: %s", *texts, lab->text);
        at = found + strlen(*texts);
    }
}
#define EXPECT(lab, ...) expect(lab, (const char *const[]){__VA_ARGS__, NULL})

/* ---- backwards through a program and its kernel
 * ---------------------------------- */

static void travel(struct lab *lab, const struct system *s)
{
    record(lab, s);
    lab_write(
        "script.gdb",
        HEAD
        /* The end of the program, then its bug. */
        "hbreak *sum\nreverse-continue\ndelete\n"
        "watch records[1].next\nreverse-continue\n"
        "printf \"copy %%d left %%d\\n\", $pc == (unsigned long)&at_copy, %s\n"
        "reverse-stepi\n"
        "printf \"back %%d left %%d\\n\", $pc == (unsigned long)&at_copy, %s\n"
        "stepi\nstepi\n"
        "printf \"behind %%d\\n\", $pc == (unsigned long)&behind_copy\n"
        /* A page fault. */
        "delete\nhbreak *at_touch\ncontinue\nstepi\n"
        "printf \"fault %%d\\n\", $pc == %#llx\nreverse-stepi\n"
        "printf \"touch %%d\\n\", $pc == (unsigned long)&at_touch\n"
        /* A system call, and a function of the kernel. */
        "delete\nhbreak *at_syscall\ncontinue\nstepi\n"
        "printf \"entry %%d\\n\", $pc == %#llx\nreverse-stepi\n"
        "printf \"call %%d\\n\", $pc == (unsigned long)&at_syscall\n"
        "delete\nhbreak *%#llx\ncontinue\n"
        "printf \"ksys_write fd %%d count %%d\\n\", %s, %s\n"
        /* An interrupt. */
        "delete\nhbreak *%#llx\ncontinue\n"
        "set $handler = $pc\nreverse-stepi\n"
        "printf \"interrupted %%d\\n\", $pc != $handler\nstepi\n"
        "printf \"handler %%d\\n\", $pc == $handler\n"
        /* Who wrote the setting? Its address is in the table that its handler
         * is called with. */
        "delete\nhbreak *%#llx\nreverse-continue\nset $setting = %s\n"
        "delete\nhbreak *sum\ncontinue\ndelete\n"
        "watch *(int *)$setting\nreverse-continue\n"
        "printf \"kernel %%d\\n\", $pc > %s\n"
        "stepi\nprintf \"setting %%d\\n\", *(int *)$setting\n"
        "detach\n",
        lab->guests, s->arch, s->left, s->left,
        kernel_address(s, "asm_exc_page_fault"), kernel_address(s, s->entry),
        kernel_address(s, "ksys_write"), s->fd, s->count,
        kernel_address(s, "asm_sysvec_apic_timer_interrupt"),
        kernel_address(s, "proc_dointvec_minmax"), s->data,
        s->until[0] ? "0xc0000000" : "0xffffffff80000000");
    debug(lab, s->arch, "end", s->gdb_arch);
    EXPECT(lab, "records[1].next", "Old value = (struct record *) 0x41414141",
           "New value = (struct record *) 0x31414141", "copy 1 left 1",
           "back 1 left 2", "behind 1", "fault 1", "touch 1", "entry 1",
           "call 1", "ksys_write fd 1 count 15", "interrupted 1", "handler 1",
           "Old value = 19", "New value = 60", "kernel 1", "setting 19");
}

static void gdb_travels_in_amd64(void **state)
{
    travel(*state, &systems[0]);
}

static void gdb_travels_in_i386(void **state)
{
    travel(*state, &systems[1]);
}

static void gdb_crosses_the_mode_switch_of_the_bios(void **state)
{
    struct lab *lab = *state;
    record(lab, &systems[1]);
    lab_write("script.gdb",
              HEAD
              "set $n = 0\n"
              "while ($cr0 & 1) == 0 && $n < 5000\nstepi\n"
              "set $n = $n + 1\nend\n"
              "printf \"protected %%d\\n\", $cr0 & 1\nset $there = $pc\n"
              "reverse-stepi\nprintf \"real %%d\\n\", $cr0 & 1\n"
              "stepi\nprintf \"again %%d %%d\\n\", $cr0 & 1, $pc == $there\n"
              "reverse-continue\nprintf \"reset %%x\\n\", $pc\ndetach\n",
              lab->guests, "i386");
    debug(lab, "i386", "0", "i386");
    EXPECT(lab, "protected 1", "real 0", "again 1 1",
           "No more reverse-execution history", "reset fffffff0");
}

/* ---- what `relive crash` says
 * ---------------------------------------------------- */

/* README.md, "From the crash to its cause", in five commands. */
static void a_killed_program_leads_to_its_bug(void **state)
{
    struct lab *lab = *state;
    record(lab, &systems[0]);
    lab_run(lab, "$R crash amd64");
    lab_assert_status(lab, 1);
    EXPECT(lab, "program: [", "corrupt[", "segfault at 41414159 ip",
           "in front of the instruction that raised #PF", "add rdx, [rax+0x18]",
           "rax 0000000041414141");
    lab_run(lab, "$R crash amd64 --json | sed -n 's/ *\"tick\": "
                 "\\([0-9]*\\).*/\\1/p'");
    char at[32];
    (void)snprintf(at, sizeof at, "%llu", strtoull(lab->text, NULL, 10));
    lab_write("script.gdb",
              HEAD "watch records[1].next\nreverse-continue\ndetach\n",
              lab->guests, "amd64");
    debug(lab, "amd64", at, "x86-64");
    EXPECT(lab, "Old value = (struct record *) 0x41414141",
           "New value = (struct record *) 0x31414141", "at_copy");
}

static void a_panic_leads_to_its_call(void **state)
{
    struct lab *lab = *state;
    record(lab, &systems[1]);
    lab_run(lab, "$R crash i386");
    lab_assert_status(lab, 1);
    EXPECT(lab, "linux: [", "Kernel panic - not syncing: sysrq triggered crash",
           "backtrace", "kernel!panic", "kernel!sysrq_handle_crash+",
           "kernel!write_sysrq_trigger+", "kernel!ksys_write+");
    lab_run(lab, "$R crash i386 --json");
    lab_assert_text(lab, "\"name\": \"kernel!panic\"");
}

/* A module of the kernel's with a bug planted in its first function: behind the
 * call for tracers that each begins with, a load through a null pointer. */
static void plant_bug(struct lab *lab)
{
    static const char bug[] = {0x31, (char)0xf6, (char)0xac};
    static const char call = (char)0xe8;
    enum { CALL_BYTES = 5, SIGNATURE_MARK_BYTES = 28 };
    char path[1200];
    size_t bytes;
    (void)snprintf(path, sizeof path, "%s/amd64/modules/evdev.ko", lab->guests);
    if (access(path, R_OK) != 0)
        skip();
    char *file = lab_read(path, &bytes);
    Elf64_Ehdr head;
    Elf64_Shdr names, section;
    uint64_t at = 0;
    memcpy(&head, file, sizeof head);
    memcpy(&names, file + head.e_shoff + head.e_shstrndx * sizeof names,
           sizeof names);
    for (unsigned i = 0; i < head.e_shnum; i++) {
        memcpy(&section, file + head.e_shoff + i * sizeof section,
               sizeof section);
        if (strcmp(file + names.sh_offset + section.sh_name, ".init.text") == 0)
            at = section.sh_offset;
    }
    assert_true(at != 0 && file[at] == call);
    memcpy(file + at + CALL_BYTES, bug, sizeof bug);
    /* Without the mark nobody asks for the signature, which fits no longer. */
    lab_write_bytes("root/bug.ko", file, bytes - SIGNATURE_MARK_BYTES);
    free(file);
}

static void an_oops_leads_to_the_instruction(void **state)
{
    struct lab *lab = *state;
    lab_needs(lab, "vmlinuz-amd64");
    lab_run(lab, "mkdir -p root");
    plant_bug(lab);
    lab_run(lab,
            "(cd root && echo bug.ko | cpio --quiet -o -H newc | gzip) >more "
            "&& cat $G/initrd-amd64 more >initrd-oops && "
            "$R record -o oops --kernel $G/vmlinuz-amd64 --initrd initrd-oops "
            "--append 'console=ttyS0 relive.run=insmod_/bug.ko' --mem 128M "
            "--pace max --vga none");
    lab_assert_status(lab, 0);
    lab_run(lab, "$R crash oops");
    lab_assert_status(lab, 1);
    EXPECT(lab, "linux: [", "BUG: kernel NULL pointer dereference, address: 0",
           "in front of the instruction that raised #PF", "=> ", "lodsb",
           "rsi 0000000000000000", "backtrace",
           "kernel!do_one_initcall+", "kernel!do_init_module+");
}

/* ---- kdump's notes
 * ---------------------------------------------------------------- */

static void a_core_is_one_of_kdump(void **state)
{
    struct lab *lab = *state;
    for (unsigned i = 0; i < 2; i++) {
        record(lab, &systems[i]);
        lab_run(lab,
                "$R export %s --format elfcore -o core && "
                "readelf -n core && strings core | grep -m 1 OSRELEASE=6",
                systems[i].arch);
        lab_assert_status(lab, 0);
        EXPECT(lab, "NT_PRSTATUS", "QEMU", "VMCOREINFO", "OSRELEASE=6.");
        lab_run(lab, "command -v crash");
        if (lab->status != 0 ||
            i == 1) /* it reads those of its own word size */
            continue;
        lab_run(lab, "crash --osrelease core");
        lab_assert_status(lab, 0);
        lab_assert_text(lab, "-amd64");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gdb_travels_in_amd64),
        cmocka_unit_test(gdb_travels_in_i386),
        cmocka_unit_test(gdb_crosses_the_mode_switch_of_the_bios),
        cmocka_unit_test(a_killed_program_leads_to_its_bug),
        cmocka_unit_test(a_panic_leads_to_its_call),
        cmocka_unit_test(an_oops_leads_to_the_instruction),
        cmocka_unit_test(a_core_is_one_of_kdump),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
