#include "lib_program.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned long long random_state;

unsigned long long lab_random(void)
{
    random_state ^= random_state << 13; /* xorshift64, Marsaglia 2003 */
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void absolute(char *out, size_t size, const char *variable,
                     const char *otherwise)
{
    const char *named = getenv(variable), *path = named ? named : otherwise;
    char *full = realpath(path, NULL);
    (void)snprintf(out, size, "%s", full ? full : path);
    free(full);
}

bool lab_program(char *path, size_t size)
{
    char beside[1024], *slash;
    ssize_t length = readlink("/proc/self/exe", beside, sizeof beside - 1);
    beside[length < 0 ? 0 : length] = 0;
    for (unsigned n = 0; n < 2; n++) /* of build/tests/test_x: build */
        if ((slash = strrchr(beside, '/')))
            *slash = 0;
    (void)strncat(beside, "/relive", sizeof beside - 1 - strlen(beside));
    absolute(path, size, "RELIVE", beside);
    if (access(path, X_OK) == 0)
        return true;
    (void)fprintf(stderr, "%s: not built\n", path);
    return false;
}

int lab_open(void **state)
{
    const char *seed = getenv("SEED"), *stress = getenv("RELIVE_STRESS");
    const char *tmp = getenv("TMPDIR");
    struct lab *lab = calloc(1, sizeof *lab);
    if (!lab)
        return -1;
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    printf("# SEED=%llu\n", random_state);
    random_state = random_state * 0x9e3779b97f4a7c15ull + 1;
    if (!lab_program(lab->relive, sizeof lab->relive))
        return -1;
    absolute(lab->guests, sizeof lab->guests, "GUESTS", "build/guests");
    (void)snprintf(lab->stress, sizeof lab->stress, "%s", stress ? stress : "");
    (void)snprintf(lab->dir, sizeof lab->dir, "%s/relive-test-XXXXXX",
                   tmp ? tmp : "/tmp");
    *state = lab;
    if (!mkdtemp(lab->dir) || chdir(lab->dir) != 0)
        return -1;
    setenv("R", lab->relive, 1);
    setenv("G", lab->guests, 1);
    setenv("S", lab->stress, 1);
    return 0;
}

int lab_close(void **state)
{
    struct lab *lab = *state;
    char command[300];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", lab->dir);
    int status = chdir("/") == 0 ? system(command) : -1;
    free(lab->text);
    free(lab);
    return status;
}

static pid_t start(const char *output, const char *command)
{
    (void)fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid)
        return pid;
    int fd = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
    int null = open("/dev/null", O_RDONLY);
    (void)setpgid(0, 0);
    if (fd < 0 || null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 ||
        dup2(fd, 2) < 0)
        _exit(127);
    (void)alarm(LAB_SECONDS);
    (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

void lab_wait(struct lab *lab, pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    lab->status =
        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void lab_run(struct lab *lab, const char *format, ...)
{
    char command[8192];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(command, sizeof command, format, args);
    va_end(args);
    lab_wait(lab, start("lab.out", command));
    free(lab->text);
    lab->text = lab_read("lab.out", &lab->bytes);
}

pid_t lab_spawn(struct lab *lab, const char *output, const char *format, ...)
{
    char command[8192] = "exec ";
    va_list args;
    (void)lab;
    va_start(args, format);
    (void)vsnprintf(command + 5, sizeof command - 5, format, args);
    va_end(args);
    return start(output, command);
}

void lab_needs(const struct lab *lab, const char *guest)
{
    char path[2048];
    (void)snprintf(path, sizeof path, "%s/%s", lab->guests, guest);
    if (access(path, R_OK) != 0)
        skip();
}

void lab_check_status(const struct lab *lab, int want, const char *file,
                      int line)
{
    if (lab->status == want)
        return;
    fail_msg("%s:%d: expected status %d, found %d; the last it wrote:\n%s",
             file, line, want, lab->status,
             lab->bytes > 3000 ? lab->text + lab->bytes - 3000 : lab->text);
}

void lab_check_text(const struct lab *lab, const char *want, bool is_there,
                    const char *file, int line)
{
    if ((strstr(lab->text, want) != NULL) == is_there)
        return;
    fail_msg("%s:%d: %s \"%s\"; the last it wrote:\n%s", file, line,
             is_there ? "expected" : "did not expect", want,
             lab->bytes > 3000 ? lab->text + lab->bytes - 3000 : lab->text);
}

void lab_check_one_sentence(const struct lab *lab, const char *file, int line)
{
    const char *end = strchr(lab->text, '\n');
    if (strncmp(lab->text, "relive: ", 8) == 0 && end && !end[1] &&
        lab->bytes > 20)
        return;
    fail_msg("%s:%d: expected one sentence, found:\n%s", file, line, lab->text);
}

void lab_write_bytes(const char *path, const void *bytes, size_t count)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, count, f), count);
    assert_int_equal(fclose(f), 0);
}

void lab_write(const char *path, const char *format, ...)
{
    char text[8192];
    va_list args;
    va_start(args, format);
    int count = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert_in_range(count, 0, sizeof text - 1);
    lab_write_bytes(path, text, (size_t)count);
}

char *lab_read(const char *path, size_t *bytes)
{
    struct stat s;
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &s), 0);
    char *text = malloc((size_t)s.st_size + 1);
    assert_non_null(text);
    *bytes = fread(text, 1, (size_t)s.st_size, f);
    text[*bytes] = 0;
    (void)fclose(f);
    return text;
}

void lab_state(const struct lab *lab, char out[64])
{
    const char *at = NULL, *next = lab->text;
    while ((next = strstr(next, ", state ")))
        at = next += 8;
    if (!at)
        fail_msg("no figures in:\n%s", lab->text);
    (void)snprintf(out, 64, "%.*s", (int)strcspn(at, " \n"), at);
}

unsigned long long lab_figure(const struct lab *lab, const char *word)
{
    char pattern[64];
    (void)snprintf(pattern, sizeof pattern, " %s", word);
    for (const char *at = lab->text; (at = strstr(at, pattern)); at++) {
        const char *digit = at;
        while (digit > lab->text && strchr("0123456789", digit[-1]))
            digit--;
        if (digit < at)
            return strtoull(digit, NULL, 10);
    }
    fail_msg("no number before \"%s\" in:\n%s", word, lab->text);
    return 0;
}
