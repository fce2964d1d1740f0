/* Small well-formed files and tables of symbols, byte by byte: what the readers
 * are tested with, and where fuzzing starts from. */
#ifndef RELIVE_TESTS_LIB_FUZZ_SYMBOLS_H
#define RELIVE_TESTS_LIB_FUZZ_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SYMIMAGE_BYTES = 32768 };

/* Each fills out and returns how many bytes. */

/* Functions "first" at 401000h (16 bytes) and "second" at 401010h, variable
 * "data" at 402000h. With lines: DWARF 4 says that 401000h is line 7 of "x.c"
 * and 401008h line 9. */
size_t symimage_elf(uint8_t out[SYMIMAGE_BYTES], bool is_64, bool has_lines);

/* Sections .text at 1000h and .data at 3000h; procedure "proc" at .text + 10h,
 * 20h bytes long, public "_public" at .data + 8; structure "s": a at 0, in.b at
 * 12 (in is declared before it is defined). With a map .text has moved up by
 * 100h and the first 8 bytes of .data are gone. */
size_t symimage_pdb(uint8_t out[SYMIMAGE_BYTES], bool has_map);

/* struct task { int pid; struct { int a; union { int u; long deep; }; }; struct
 * list links; int bits:3; } with list { void *next, *previous; } */
size_t symimage_btf(uint8_t out[SYMIMAGE_BYTES]);

/* Kernel tables of 600 symbols "T f0".."T f599", 16 bytes apart from `base`
 * on; before them "D cpu" at 40h when word is 8. order: 0 as in 6.1, 1 with
 * sequence numbers, 2 as from 6.4 on. *tokens: where the token "0" is. */
size_t symimage_kallsyms(uint8_t out[SYMIMAGE_BYTES], unsigned word,
                         unsigned order, uint64_t base, size_t *tokens);

#endif
