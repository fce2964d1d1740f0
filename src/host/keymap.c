#include "host/keymap.h"

#include "dev/keys.h"

#include <string.h>
#include <strings.h>

/* Scan code set 1 (IBM PS/2 Hardware Interface Technical Reference, keyboards);
 * a row is keys with consecutive make codes. */
static const struct {
    uint8_t first;
    const char *plain, *shifted;
} rows[] = {
    {0x02, "1234567890-=", "!@#$%^&*()_+"},
    {0x10, "qwertyuiop[]", "QWERTYUIOP{}"},
    {0x1e, "asdfghjkl;'`", "ASDFGHJKL:\"~"},
    {0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"},
    {0x39, " ", ""},
    {0x1c, "\n", ""},
    {0x0e, "\b\t", ""},
    {0x01, "\x1b", ""},
};

bool keymap_char(char c, uint16_t *key, bool *shift)
{
    for (size_t i = 0; c != 0 && i < sizeof rows / sizeof rows[0]; i++) {
        const char *at = strchr(rows[i].plain, c);
        *shift = !at;
        if (!at)
            at = strchr(rows[i].shifted, c);
        if (!at)
            continue;
        const char *row = *shift ? rows[i].shifted : rows[i].plain;
        *key = (uint16_t)(rows[i].first + (at - row));
        return true;
    }
    return false;
}

static const struct {
    const char *name;
    uint16_t key;
} names[] = {
    {"esc", 0x01},
    {"backspace", 0x0e},
    {"tab", 0x0f},
    {"enter", 0x1c},
    {"ctrl", 0x1d},
    {"rctrl", KEY_EXTENDED | 0x1d},
    {"shift", KEYMAP_SHIFT},
    {"rshift", 0x36},
    {"alt", 0x38},
    {"altgr", KEY_EXTENDED | 0x38},
    {"space", 0x39},
    {"minus", 0x0c},
    {"capslock", 0x3a},
    {"numlock", 0x45},
    {"scrolllock", 0x46},
    {"f1", 0x3b},
    {"f2", 0x3c},
    {"f3", 0x3d},
    {"f4", 0x3e},
    {"f5", 0x3f},
    {"f6", 0x40},
    {"f7", 0x41},
    {"f8", 0x42},
    {"f9", 0x43},
    {"f10", 0x44},
    {"f11", 0x57},
    {"f12", 0x58},
    {"home", KEY_EXTENDED | 0x47},
    {"up", KEY_EXTENDED | 0x48},
    {"pgup", KEY_EXTENDED | 0x49},
    {"left", KEY_EXTENDED | 0x4b},
    {"right", KEY_EXTENDED | 0x4d},
    {"end", KEY_EXTENDED | 0x4f},
    {"down", KEY_EXTENDED | 0x50},
    {"pgdn", KEY_EXTENDED | 0x51},
    {"ins", KEY_EXTENDED | 0x52},
    {"del", KEY_EXTENDED | 0x53},
    {"win", KEY_EXTENDED | 0x5b},
    {"rwin", KEY_EXTENDED | 0x5c},
    {"menu", KEY_EXTENDED | 0x5d},
    {"pause", KEY_PAUSE},
    {"print", KEY_PRINT_SCREEN},
    {"kp_star", 0x37},
    {"kp_7", 0x47},
    {"kp_8", 0x48},
    {"kp_9", 0x49},
    {"kp_minus", 0x4a},
    {"kp_4", 0x4b},
    {"kp_5", 0x4c},
    {"kp_6", 0x4d},
    {"kp_plus", 0x4e},
    {"kp_1", 0x4f},
    {"kp_2", 0x50},
    {"kp_3", 0x51},
    {"kp_0", 0x52},
    {"kp_dot", 0x53},
    {"kp_slash", KEY_EXTENDED | 0x35},
    {"kp_enter", KEY_EXTENDED | 0x1c},
};
enum { NAMES = sizeof names / sizeof names[0] };

bool keymap_name(const char *name, size_t length, uint16_t *key)
{
    bool shift;
    if (length == 1)
        return keymap_char(*name, key, &shift) && !shift;
    for (unsigned i = 0; i < NAMES; i++) {
        if (strlen(names[i].name) == length &&
            strncasecmp(names[i].name, name, length) == 0) {
            *key = names[i].key;
            return true;
        }
    }
    return false;
}

const char *keymap_name_at(unsigned index)
{
    return index < NAMES ? names[index].name : NULL;
}
