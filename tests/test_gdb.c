/* Debian's gdb, as it is installed, against `relive debug`. Runs the relive
 * beside this test's directory, or the one $RELIVE names. */
#include "lib_program.h"
#include "lib_travelguest.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { TEXT_MAX = 1 << 16, SECONDS = 600 };

struct fixture {
    char relive[4096];
    char dir[64];
    bool has_gdb;
    char text[TEXT_MAX]; /* what gdb printed */
};

static void path_of(const struct fixture *f, const char *name, char path[200])
{
    (void)snprintf(path, 200, "%s/%s", f->dir, name);
}

static bool write_file(const struct fixture *f, const char *name,
                       const void *bytes, size_t count)
{
    char path[200];
    path_of(f, name, path);
    FILE *file = fopen(path, "wb");
    bool ok = file && fwrite(bytes, 1, count, file) == count;
    return file && fclose(file) == 0 && ok;
}

/* Run the words of `line` in the directory, output to the file `name`. */
static pid_t start(const struct fixture *f, const char *name, const char *line)
{
    char words[1000], *argv[32] = {NULL};
    unsigned n = 0;
    (void)snprintf(words, sizeof words, "%s", line);
    for (char *w = strtok(words, " "); w && n < 31; w = strtok(NULL, " "))
        argv[n++] = strcmp(w, "relive") ? w : (char *)f->relive;
    pid_t child = fork();
    if (child != 0)
        return child;
    if (chdir(f->dir) != 0 || !freopen("/dev/null", "r", stdin) ||
        !freopen(name, "w", stdout) || dup2(1, 2) < 0)
        _exit(126);
    (void)alarm(SECONDS);
    (void)execvp(argv[0], argv);
    _exit(127);
}

static int finish(pid_t child)
{
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int set_up(void **state)
{
    static uint8_t bios[TRAVELGUEST_BIOS_BYTES];
    struct fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    *state = f;
    if (!lab_program(f->relive, sizeof f->relive))
        return -1;
    f->has_gdb = system("gdb --version >/dev/null 2>&1") == 0;
    if (!f->has_gdb) {
        (void)fprintf(stderr, "gdb is not installed: its tests are skipped\n");
        return 0;
    }
    strcpy(f->dir, "/tmp/relive-gdb-XXXXXX");
    travelguest_bios(bios);
    if (!mkdtemp(f->dir) || !write_file(f, "b.bin", bios, sizeof bios))
        return -1;
    int status = finish(start(f, "record.txt",
                              "relive record -o s --bios b.bin --vgabios none "
                              "--mem 2M --pace max"));
    return status == (TRAVELGUEST_EXIT << 1 | 1) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[100];
    int status = 0;
    if (f->dir[0]) {
        (void)snprintf(command, sizeof command, "rm -rf %s", f->dir);
        status = system(command);
    }
    free(f);
    return status;
}

/* Wait until the server listens. */
static void wait_for(const struct fixture *f, const char *name)
{
    char path[200];
    struct stat st;
    path_of(f, name, path);
    for (unsigned i = 0; i < 2000 && stat(path, &st) != 0; i++)
        (void)usleep(5000);
}

/* Serve the session from tick `at` to a gdb that runs `commands` (a line each);
 * its output goes to f->text. */
static void debug(struct fixture *f, const char *at, const char *arch,
                  const char *commands)
{
    static const char head[] = "set pagination off\nset confirm off\n"
                               "set width 0\ntarget remote ./socket\n";
    char script[8192], path[200], line[200];
    if (!f->has_gdb)
        skip();
    (void)snprintf(script, sizeof script, "%s%s", head, commands);
    assert_true(write_file(f, "script.gdb", script, strlen(script)));
    (void)snprintf(line, sizeof line,
                   "relive debug s --listen unix:socket --at %s --arch %s", at,
                   arch);
    pid_t server = start(f, "serve.txt", line);
    wait_for(f, "socket");
    int status = finish(start(f, "gdb.txt", "gdb -nx -q -batch -x script.gdb"));
    path_of(f, "gdb.txt", path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t got = fread(f->text, 1, TEXT_MAX - 1, file);
    f->text[got] = 0;
    (void)fclose(file);
    if (status != 0 || strstr(f->text, "rror"))
        print_error("%s\n", f->text);
    assert_int_equal(status, 0);
    assert_int_equal(finish(server), 0);
}

/* The texts occur in this order. */
static void expect(const struct fixture *f, const char *const *texts)
{
    const char *at = f->text;
    for (; *texts; texts++) {
        const char *found = strstr(at, *texts);
        if (!found)
            fail_msg("expected '%s' next in: %s", *texts, f->text);
        at = found + strlen(*texts);
    }
}
#define EXPECT(f, ...) expect(f, (const char *const[]){__VA_ARGS__, NULL})

static void breakpoints_stop_in_both_directions(void **state)
{
    debug(*state, "0", "i386",
          "break *0xf0064\ncontinue\ncontinue\ncontinue\n"
          "printf \"third %d\\n\", *(short*)0x502\n"
          "reverse-continue\n"
          "printf \"second %d\\n\", *(short*)0x502\n"
          "reverse-continue\nreverse-continue\n"
          "continue\n"
          "printf \"first %d\\n\", *(short*)0x502\n"
          "hbreak *0xf0074\ncontinue\nprintf \"at %x\\n\", $pc\n"
          "detach\n");
    EXPECT(*state, "Breakpoint 1, 0x000f0064", "third 2",
           "Breakpoint 1, 0x000f0064", "second 1", "Breakpoint 1, 0x000f0064",
           "No more reverse-execution history", "Breakpoint 1, 0x000f0064",
           "first 0", "Hardware assisted breakpoint 2", "at f0074");
}

static void a_watchpoint_leads_back_to_the_writer(void **state)
{
    debug(*state, "end", "i386",
          "watch *(int*)0x1100\nreverse-continue\n"
          "printf \"writer %x\\n\", $pc\nstepi\n"
          "printf \"behind %x\\n\", $pc\n"
          "detach\n");
    EXPECT(*state, "Old value = 19", "New value = 18", "writer f007a",
           "Old value = 18", "New value = 19", "behind f007e");
}

static void reads_and_accesses_are_watched(void **state)
{
    debug(*state, "0", "i386",
          "rwatch *(short*)0x502\ncontinue\n"
          "printf \"reader %x\\n\", $pc\ndelete\n"
          "awatch *(char*)0x1003\ncontinue\n"
          "printf \"count %d at %x\\n\", $ecx, $pc\n"
          "detach\n");
    EXPECT(*state, "Hardware read watchpoint 1", "reader f0068",
           "Hardware access (read/write) watchpoint 2", "count 12 at f0072");
}

static void steps_cross_interrupts_faults_and_repeats(void **state)
{
    debug(*state, "0", "i386",
          "break *0xf0074\ncontinue\n"
          "stepi\nprintf \"fault %x\\n\", $pc\n"
          "reverse-stepi\nprintf \"back %x\\n\", $pc\n"
          "reverse-stepi\nprintf \"rep %x %d\\n\", $pc, $ecx\n"
          "reverse-stepi\nprintf \"rep %x %d\\n\", $pc, $ecx\n"
          "delete\nbreak *0xf007f\ncontinue\n"
          "printf \"timer %x\\n\", $pc\n"
          "reverse-stepi\nprintf \"slept %x\\n\", $pc\n"
          "stepi\nprintf \"woke %x\\n\", $pc\n"
          "detach\n");
    EXPECT(*state, "fault f008a", "back f0074", "rep f0072 1", "rep f0072 2",
           "timer f007f", "slept f005d", "woke f007f");
}

static void changes_start_a_branch_that_going_back_drops(void **state)
{
    debug(*state, "30000000", "i386",
          "set var *(char*)0x500 = 100\nset $ebx = 0x1234\n"
          "printf \"now %d %x\\n\", *(char*)0x500, $ebx\n"
          "break *0xf0061\ncontinue\nmonitor when\n"
          "reverse-continue\nmonitor when\n"
          "printf \"again %d %x\\n\", *(char*)0x500, $ebx\n"
          "detach\n");
    EXPECT(*state, "now 100 1234", "what-if branch begins at tick 30000000",
           "Breakpoint 1, 0x000f0061", "what-if branch, left",
           "branch is dropped", "No more reverse-execution history",
           "tick 0 of", "again 0 0");
}

static void monitor_commands_answer(void **state)
{
    debug(*state, "0", "i386",
          "monitor goto 10000000\nmaintenance flush register-cache\n"
          "printf \"tick %d\\n\", $tick\n"
          "monitor checkpoint\nmonitor goto -1000\nmonitor restart 1\n"
          "monitor goto crash\nmonitor goto end\nmonitor disas 0xf0064 2\n"
          "monitor info pic\nmonitor info cr3\nmonitor info tlb\n"
          "monitor info registers\nmonitor snapshots\nmonitor event 0\n"
          "monitor xp 0x500 4\nmonitor screenshot p.png\n"
          "monitor nonsense\nmonitor goto nowhere\nmonitor help\n"
          "detach\n");
    EXPECT(*state, "tick 10000000", "checkpoint 1: tick 10000000",
           "tick 9999000 of", "tick 10000000 of",
           "nothing says that the guest failed", "tick 10000000 of",
           "inc [0x0502]", "mov si", "master irr", "paging off",
           "0000000000000000-00000000ffffffff", "rip ", "tick 0,",
           "\"type\":\"clock\"", "0000000500  14 00 13 00", "p.png: written",
           "'nonsense' is no command", "goto: expected", "screenshot");
}

static void the_64_bit_description_is_taken(void **state)
{
    debug(*state, "1000000", "x86-64",
          "printf \"pc %lx\\n\", $rip\np $xmm15\np $fs_base\np $cr0\n"
          "p $st7\nset $r15 = 7\np $r15\ninfo registers rip\n"
          "set $xmm3.uint128 = 9\np $xmm3.v4_int32\n"
          "detach\n");
    EXPECT(*state, "pc f00", "v4_float", " = 0", " = 1610612752", " = 7",
           "{9, 0, 0, 0}");
}

static void the_end_of_the_recording_is_announced(void **state)
{
    debug(*state, "0", "i386",
          "continue\nstepi\nmonitor when\nreverse-stepi\n"
          "printf \"last %x\\n\", $pc\n"
          "detach\n");
    EXPECT(*state, "No more reverse-execution history", "last f0061");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(breakpoints_stop_in_both_directions),
        cmocka_unit_test(a_watchpoint_leads_back_to_the_writer),
        cmocka_unit_test(reads_and_accesses_are_watched),
        cmocka_unit_test(steps_cross_interrupts_faults_and_repeats),
        cmocka_unit_test(changes_start_a_branch_that_going_back_drops),
        cmocka_unit_test(monitor_commands_answer),
        cmocka_unit_test(the_64_bit_description_is_taken),
        cmocka_unit_test(the_end_of_the_recording_is_announced),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
