/* Parts of a view: registers, memory, the screen. Each remembers its place and
 * moves the machine there when it is used. */
#include "analysis/guest_memory.h"
#include "analysis/lua_modules.h"

#include "cpu/cpu.h"
#include "replay/gdb_target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_BYTES_MAX = 64 << 20, TEXT_BYTES_DEFAULT = 256, FIND_MAX = 4096 };

struct part {
    struct lua_session *ls; /* borrowed */
    struct machine_place place;
    enum lua_space space;
    uint64_t root;
};

static void push_part(lua_State *L, const char *name, const struct part *value)
{
    struct part *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = *value;
    luaL_setmetatable(L, name);
}

static struct part *check_part(lua_State *L, const char *name)
{
    struct part *p = luaL_checkudata(L, 1, name);
    lua_session_go(L, p->ls, p->place);
    return p;
}

/* ---- registers ------------------------------------------------------------
 */

void lua_push_registers(lua_State *L, struct lua_session *ls,
                        struct machine_place place)
{
    struct part p = {.ls = ls, .place = place};
    push_part(L, "registers", &p);
}

static const char *const general_64[] = {
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
static const char *const general_32[] = {"eax", "ecx", "edx", "ebx",
                                         "esp", "ebp", "esi", "edi"};
static const char *const general_16[] = {"ax", "cx", "dx", "bx",
                                         "sp", "bp", "si", "di"};

static bool general_register(const struct cpu *c, const char *name,
                             uint64_t *value)
{
    for (unsigned i = 0; i < 16; i++) {
        *value = c->r[i];
        if (strcmp(general_64[i], name) == 0)
            return true;
        if (i < 8 && strcmp(general_32[i], name) == 0) {
            *value &= UINT32_MAX;
            return true;
        }
        if (i < 8 && strcmp(general_16[i], name) == 0) {
            *value &= UINT16_MAX;
            return true;
        }
    }
    return false;
}

/* Those that gdb's tables do not have, or have otherwise. */
static bool special_register(struct machine *m, const char *name,
                             uint64_t *value)
{
    const struct cpu *c = machine_cpu(m);
    if (strcmp(name, "rip") == 0 || strcmp(name, "eip") == 0)
        *value = c->r[REG_RIP];
    else if (strcmp(name, "pc") == 0)
        *value = gdb_linear_pc(m);
    else if (strcmp(name, "rflags") == 0)
        *value = cpu_rflags(c);
    else if (strcmp(name, "cpl") == 0)
        *value = c->cpl;
    else
        return false;
    return true;
}

/* Push a register of gdb's description; false: there is none. */
static bool push_gdb_register(lua_State *L, struct machine *m, const char *name)
{
    uint8_t bytes[GDB_REGISTER_BYTES];
    uint64_t value = 0;
    unsigned n = 0, count = gdb_register_count(GDB_X86_64);
    while (n < count && strcmp(gdb_register_name(GDB_X86_64, n), name) != 0)
        n++;
    if (n == count)
        return false;
    unsigned size = gdb_register_bytes(GDB_X86_64, n);
    gdb_register_get(m, GDB_X86_64, n, bytes);
    if (size > sizeof value) {
        lua_pushlstring(L, (const char *)bytes, size);
        return true;
    }
    for (unsigned i = size; i-- > 0;)
        value = value << 8 | bytes[i];
    lua_pushinteger(L, (lua_Integer)value);
    return true;
}

static int registers_index(lua_State *L)
{
    uint64_t value;
    struct part *p = check_part(L, "registers");
    const char *name = luaL_checkstring(L, 2);
    if (special_register(p->ls->machine, name, &value) ||
        general_register(machine_cpu(p->ls->machine), name, &value))
        lua_pushinteger(L, (lua_Integer)value);
    else if (!push_gdb_register(L, p->ls->machine, name))
        return luaL_error(L, "there is no register '%s'", name);
    return 1;
}

static int registers_to_string(lua_State *L)
{
    luaL_Buffer b;
    char part[64];
    const struct part *p = check_part(L, "registers");
    const struct cpu *c = machine_cpu(p->ls->machine);
    luaL_buffinit(L, &b);
    for (unsigned i = 0; i < 16; i++) {
        (void)snprintf(part, sizeof part, "%-4s%016llx%c", general_64[i],
                       (unsigned long long)c->r[i], i % 4 == 3 ? '\n' : ' ');
        luaL_addstring(&b, part);
    }
    (void)snprintf(part, sizeof part, "rip %016llx rflags %08x cpl %u",
                   (unsigned long long)c->r[REG_RIP], cpu_rflags(c), c->cpl);
    luaL_addstring(&b, part);
    luaL_pushresult(&b);
    return 1;
}

static const struct lua_api_entry register_entries[] = {
    {.name = "__index",
     .function = registers_index,
     .signature = "regs.rax, regs.eax, regs.ax, regs.rip, regs.pc, regs.rflags, "
                  "regs.cpl, ... -> integer",
     .doc = "A register; also those of gdb's target description (cs, fs_base, "
            "cr2, efer, mxcsr), of which xmm0 to 15 and st0 to 7 are strings "
            "of 16 and 10 bytes. pc is the linear address of rip."},
    {.name = "__tostring", .function = registers_to_string},
    {0},
};

const struct lua_api_module lua_module_registers = {
    .name = "registers",
    .kind = LUA_API_CLASS,
    .doc = "view.regs.",
    .entries = register_entries,
};

/* ---- memory ---------------------------------------------------------------
 */

void lua_push_memory(lua_State *L, struct lua_session *ls,
                     struct machine_place place, enum lua_space space,
                     uint64_t root)
{
    struct part p = {
        .ls = ls, .place = place, .space = space, .root = root};
    push_part(L, "memory", &p);
}

static size_t read_memory(const struct part *p, uint64_t address, void *out,
                          size_t bytes)
{
    struct guest_memory g;
    if (p->space != LUA_SPACE_ROOT)
        return gdb_memory_read(p->ls->machine, p->space == LUA_SPACE_PHYSICAL,
                               address, out, bytes);
    guest_memory_of(&g, p->ls->machine);
    return guest_read(&g, p->root, address, out, bytes);
}

static int memory_read(lua_State *L)
{
    struct part *p = check_part(L, "memory");
    uint64_t address = (uint64_t)luaL_checkinteger(L, 2);
    lua_Integer bytes = luaL_checkinteger(L, 3);
    luaL_Buffer b;
    luaL_argcheck(L, bytes >= 0 && bytes <= READ_BYTES_MAX, 3,
                  "expected 0 to 64 MiB");
    char *out = luaL_buffinitsize(L, &b, (size_t)bytes);
    size_t n = read_memory(p, address, out, (size_t)bytes);
    luaL_pushresultsize(&b, n);
    if (n == (size_t)bytes)
        return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

/* nil where there is no memory. */
static int push_number(lua_State *L, unsigned bytes, bool is_signed)
{
    uint8_t raw[8];
    uint64_t value = 0;
    struct part *p = check_part(L, "memory");
    uint64_t address = (uint64_t)luaL_checkinteger(L, 2);
    if (read_memory(p, address, raw, bytes) < bytes) {
        lua_pushnil(L);
        return 1;
    }
    for (unsigned i = bytes; i-- > 0;)
        value = value << 8 | raw[i];
    if (is_signed && bytes < 8 && value >> (8 * bytes - 1))
        value |= UINT64_MAX << 8 * bytes;
    lua_pushinteger(L, (lua_Integer)value);
    return 1;
}

static int memory_u8(lua_State *L)
{
    return push_number(L, 1, false);
}
static int memory_u16(lua_State *L)
{
    return push_number(L, 2, false);
}
static int memory_u32(lua_State *L)
{
    return push_number(L, 4, false);
}
static int memory_u64(lua_State *L)
{
    return push_number(L, 8, false);
}
static int memory_i8(lua_State *L)
{
    return push_number(L, 1, true);
}
static int memory_i16(lua_State *L)
{
    return push_number(L, 2, true);
}
static int memory_i32(lua_State *L)
{
    return push_number(L, 4, true);
}

/* Bytes up to the first zero, read piece by piece as far as there is memory. */
static int memory_string(lua_State *L)
{
    char part[256];
    luaL_Buffer b;
    struct part *p = check_part(L, "memory");
    uint64_t address = (uint64_t)luaL_checkinteger(L, 2);
    lua_Integer most = luaL_optinteger(L, 3, TEXT_BYTES_DEFAULT);
    luaL_argcheck(L, most >= 0 && most <= READ_BYTES_MAX, 3,
                  "expected 0 to 64 MiB");
    luaL_buffinit(L, &b);
    size_t total = 0;
    while (total < (size_t)most) {
        size_t want = (size_t)most - total;
        want = want < sizeof part ? want : sizeof part;
        size_t n = read_memory(p, address + total, part, want);
        const char *end = memchr(part, 0, n);
        size_t length = end ? (size_t)(end - part) : n;
        luaL_addlstring(&b, part, length);
        if (n == 0 && total == 0) {
            lua_pushnil(L);
            return 1;
        }
        if (end || n < want)
            break;
        total += n;
    }
    luaL_pushresult(&b);
    return 1;
}

static int memory_wstring(lua_State *L)
{
    char text[4 * TEXT_BYTES_DEFAULT + 1];
    struct guest_memory g;
    struct part *p = check_part(L, "memory");
    uint64_t address = (uint64_t)luaL_checkinteger(L, 2);
    lua_Integer bytes = luaL_checkinteger(L, 3);
    luaL_argcheck(L, bytes >= 0 && bytes <= 2 * TEXT_BYTES_DEFAULT, 3,
                  "expected 0 to 512 bytes");
    guest_memory_of(&g, p->ls->machine);
    uint64_t root = p->space == LUA_SPACE_ROOT ? p->root : g.cpu.cr3;
    if (p->space == LUA_SPACE_PHYSICAL)
        return luaL_error(L, "wstring: expected linear addresses");
    if (guest_read_utf16(&g, root, address, (size_t)bytes, text, sizeof text))
        lua_pushstring(L, text);
    else
        lua_pushnil(L);
    return 1;
}

/* Look for bytes in [from, to); a page that is not there is passed over. */
static uint64_t find_linear(lua_State *L, const struct part *p, uint64_t from,
                            uint64_t to, const char *bytes, size_t count)
{
    char window[PAGE_BYTES + FIND_MAX];
    for (uint64_t at = from; at < to && to - at >= count;) {
        uint64_t page_end = (at | (PAGE_BYTES - 1)) + 1;
        size_t want = (size_t)(page_end - at) + count - 1;
        if (page_end == 0 || want > to - at)
            want = (size_t)(to - at < sizeof window ? to - at : sizeof window);
        size_t n = read_memory(p, at, window, want);
        const char *hit = n >= count ? memmem(window, n, bytes, count) : NULL;
        if (hit)
            return at + (uint64_t)(hit - window);
        if (page_end == 0)
            break;
        if ((page_end & 0xfffff) == 0)
            lua_check_stop(L);
        at = page_end;
    }
    return UINT64_MAX;
}

static int memory_find(lua_State *L)
{
    size_t count;
    struct guest_memory g;
    struct part *p = check_part(L, "memory");
    const char *bytes = luaL_checklstring(L, 2, &count);
    uint64_t from = (uint64_t)luaL_optinteger(L, 3, 0);
    uint64_t to = (uint64_t)luaL_optinteger(L, 4, -1), at;
    luaL_argcheck(L, count >= 1 && count <= FIND_MAX, 2,
                  "expected 1 to 4096 bytes");
    if (p->space == LUA_SPACE_PHYSICAL) {
        guest_memory_of(&g, p->ls->machine);
        at = guest_search_physical(&g, from, to, bytes, count);
    } else {
        luaL_argcheck(L, to - from <= UINT64_C(1) << 40, 4,
                      "expected a range of at most 1 TiB");
        at = find_linear(L, p, from, to, bytes, count);
    }
    if (at == UINT64_MAX)
        lua_pushnil(L);
    else
        lua_pushinteger(L, (lua_Integer)at);
    return 1;
}

static const struct lua_api_entry memory_entries[] = {
    {.name = "read",
     .function = memory_read,
     .signature = "mem:read(address, bytes) -> string",
     .doc = "The bytes; where memory ends before: nil and what there was."},
    {.name = "u8",
     .function = memory_u8,
     .signature = "mem:u8(address) -> integer",
     .doc = "An unsigned byte, nil where there is no memory."},
    {.name = "u16",
     .function = memory_u16,
     .signature = "mem:u16(address) -> integer",
     .doc = "Two bytes, little-endian, unsigned."},
    {.name = "u32",
     .function = memory_u32,
     .signature = "mem:u32(address) -> integer",
     .doc = "Four bytes, unsigned."},
    {.name = "u64",
     .function = memory_u64,
     .signature = "mem:u64(address) -> integer",
     .doc = "Eight bytes; from 2^63 on the integer is negative."},
    {.name = "i8",
     .function = memory_i8,
     .signature = "mem:i8(address) -> integer",
     .doc = "A signed byte."},
    {.name = "i16",
     .function = memory_i16,
     .signature = "mem:i16(address) -> integer",
     .doc = "Two bytes, signed."},
    {.name = "i32",
     .function = memory_i32,
     .signature = "mem:i32(address) -> integer",
     .doc = "Four bytes, signed."},
    {.name = "string",
     .function = memory_string,
     .signature = "mem:string(address [, most=256]) -> string",
     .doc = "Bytes up to a zero, at most so many."},
    {.name = "wstring",
     .function = memory_wstring,
     .signature = "mem:wstring(address, bytes) -> string",
     .doc = "UTF-16 of so many bytes, as UTF-8."},
    {.name = "find",
     .function = memory_find,
     .signature = "mem:find(bytes [, from [, to]]) -> address",
     .doc = "The first place of the bytes in [from, to), nil if none."},
    {0},
};

const struct lua_api_module lua_module_memory = {
    .name = "memory",
    .kind = LUA_API_CLASS,
    .doc = "view.mem by linear address, view.phys by physical address, "
           "view:space(cr3) by linear address in another address space. "
           "Devices are never touched: their addresses have no memory.",
    .entries = memory_entries,
};

/* ---- the screen -----------------------------------------------------------
 */

void lua_push_screen(lua_State *L, struct lua_session *ls,
                     struct machine_place place)
{
    struct part p = {.ls = ls, .place = place};
    push_part(L, "screen", &p);
}

static int screen_png(lua_State *L)
{
    struct error err;
    struct part *p = check_part(L, "screen");
    const char *path = luaL_checkstring(L, 2);
    const struct lua_host *host = lua_host_of(L);
    lua_check_files(L, path);
    if (!host->write_png)
        return luaL_error(L, "png: not possible here");
    if (!host->write_png(host->context, p->ls->machine, path, &err))
        return lua_raise(L, &err);
    return 0;
}

static int screen_text(lua_State *L)
{
    struct screen_text text;
    struct part *p = check_part(L, "screen");
    if (machine_screen_text(p->ls->machine, &text))
        lua_pushstring(L, text.text);
    else
        lua_pushnil(L);
    return 1;
}

/* Picture size, or a pixel's colour. Nothing raises while the picture is
 * held. */
static bool look(struct machine *m, struct screen *size, uint32_t x, uint32_t y,
                 uint32_t *pixel)
{
    struct screen screen = {0};
    bool ok = machine_screen(m, &screen);
    *size = screen;
    if (ok && x < screen.width && y < screen.height)
        *pixel = screen.pixels[(size_t)y * screen.width + x];
    screen_fini(&screen);
    return ok;
}

static int screen_width(lua_State *L)
{
    struct screen size;
    uint32_t pixel;
    if (!look(check_part(L, "screen")->ls->machine, &size, 0, 0, &pixel))
        return luaL_error(L, "out of memory");
    lua_pushinteger(L, size.width);
    return 1;
}

static int screen_height(lua_State *L)
{
    struct screen size;
    uint32_t pixel;
    if (!look(check_part(L, "screen")->ls->machine, &size, 0, 0, &pixel))
        return luaL_error(L, "out of memory");
    lua_pushinteger(L, size.height);
    return 1;
}

static int screen_pixel(lua_State *L)
{
    struct screen size;
    uint32_t pixel = 0;
    struct part *p = check_part(L, "screen");
    lua_Integer x = luaL_checkinteger(L, 2), y = luaL_checkinteger(L, 3);
    luaL_argcheck(L, x >= 0 && x <= UINT32_MAX, 2, "outside the screen");
    luaL_argcheck(L, y >= 0 && y <= UINT32_MAX, 3, "outside the screen");
    if (!look(p->ls->machine, &size, (uint32_t)x, (uint32_t)y, &pixel))
        return luaL_error(L, "out of memory");
    if (x >= size.width || y >= size.height)
        lua_pushnil(L);
    else
        lua_pushinteger(L, pixel);
    return 1;
}

static const struct lua_api_entry screen_entries[] = {
    {.name = "width",
     .function = screen_width,
     .signature = "screen.width -> integer",
     .doc = "Pixels in a row.",
     .is_property = true},
    {.name = "height",
     .function = screen_height,
     .signature = "screen.height -> integer",
     .doc = "Rows of pixels.",
     .is_property = true},
    {.name = "pixel",
     .function = screen_pixel,
     .signature = "screen:pixel(x, y) -> integer",
     .doc = "A colour as 0xRRGGBB, nil outside the screen."},
    {.name = "text",
     .function = screen_text,
     .signature = "screen:text() -> string",
     .doc = "What stands on a text screen, nil in graphics modes."},
    {.name = "png",
     .function = screen_png,
     .signature = "screen:png(file)",
     .doc = "Write the picture as PNG (--allow-files)."},
    {0},
};

const struct lua_api_module lua_module_screen = {
    .name = "screen",
    .kind = LUA_API_CLASS,
    .doc = "view:screen().",
    .entries = screen_entries,
};
