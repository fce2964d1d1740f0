/* Host opcode parts by guest mnemonic, for both tiers. */
#ifndef RELIVE_JIT_CODES_H
#define RELIVE_JIT_CODES_H

#include <stdint.h>

/* Jcc, SETcc and CMOVcc in the order of condition codes (SDM vol. 1 app. B). */
extern const uint16_t jit_jump_codes[16], jit_set_codes[16], jit_cmov_codes[16];

/* The /digit of ROL, ROR, SHL, SHR, SAR; -1 for all else. */
int jit_shift_digit(uint16_t mnemonic);

#endif
