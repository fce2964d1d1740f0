/* Running the program under test: what the suites tests/test_guest_*.c share.
 * The program is $RELIVE, or the relive beside the running test's directory.
 * Guests are in $GUESTS (build/guests), and $RELIVE_STRESS holds options added
 * to every run and replay. */
#ifndef RELIVE_TESTS_LIB_PROGRAM_H
#define RELIVE_TESTS_LIB_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct lab {
    char dir[256];     /* a temporary directory of this test program */
    char relive[1024]; /* the program, absolute */
    char guests[1024]; /* the guests' directory, absolute */
    char stress[256];  /* options of $RELIVE_STRESS */
    int status;        /* exit status of the last command; 128 + a signal */
    char *text;        /* all it wrote, NUL-terminated; owned */
    size_t bytes;
};

/* The program's absolute path. False, with a sentence on stderr: not there. */
bool lab_program(char *path, size_t size);

/* cmocka group fixtures; *state is the lab, and the current directory is its
 * temporary one. */
int lab_open(void **state);
int lab_close(void **state);

/* Run a shell command line; %s and friends are filled in. In it, $R is the
 * program, $G the guests and $S the stress options. status and text are those
 * of the command, standard error included. Killed after `lab_seconds`. */
enum { LAB_SECONDS = 900 };
void lab_run(struct lab *lab, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same in the background. What it writes goes to the file `output`. */
pid_t lab_spawn(struct lab *lab, const char *output, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Waits for it; sets status. */
void lab_wait(struct lab *lab, pid_t pid);

/* Skips the test (cmocka's skip()) when a guest file is not there. */
void lab_needs(const struct lab *lab, const char *guest);

/* Assertions that show the whole text when they fail. */
#define lab_assert_status(lab, want) \
    lab_check_status(lab, want, __FILE__, __LINE__)
#define lab_assert_text(lab, want) \
    lab_check_text(lab, want, true, __FILE__, __LINE__)
#define lab_assert_no_text(lab, want) \
    lab_check_text(lab, want, false, __FILE__, __LINE__)
void lab_check_status(const struct lab *lab, int want, const char *file,
                      int line);
void lab_check_text(const struct lab *lab, const char *want, bool is_there,
                    const char *file, int line);
/* One sentence on one line that begins with "relive: ". */
#define lab_assert_one_sentence(lab) \
    lab_check_one_sentence(lab, __FILE__, __LINE__)
void lab_check_one_sentence(const struct lab *lab, const char *file, int line);

/* Text files: whole contents at once. */
void lab_write(const char *path, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void lab_write_bytes(const char *path, const void *bytes, size_t count);
char *lab_read(const char *path, size_t *bytes); /* the caller frees it */

/* The state digest that a figures line ends with ("state XX-XX-XX"), copied to
 * out; the test fails when there is none. */
void lab_state(const struct lab *lab, char out[64]);
/* The number before a word of the figures line: lab_figure(lab, "ticks"). */
unsigned long long lab_figure(const struct lab *lab, const char *word);

/* A small deterministic generator for tests that try random moments; the seed
 * is printed by lab_open() and can be set with $SEED. */
unsigned long long lab_random(void);

#endif
