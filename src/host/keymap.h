/* Names and characters of a US keyboard as keys of dev/keys.h. */
#ifndef RELIVE_HOST_KEYMAP_H
#define RELIVE_HOST_KEYMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The key that types an ASCII character (also newline, tab, backspace, escape)
 * and whether Shift is held. False: no key does. */
bool keymap_char(char c, uint16_t *key, bool *shift);

/* "a", "ctrl", "f1", "pgup", ... False: no such name. Case does not matter in
 * names longer than one character. */
bool keymap_name(const char *name, size_t length, uint16_t *key);

/* The names one after the other, for help: NULL ends them. */
const char *keymap_name_at(unsigned index);

enum { KEYMAP_SHIFT = 0x2a };

#endif
