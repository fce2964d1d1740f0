/* The program as its users meet it: help, usage errors, exit statuses, and one
 * sentence for each kind of bad input. Runs the relive beside this test's
 * directory, or the one $RELIVE names. */
#include "lib_program.h"

#include "base/bytes.h"
#include "replay/store.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    ARGS_MAX = 40,
    TEXT_MAX = 1 << 16,
    BIOS_BYTES = 65536,
    CHILD_SECONDS = 600,
    PATIENCE_MS = 30000 /* with a child that starts */
};

static const char *const commands[] = {
    "run",   "record",     "replay", "info",  "events",
    "check", "screenshot", "debug",  "crash", "export",
    "snapshots", "compact", "trim",  "pack",  "unpack",
    "trace", "traces",     "query",  "bisect", "diff",
    "states", "view"};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

struct fixture {
    char relive[4096];
    char dir[64]; /* temporary */
    char out[TEXT_MAX], err[TEXT_MAX];
    int status;
};

/* ---- running --------------------------------------------------------------
 */

static void read_text(const struct fixture *f, const char *name, char *text)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", f->dir, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t got = fread(text, 1, TEXT_MAX - 1, file);
    text[got] = 0;
    (void)fclose(file);
}

static void become(const struct fixture *f, char **argv)
{
    if (chdir(f->dir) != 0 || !freopen("/dev/null", "r", stdin) ||
        !freopen("stdout.txt", "w", stdout) ||
        !freopen("stderr.txt", "w", stderr))
        _exit(126);
    (void)alarm(CHILD_SECONDS);
    (void)execv(f->relive, argv);
    _exit(127);
}

/* Words of `line` split at blanks; the child runs in the fixture's directory.
 */
static pid_t start(const struct fixture *f, const char *line)
{
    char words[4096];
    char *argv[ARGS_MAX + 1] = {(char *)f->relive};
    unsigned n = 1;
    (void)snprintf(words, sizeof words, "%s", line);
    for (char *w = strtok(words, " "); w && n < ARGS_MAX; w = strtok(NULL, " "))
        argv[n++] = w;
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0)
        become(f, argv);
    return child;
}

static void finish(struct fixture *f, pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    f->status =
        WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    read_text(f, "stdout.txt", f->out);
    read_text(f, "stderr.txt", f->err);
}

static void relive(struct fixture *f, const char *line)
{
    finish(f, start(f, line));
}

static void expect(struct fixture *f, const char *line, int status,
                   const char *out)
{
    relive(f, line);
    if (f->status != status || !strstr(f->out, out))
        fail_msg("relive %s: status %d, stdout: %s stderr: %s", line, f->status,
                 f->out, f->err);
}

/* One line on stderr that contains `sentence`, nothing on stdout, status 2. */
static void refuses(struct fixture *f, const char *line, const char *sentence)
{
    relive(f, line);
    const char *newline = strchr(f->err, '\n');
    bool is_one_line = newline && !newline[1];
    if (f->status != 2 || f->out[0] || !is_one_line ||
        strncmp(f->err, "relive: ", 8) != 0 || !strstr(f->err, sentence))
        fail_msg("relive %s: status %d, stdout: %s stderr: %s", line, f->status,
                 f->out, f->err);
}

/* ---- guests ---------------------------------------------------------------
 */

static void write_file(const struct fixture *f, const char *name,
                       const void *bytes, size_t count)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", f->dir, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

/* A 64 KiB firmware image that runs `code` (at most 4 KiB) from its start. */
static void write_bios(const struct fixture *f, const char *name,
                       const void *code, size_t count)
{
    static const uint8_t jump[] = {0xe9, 0x0d, 0x00}; /* FFF0: to offset 0 */
    uint8_t *image = calloc(1, BIOS_BYTES);
    assert_non_null(image);
    memcpy(image, code, count);
    memcpy(image + 0xfff0, jump, sizeof jump);
    write_file(f, name, image, BIOS_BYTES);
    free(image);
}

/* Sends R, echoes what COM1 receives, exits with value 2 after a q. */
static const uint8_t echo_code[] = {
    0xba, 0xfb, 0x03,       /* mov dx, 3fbh */
    0xb0, 0x83, 0xee,       /* mov al, 83h; out dx, al: divisor, 8 bits */
    0xba, 0xf8, 0x03,       /* mov dx, 3f8h */
    0xb0, 0x01, 0xee,       /* mov al, 1; out dx, al: 115200 baud */
    0xba, 0xfb, 0x03,       /* mov dx, 3fbh */
    0xb0, 0x03, 0xee,       /* mov al, 3; out dx, al */
    0xba, 0xf8, 0x03,       /* mov dx, 3f8h */
    0xb0, 0x52, 0xee,       /* mov al, 'R'; out dx, al */
    0xba, 0xfd, 0x03,       /* next: mov dx, 3fdh */
    0xec, 0xa8, 0x01,       /* wait: in al, dx; test al, 1 */
    0x74, 0xfb,             /* jz wait */
    0xba, 0xf8, 0x03, 0xec, /* mov dx, 3f8h; in al, dx */
    0xee,                   /* out dx, al */
    0x3c, 0x71, 0x75, 0xef, /* cmp al, 'q'; jne next */
    0xb0, 0x02, 0xe6, 0xf4, /* mov al, 2; out f4h, al */
    0xf4,                   /* hlt */
};
static const uint8_t halt_code[] = {0xfa, 0xf4}; /* cli; hlt */
/* mov al, 'A'; again: out e9h, al; jmp again */
static const uint8_t spam_code[] = {0xb0, 0x41, 0xe6, 0xe9, 0xeb, 0xfc};
/* lidt cs:[100h] (zeros); int3 */
static const uint8_t fault_code[] = {0x2e, 0x0f, 0x01, 0x1e, 0x00, 0x01, 0xcc};

static const char echo_script[] = "wait serial \"R\" within 1s\n"
                                  "at 10ms serial \"ab\"\n"
                                  "key ctrl-a\n"
                                  "mouse move 3 4\n"
                                  "after 20ms serial \"q\"\n";

#define ECHO_MACHINE                                                           \
    "--bios echo.bin --vgabios none --cpu-mhz 10 --mem 2M "                    \
    "--rtc 2026-01-31T12:00:00 --input echo.txt"
#define HALT_MACHINE "--bios halt.bin --vgabios none --mem 2M"

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    if (!lab_program(f->relive, sizeof f->relive))
        return -1;
    strcpy(f->dir, "/tmp/relive-cli-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    write_bios(f, "echo.bin", echo_code, sizeof echo_code);
    write_bios(f, "halt.bin", halt_code, sizeof halt_code);
    write_bios(f, "spam.bin", spam_code, sizeof spam_code);
    write_bios(f, "fault.bin", fault_code, sizeof fault_code);
    write_file(f, "echo.txt", echo_script, strlen(echo_script));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[100];
    (void)snprintf(command, sizeof command, "rm -rf %s", f->dir);
    int status = system(command);
    free(f);
    return status;
}

/* ---- help -----------------------------------------------------------------
 */

/* Calls fn for each "--name" in text. */
static void each_option(const char *text,
                        void (*fn)(const char *name, const void *context),
                        const void *context)
{
    for (const char *p = text; (p = strstr(p, "--"));) {
        char name[64];
        size_t length = strspn(p + 2, "abcdefghijklmnopqrstuvwxyz-");
        (void)snprintf(name, sizeof name, "--%.*s", (int)length, p + 2);
        if (length > 0)
            fn(name, context);
        p += 2 + length;
    }
}

static void expect_named(const char *name, const void *context)
{
    const char *text = context;
    for (const char *p = text; (p = strstr(p, name)); p += 2) {
        char behind = p[strlen(name)];
        if (behind != '-' && (behind < 'a' || behind > 'z'))
            return;
    }
    fail_msg("%s is in one of help and man page only", name);
}

/* The man page's source, without fonts and escapes. */
static void man_page(char *text)
{
    char path[1000] = __FILE__;
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash : path, "/../src/cli/relive.1");
    FILE *file = fopen(path, "r");
    if (!file)
        skip(); /* run outside the source tree */
    size_t got = 0;
    for (int c; (c = fgetc(file)) != EOF && got < TEXT_MAX - 1;) {
        if (c == '\\' && (c = fgetc(file)) == 'f') {
            (void)fgetc(file); /* a font */
            continue;
        }
        text[got++] = (char)c;
    }
    text[got] = 0;
    (void)fclose(file);
}

static void help_and_man_page_name_the_same_options(void **state)
{
    struct fixture *f = *state;
    static char page[TEXT_MAX], all[TEXT_MAX];
    char line[64];
    size_t used = 0;
    man_page(page);
    expect(f, "--help", 0, "usage: relive");
    used += (size_t)snprintf(all, sizeof all, "%s", f->out);
    for (unsigned i = 0; i < COMMANDS; i++) {
        (void)snprintf(line, sizeof line, "%s --help", commands[i]);
        expect(f, line, 0, commands[i]);
        assert_string_equal(f->err, "");
        used += (size_t)snprintf(all + used, sizeof all - used, "%s", f->out);
    }
    each_option(all, expect_named, page);
    each_option(page, expect_named, all);
}

static void help_fits_a_terminal(void **state)
{
    struct fixture *f = *state;
    char line[64];
    for (unsigned i = 0; i < COMMANDS + 2; i++) {
        (void)snprintf(line, sizeof line, "help %s",
                       i < COMMANDS    ? commands[i]
                       : i == COMMANDS ? "input"
                                       : "");
        expect(f, line, 0, "");
        for (char *row = strtok(f->out, "\n"); row; row = strtok(NULL, "\n"))
            if (strlen(row) > 80)
                fail_msg("relive %s: %s", line, row);
    }
    expect(f, "--version", 0, "relive 0.");
    expect(f, "help input", 0, "wait serial");
}

static void usage_errors_are_one_sentence(void **state)
{
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"", "expected a command"},
        {"fly", "unknown command 'fly'"},
        {"--fly", "unknown option '--fly'"},
        {"help fly", "found 'fly'"},
        {"run --fly", "unknown option '--fly'"},
        {"run now", "unexpected argument 'now'"},
        {"run --mem", "'--mem' expects a value"},
        {"run --mem lots", "--mem: expected a size"},
        {"run --mem 99999G", "memory size"},
        {"run --cpu-mhz 0", "--cpu-mhz"},
        {"run --boot x", "--boot"},
        {"run --serial tape", "--serial: expected stdio"},
        {"run --display gtk", "--display"},
        {"run --engine kvm", "--engine: expected auto, interp, tier1 or tier2"},
        {"run --jit-trace 5001", "--jit-trace: expected a whole number from 1"},
        {"run --jit-block 1001", "--jit-block: expected a whole number from 1"},
        {"run --jit-blocks 99", "--jit-blocks: expected a whole number from 100"},
        {"run --jit-threshold 0", "--jit-threshold: expected a whole number"},
        {"run --jit-cache 1K", "--jit-cache: expected a size from 1M to 512M"},
        {"run --pace slow", "--pace: expected real or max"},
        {"run --rtc 2026-02-30", "--rtc: expected a date"},
        {"run --rtc 2026-01-01T25:00", "--rtc: expected a date"},
        {"run --until soon", "--until: expected a tick"},
        {"run --kernel missing --bios halt.bin --vgabios none", "missing"},
        {"run --disk missing --bios halt.bin --vgabios none", "missing"},
        {"run --bios missing --vgabios none", "missing"},
        {"run --bios . --vgabios none", "regular file"},
        {"run --config missing", "missing"},
        {"run --input missing " HALT_MACHINE, "missing"},
        {"run --serial file:/no/such/dir " HALT_MACHINE, "/no/such/dir"},
        {"run --disk a --disk b --disk c --disk d", "at most 3"},
        {"record " HALT_MACHINE, "expected -o SESSION"},
        {"record -o /no/such/dir/s " HALT_MACHINE, "/no/such/dir"},
        {"record -o s --limit 0 " HALT_MACHINE, "--limit"},
        {"replay", "expected a SESSION"},
        {"replay a b", "unexpected argument 'b'"},
        {"replay a --serial x", "--serial: expected -"},
        {"info", "expected a SESSION"},
        {"screenshot a", "expected --at TICK and -o"},
        {"check --fly", "unknown option"},
        {"check -xyz", "unknown option '-x'"},
        {"record -o", "option '-o' expects a value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuses(f, cases[i][0], cases[i][1]);
}

static void bad_scripts_and_configurations_name_the_place(void **state)
{
    struct fixture *f = *state;
    write_file(f, "bad.txt", "quit\nfly\n", 9);
    refuses(f, "run --input bad.txt " HALT_MACHINE, "bad.txt:2: expected");
    write_file(f, "bad.json", "{\"colour\": 1}", 13);
    refuses(f, "run --config bad.json " HALT_MACHINE, "colour");
}

/* ---- exit statuses --------------------------------------------------------
 */

static void runs_end_with_a_sentence_and_a_status(void **state)
{
    struct fixture *f = *state;
    expect(f, "run --until 5ms " HALT_MACHINE, 0, "stopped at tick 5000000");
    expect(f, "run --until 123456 " HALT_MACHINE, 0, "123456 ticks, 3 instr");
    expect(f, "run " ECHO_MACHINE, 5, "wrote 2 to isa-debug-exit");
    expect(f, "run --until-serial b --until 1s " ECHO_MACHINE, 0, "sent 'b'");
    expect(f, "run --until-serial zz --until 5ms " HALT_MACHINE, 1, "5000000");
    assert_non_null(strstr(f->err, "did not send 'zz'"));
    relive(f, "run --bios fault.bin --vgabios none --mem 2M");
    assert_int_equal(f->status, 1);
    assert_non_null(strstr(f->err, "triple-faulted"));
    write_file(f, "never.txt", "wait serial \"x\" within 3ms\n", 27);
    relive(f, "run --input never.txt " HALT_MACHINE);
    assert_int_equal(f->status, 1);
    assert_non_null(strstr(f->err, "never.txt:1: the guest did not send 'x'"));
}

static void serial_goes_where_it_is_told(void **state)
{
    struct fixture *f = *state;
    static char text[TEXT_MAX];
    expect(f, "run --serial stdio " ECHO_MACHINE, 5, "Rab");
    assert_non_null(strstr(f->err, "isa-debug-exit"));
    expect(f, "run --serial file:com1.txt " ECHO_MACHINE, 5, "isa-debug-exit");
    read_text(f, "com1.txt", text);
    assert_memory_equal(text, "Rab", 3);
}

static int connect_to(const struct fixture *f, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", f->dir,
                   name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    for (unsigned n = 0;
         connect(fd, (struct sockaddr *)&address, sizeof address) != 0; n++) {
        assert_in_range(n, 0, PATIENCE_MS);
        (void)usleep(1000);
    }
    return fd;
}

static void serial_on_a_socket_goes_both_ways(void **state)
{
    struct fixture *f = *state;
    char got[8] = "";
    pid_t child = start(f, "run --serial unix:com1 --pace max --bios echo.bin "
                           "--vgabios none --cpu-mhz 10 --mem 2M");
    int fd = connect_to(f, "com1");
    assert_int_equal(write(fd, "ab", 2), 2);
    for (size_t n = 0; !strstr(got, "ab");) {
        ssize_t part = read(fd, got + n, sizeof got - 1 - n);
        assert_true(part > 0);
        n += (size_t)part;
    }
    assert_int_equal(write(fd, "q", 1), 1);
    finish(f, child);
    (void)close(fd);
    assert_int_equal(f->status, 5);
    char path[200];
    (void)snprintf(path, sizeof path, "%s/com1", f->dir);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* ---- sessions -------------------------------------------------------------
 */

static void sessions_replay_and_tell_what_is_in_them(void **state)
{
    struct fixture *f = *state;
    expect(f, "record -o good " ECHO_MACHINE, 5, "digests");
    expect(f, "replay good", 0, "digests compared, all equal");
    expect(f, "replay good --serial -", 0, "Rab");
    expect(f, "replay good --no-verify", 0, "no digests compared");
    expect(f, "replay good --until 10ms", 0, "stopped at tick 100000:");
    expect(f, "replay good --stress-tlb 1 --stress-block 1", 0, "all equal");
    expect(f, "replay good --stress-save 7777", 0, "all equal");
    expect(f, "replay good --stress-slice 5", 0, "all equal");
    expect(f, "replay good --stats s.json --engine interp", 0, "all equal");
    read_text(f, "s.json", f->out);
    assert_non_null(strstr(f->out, "\"engine\": \"interp\""));
    assert_non_null(strstr(f->out, "\"enabled\": false"));
    refuses(f, "replay good --stats none/s.json",
            "none/s.json: cannot write");
    expect(f, "info good", 0, "debug-exit, value 2");
    expect(f, "info good --json", 0, "\"end_reason\": \"debug-exit\"");
    expect(f, "events good", 0, "serial \"ab\"");
    expect(f, "events good --json --from 0 --to 100000", 0, "\"tick\":100000");
    assert_null(strstr(f->out, "mouse"));
    expect(f, "check good", 0, "good: good");
    expect(f, "screenshot good --at 0 -o shot.png", 0, "");
    assert_int_equal(f->status, 0);
    refuses(f, "screenshot good --at 99999s -o shot.png", "--at: expected");
    refuses(f, "record -o good " ECHO_MACHINE, "good");
}

static void expect_engine(struct fixture *f, const char *line,
                          const char *engine)
{
    static char text[TEXT_MAX];
    char wanted[40];
    expect(f, line, 0, "all equal");
    read_text(f, "engine.json", text);
    (void)snprintf(wanted, sizeof wanted, "\"engine\": \"%s\"", engine);
    assert_non_null(strstr(text, wanted));
}

/* How it was run is told, and taken up unless another way is asked for. */
static void sessions_remember_how_they_were_run(void **state)
{
    struct fixture *f = *state;
    static const char *const keys[] = {
        "\"engine\": \"tier1\"",   "\"jit_cache\": 2097152",
        "\"jit_inline\": 50",        "\"jit_block\": 1000",
        "\"jit_blocks\": 100000",        "\"jit_threshold\": 3",
        "\"jit_tier2_threshold\": 1000", "\"jit_trace\": 5000",
        "\"jit_unroll\": 7",         "\"jit_wait\": true"};
    write_file(f, "run.json", "{\"jit_unroll\": 7, \"jit_cache\": 1048576}",
               40);
    expect(f, "record -o how --config run.json --engine tier1 --jit-threshold 3 "
              "--jit-cache 2M --jit-wait " ECHO_MACHINE, 5, "digests");
    expect(f, "info how", 0, "engine     {");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        expect(f, "info how", 0, keys[i]);
        expect(f, "info how --json", 0, keys[i]);
    }
    expect_engine(f, "replay how --stats engine.json", "tier1");
    expect_engine(f, "replay how --stats engine.json --engine interp "
                     "--jit-unroll 2 --jit-no-wait", "interp");
    expect_engine(f, "replay how --stats engine.json --engine auto "
                     "--jit-threshold 1 --jit-tier2-threshold 2 --jit-trace 9 "
                     "--jit-cache 1M --jit-inline 1 --jit-block 2 "
                     "--jit-blocks 100", "auto");
    expect(f, "check how", 0, "how: good");
}

/* They replay by the defaults. */
static void older_sessions_say_nothing_of_engines(void **state)
{
    struct fixture *f = *state;
    char path[200];
    struct store *s;
    struct store_batch b;
    expect(f, "record -o older --engine interp " ECHO_MACHINE, 5, "digests");
    (void)snprintf(path, sizeof path, "%s/older", f->dir);
    assert_true(store_open_update(path, &s, NULL));
    store_batch_init(&b);
    store_batch_delete(&b, STORE_META, "engine", 6);
    assert_true(store_commit(s, &b, NULL));
    store_batch_fini(&b);
    store_close(s);
    expect(f, "info older", 0, "engine     not recorded");
    expect_engine(f, "replay older --stats engine.json", "auto");
}

static void one_script_gives_one_session(void **state)
{
    struct fixture *f = *state;
    static char events[TEXT_MAX];
    expect(f, "record -o one " ECHO_MACHINE, 5, "");
    expect(f, "record -o two " ECHO_MACHINE, 5, "");
    expect(f, "events one --json", 0, "serial");
    memcpy(events, f->out, sizeof events);
    expect(f, "events two --json", 0, "serial");
    assert_string_equal(events, f->out);
}

static void ctrl_c_ends_a_recording_cleanly(void **state)
{
    struct fixture *f = *state;
    char path[200];
    struct stat info;
    pid_t child = start(f, "record -o stopped --pace real " HALT_MACHINE);
    (void)snprintf(path, sizeof path, "%s/stopped/data.mdb", f->dir);
    for (unsigned n = 0; stat(path, &info) != 0; n++) {
        assert_in_range(n, 0, PATIENCE_MS);
        (void)usleep(1000);
    }
    (void)kill(child, SIGINT);
    finish(f, child);
    assert_int_equal(f->status, 0);
    assert_non_null(strstr(f->out, "interrupted by a signal"));
    expect(f, "replay stopped", 0, "all equal");
}

static void full_stores_end_the_recording_and_replay(void **state)
{
    struct fixture *f = *state;
    relive(f, "record -o full --limit 1 --bios spam.bin --vgabios none "
              "--mem 2M --until 10s");
    assert_int_equal(f->status, 2);
    assert_non_null(strstr(f->err, "full"));
    expect(f, "replay full", 0, "last commit of a torn recording");
    assert_non_null(strstr(f->err, "torn"));
    expect(f, "check full", 0, "full: good");
}

/* ---- bad sessions ---------------------------------------------------------
 */

static void expect_refused_everywhere(struct fixture *f, const char *session,
                                      const char *sentence)
{
    static const char *const forms[] = {"replay %s", "info %s", "events %s",
                                        "check %s",
                                        "screenshot %s --at 0 -o x.png"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        char line[300];
        char *at = strstr(forms[i], "%s");
        (void)snprintf(line, sizeof line, "%.*s%s%s", (int)(at - forms[i]),
                       forms[i], session, at + 2);
        refuses(f, line, sentence);
    }
}

static void directories_that_are_no_session_are_refused(void **state)
{
    struct fixture *f = *state;
    char path[200];
    expect_refused_everywhere(f, "nowhere", "nowhere");
    (void)snprintf(path, sizeof path, "%s/empty", f->dir);
    assert_int_equal(mkdir(path, 0777), 0);
    expect_refused_everywhere(f, "empty", "empty");
    expect_refused_everywhere(f, "echo.bin", "echo.bin");
}

static void newer_sessions_are_refused_by_version(void **state)
{
    struct fixture *f = *state;
    char path[200];
    struct store *s;
    struct store_batch b;
    uint8_t format[15 + 4] = "relive session";
    (void)snprintf(path, sizeof path, "%s/newer", f->dir);
    store_le32(format + 15, STORE_FORMAT + 1);
    assert_true(store_create(path, 0, &s, NULL));
    store_batch_init(&b);
    store_batch_put(&b, STORE_META, "format", 6, format, sizeof format);
    assert_true(store_commit(s, &b, NULL));
    store_batch_fini(&b);
    store_close(s);
    expect_refused_everywhere(f, "newer", "newer");
}

static void changed_media_are_named(void **state)
{
    struct fixture *f = *state;
    char *image = calloc(1, 1474560);
    assert_non_null(image);
    write_file(f, "a.img", image, 1474560);
    write_bios(f, "own.bin", halt_code, sizeof halt_code);
    expect(f,
           "record -o media --until 1ms --floppy a.img --bios own.bin "
           "--vgabios none --mem 2M",
           0, "stopped");
    expect(f, "replay media", 0, "all equal");
    image[1000] = 1;
    write_file(f, "a.img", image, 1474560);
    refuses(f, "replay media", "floppy");
    write_file(f, "a.img", image, 737280);
    refuses(f, "replay media", "expected 1474560 bytes, found 737280");
    image[1000] = 0;
    write_file(f, "a.img", image, 1474560);
    write_bios(f, "own.bin", fault_code, sizeof fault_code);
    refuses(f, "replay media", "bios");
    char path[200];
    (void)snprintf(path, sizeof path, "%s/own.bin", f->dir);
    assert_int_equal(unlink(path), 0);
    refuses(f, "replay media", "own.bin");
    /* They have moved: they are found, and compared all the same. */
    (void)snprintf(path, sizeof path, "%s/moved", f->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_bios(f, "moved/own.bin", halt_code, sizeof halt_code);
    expect(f, "replay media --media moved", 0, "all equal");
    write_bios(f, "moved/own.bin", fault_code, sizeof fault_code);
    refuses(f, "replay media --media moved", "moved/own.bin' is not the");
    refuses(f, "replay media --media nowhere", "own.bin");
    free(image);
}

/* A copy of the session `good` with its file changed. */
static void damage(const struct fixture *f, long keep, long flip)
{
    char command[500], path[200];
    (void)snprintf(command, sizeof command,
                   "cd %s && rm -rf bad && cp -r good bad", f->dir);
    assert_int_equal(system(command), 0);
    (void)snprintf(path, sizeof path, "%s/bad/data.mdb", f->dir);
    if (keep >= 0)
        assert_int_equal(truncate(path, keep), 0);
    if (flip < 0)
        return;
    int fd = open(path, O_RDWR);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, flip), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, flip), 1);
    (void)close(fd);
}

static void damaged_files_never_crash(void **state)
{
    struct fixture *f = *state;
    char path[200];
    struct stat info;
    if (!strstr((relive(f, "check good"), f->out), "good: good"))
        expect(f, "record -o good " ECHO_MACHINE, 5, "digests");
    (void)snprintf(path, sizeof path, "%s/good/data.mdb", f->dir);
    assert_int_equal(stat(path, &info), 0);
    damage(f, info.st_size / 2, -1);
    refuses(f, "check bad", "bad");
    refuses(f, "replay bad", "bad");
    damage(f, 100, -1);
    expect_refused_everywhere(f, "bad", "bad");
    damage(f, 0, -1);
    expect_refused_everywhere(f, "bad", "bad");
    for (unsigned n = 0; n < 12; n++) {
        damage(f, -1, (long)((uint64_t)info.st_size * n / 12 + 17 * n));
        relive(f, "check bad");
        if (f->status != 0 && f->status != 2)
            fail_msg("check: status %d: %s", f->status, f->err);
        relive(f, "replay bad");
        if (f->status != 0 && f->status != 2)
            fail_msg("replay: status %d: %s", f->status, f->err);
    }
}

static void traces_are_kept_listed_exported_and_deleted(void **state)
{
    struct fixture *f = *state;
    expect(f, "record -o traced " ECHO_MACHINE, 5, "digests");
    refuses(f, "trace traced", "expected -o NAME");
    refuses(f, "trace traced --what insns -o a", "--what: expected insn");
    refuses(f, "trace traced -o a/b", "expected a trace name");
    refuses(f, "trace traced --from 9s -o a", "expected a part from 0");
    refuses(f, "traces traced --export csv -o x.csv", "there are no traces");
    expect(f, "trace traced --what insn,mem,io,irq,regs -o all", 0,
           "instructions");
    expect(f, "trace traced --what io -o ports", 0, "of devices");
    refuses(f, "trace traced -o all", "a trace named all exists");
    expect(f, "traces traced", 0, "insn,mem,io,irq,regs");
    expect(f, "traces traced --json", 0, "\"finished\":true");
    expect(f, "check traced", 0, "2 traces");
    expect(f, "replay traced", 0, "all equal");
    refuses(f, "traces traced --export", "expects a value");
    refuses(f, "traces traced --export xml", "--export: expected csv");
    refuses(f, "traces traced --export csv", "expected -o FILE");
    refuses(f, "traces traced --export perf -o x", "without --what insn");
    expect(f, "traces traced --trace all --export csv -o x.csv", 0, "");
    expect(f, "traces traced --trace all --export chrome -o x.json", 0, "");
    expect(f, "traces traced --trace all --export perf -o x.perf", 0, "");
    expect(f, "traces traced --trace all --export drcov -o x.drcov", 0, "");
    read_text(f, "x.csv", f->out);
    if (!strstr(f->out, "\n0,insn,0xfffffff0,"))
        fail_msg("x.csv: %.300s", f->out);
    expect(f, "traces traced --trace ports --export csv -o x.csv", 0, "");
    read_text(f, "x.csv", f->out);
    if (!strstr(f->out, ",device,") || !strstr(f->out, ",0x3fb,0x83,1,write,"))
        fail_msg("x.csv: %.300s", f->out);
    read_text(f, "x.drcov", f->out);
    if (!strstr(f->out, "region-ffff0000"))
        fail_msg("x.drcov: %.300s", f->out);
    refuses(f, "traces traced --delete none", "there is no trace named none");
    expect(f, "traces traced --delete all", 0, "");
    refuses(f, "traces traced --trace all --export csv -o x.csv",
            "there is no trace named all");
    expect(f, "check traced", 0, "1 traces");
}

static void parts_and_packs_of_a_session_replay(void **state)
{
    struct fixture *f = *state;
    char path[200], moved[200];
    expect(f, "record -o long --until 2s --snapshot-interval 100ms " HALT_MACHINE,
           0, "digests");
    expect(f, "snapshots long", 0, "0.000 s");
    expect(f, "snapshots long --json", 0, "\"whole\":true");
    expect(f, "replay long --jobs 3", 0, "all equal");
    expect(f, "replay long --segment 2/3", 0, "in 1 part");
    refuses(f, "replay long --jobs 0", "--jobs");
    refuses(f, "replay long --jobs 2 --until 5", "--until");
    refuses(f, "replay long --segment 3/2", "--segment");
    refuses(f, "trim long --from 1s", "expected -o NEW");
    expect(f, "trim long --from 1s --to 1.5s -o part", 0, "to 1500000000");
    expect(f, "replay part", 0, "all equal");
    expect(f, "compact long", 0, "0 dropped");
    expect(f, "check long", 0, "good");
    expect(f, "pack long --with-media", 0, "long.relive");
    refuses(f, "pack long", "long.relive: exists");
    refuses(f, "unpack halt.bin -o x", "not a packed session");
    (void)snprintf(path, sizeof path, "%s/halt.bin", f->dir);
    (void)snprintf(moved, sizeof moved, "%s/away", f->dir);
    assert_int_equal(rename(path, moved), 0);
    refuses(f, "replay part", "halt.bin");
    expect(f, "unpack long.relive -o again", 0, "again");
    expect(f, "replay again", 0, "all equal");
    assert_int_equal(rename(moved, path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_and_man_page_name_the_same_options),
        cmocka_unit_test(help_fits_a_terminal),
        cmocka_unit_test(usage_errors_are_one_sentence),
        cmocka_unit_test(bad_scripts_and_configurations_name_the_place),
        cmocka_unit_test(runs_end_with_a_sentence_and_a_status),
        cmocka_unit_test(serial_goes_where_it_is_told),
        cmocka_unit_test(serial_on_a_socket_goes_both_ways),
        cmocka_unit_test(sessions_replay_and_tell_what_is_in_them),
        cmocka_unit_test(sessions_remember_how_they_were_run),
        cmocka_unit_test(older_sessions_say_nothing_of_engines),
        cmocka_unit_test(one_script_gives_one_session),
        cmocka_unit_test(parts_and_packs_of_a_session_replay),
        cmocka_unit_test(traces_are_kept_listed_exported_and_deleted),
        cmocka_unit_test(ctrl_c_ends_a_recording_cleanly),
        cmocka_unit_test(full_stores_end_the_recording_and_replay),
        cmocka_unit_test(directories_that_are_no_session_are_refused),
        cmocka_unit_test(newer_sessions_are_refused_by_version),
        cmocka_unit_test(changed_media_are_named),
        cmocka_unit_test(damaged_files_never_crash),
    };
    return cmocka_run_group_tests_name("command line", tests, set_up,
                                       tear_down);
}
