/* Keys by position, as struct event KEY carries them: the value is the scan code
 * set 1 make code; 0xE0-prefixed keys add 0x100; Pause and Print Screen have
 * values of their own because their sequences are irregular. */
#ifndef RELIVE_DEV_KEYS_H
#define RELIVE_DEV_KEYS_H

enum {
    KEY_EXTENDED = 0x100,
    KEY_PAUSE = 0x200,
    KEY_PRINT_SCREEN = 0x201
};

#endif
