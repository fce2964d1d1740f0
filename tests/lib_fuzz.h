/* What the fuzz targets share: an input that is read byte by byte, machines
 * made of a few pages, and the checks that two of them are in the same state.
 * Every target is deterministic: the same input does the same again. */
#ifndef RELIVE_TESTS_LIB_FUZZ_H
#define RELIVE_TESTS_LIB_FUZZ_H

#include "board/machine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- input: zeros once it has ended ---------------------------------------- */

struct fuzz {
    const uint8_t *at, *end;
};
struct fuzz fuzz_begin(const uint8_t *data, size_t size);
bool fuzz_more(const struct fuzz *f);
uint8_t fuzz_u8(struct fuzz *f);
uint16_t fuzz_u16(struct fuzz *f);
uint32_t fuzz_u32(struct fuzz *f);
uint64_t fuzz_u64(struct fuzz *f);
void fuzz_bytes(struct fuzz *f, void *out, size_t bytes);

/* Takes a dozen edits of data[0..*bytes) at most from the input: bits, bytes,
 * words, interesting values, cuts and growth up to capacity. So a target starts
 * from something well formed and needs no corpus of files. */
void fuzz_edit(struct fuzz *f, uint8_t *data, size_t *bytes, size_t capacity);

/* Prints the sentence and aborts, which libFuzzer reports as a crash. */
_Noreturn void fuzz_fail(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* ---- machines ----------------------------------------------------------- */

enum {
    FUZZ_RAM = 2 << 20,
    FUZZ_TESTDEV = 1, /* flags of fuzz_machine() */
    FUZZ_DISK = 2,
    FUZZ_SLAVE = 4,
    FUZZ_CDROM = 8,
    FUZZ_FLOPPY = 16,
    FUZZ_INTERRUPTS = 32, /* the BIOS enables interrupts and acknowledges them;
                             else it is 64 KiB of HLT */
    FUZZ_PCI = 64         /* BARs and command registers as a BIOS sets them */
};

/* Where FUZZ_PCI puts things. */
enum {
    FUZZ_BUS_MASTER = 0xc000,
    FUZZ_PM = 0xb000
};
#define FUZZ_FRAMEBUFFER 0xe0000000u

/* A fresh machine at tick 0. sectors: size of its disks and CD in units of 512
 * bytes (at least 1). Media of events are opened by their names: a name that
 * starts with a digit is a medium of that many sectors; all others fail. */
struct machine *fuzz_machine(unsigned flags, unsigned sectors);
/* A machine in the state of m: saved, and loaded into a fresh one. */
struct machine *fuzz_fork(const struct machine *m, unsigned flags,
                          unsigned sectors);
/* A tick further, then to the next deadline if m sleeps, but at most `jump`, or
 * else `ticks`: a guest that runs is slow. */
void fuzz_advance(struct machine *m, uint64_t jump, uint64_t ticks);
/* Aborts with the first difference unless a and b have equal digests. */
void fuzz_same(struct machine *a, struct machine *b, const char *what);

#endif
