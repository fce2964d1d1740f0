#include "base/duration.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    uint64_t ns;
} units[] = {
    {"ns", 1},
    {"us", 1000},
    {"ms", 1000000},
    {"s", 1000000000},
    {"m", UINT64_C(60000000000)},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool duration_parse(const char *text, uint64_t *ns)
{
    unsigned __int128 value = 0;
    uint64_t scale = 1;
    const char *p = text;
    if (!is_digit(*p))
        return false;
    for (; is_digit(*p); p++) {
        value = value * 10 + (unsigned)(*p - '0');
        if (value > INT64_MAX)
            return false;
    }
    if (*p == '.') {
        if (!is_digit(*++p))
            return false;
        for (; is_digit(*p); p++) {
            if (scale == 1000000000)
                return false;
            value = value * 10 + (unsigned)(*p - '0');
            scale *= 10;
        }
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(p, units[i].name) != 0)
            continue;
        value = value * units[i].ns / scale;
        if (value > INT64_MAX)
            return false;
        *ns = (uint64_t)value;
        return true;
    }
    return false;
}

static uint64_t scaled(uint64_t value, uint64_t times, uint64_t over)
{
    unsigned __int128 v = (unsigned __int128)value * times / over;
    return v > UINT64_MAX ? UINT64_MAX : (uint64_t)v;
}

uint64_t duration_ticks(uint64_t ns, uint32_t cpu_mhz)
{
    return scaled(ns, cpu_mhz, 1000);
}

uint64_t duration_ns(uint64_t ticks, uint32_t cpu_mhz)
{
    return scaled(ticks, 1000, cpu_mhz);
}
