/* A view: the machine at one place of a session. */
#include "analysis/guest_memory.h"
#include "analysis/lua_modules.h"

#include "cpu/cpu.h"
#include "replay/gdb_target.h"

#include <Zydis/Zydis.h>
#include <string.h>

enum {
    DISAS_MAX = 10000,
    INSN_BYTES = 15,
    STACK_WORDS = 16,
    STACK_WORDS_MAX = 4096,
    SCANNED_WORDS = 512, /* of the stack for return addresses */
    FRAMES_MAX = 64
};

/* ---- where it is ----------------------------------------------------------
 */

static int view_tick(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)lua_view_place(L, 1).tick);
    return 1;
}

static int view_deliveries(lua_State *L)
{
    lua_pushinteger(L, lua_view_place(L, 1).deliveries);
    return 1;
}

static int view_seconds(lua_State *L)
{
    const struct lua_session *ls = lua_check_view(L, 1);
    lua_pushnumber(L, (double)lua_view_place(L, 1).tick /
                          (ls->session->config.cpu_mhz * 1e6));
    return 1;
}

static int view_insns(lua_State *L)
{
    const struct lua_session *ls = lua_check_view(L, 1);
    lua_pushinteger(L, (lua_Integer)machine_insns(ls->machine));
    return 1;
}

static int view_halted(lua_State *L)
{
    lua_pushboolean(L, machine_is_halted(lua_check_view(L, 1)->machine));
    return 1;
}

static int view_mode(lua_State *L)
{
    static const int bits[] = {[MODE_16] = 16, [MODE_32] = 32, [MODE_64] = 64};
    const struct lua_session *ls = lua_check_view(L, 1);
    lua_pushinteger(L, bits[machine_cpu(ls->machine)->mode]);
    return 1;
}

static int view_to_string(lua_State *L)
{
    struct machine_place place = lua_view_place(L, 1);
    lua_pushfstring(L, "view at tick %I", (lua_Integer)place.tick);
    return 1;
}

static int view_digest(lua_State *L)
{
    const struct lua_session *ls = lua_check_view(L, 1);
    struct digest d = machine_digest(ls->machine);
    const struct {
        const char *name;
        const uint8_t *bytes;
    } parts[] = {{"cpu", d.cpu}, {"io", d.io}, {"mem", d.mem}};
    lua_createtable(L, 0, 3);
    for (unsigned i = 0; i < 3; i++) {
        static const char digits[] = "0123456789abcdef";
        char text[33] = "";
        for (unsigned k = 0; k < 16; k++) {
            text[2 * k] = digits[parts[i].bytes[k] >> 4];
            text[2 * k + 1] = digits[parts[i].bytes[k] & 15];
        }
        lua_set_string(L, parts[i].name, text);
    }
    return 1;
}

/* ---- its parts ------------------------------------------------------------
 */

static int view_regs(lua_State *L)
{
    lua_push_registers(L, lua_check_view(L, 1), lua_view_place(L, 1));
    return 1;
}

static int view_mem(lua_State *L)
{
    lua_push_memory(L, lua_check_view(L, 1), lua_view_place(L, 1),
                    LUA_SPACE_LINEAR, 0);
    return 1;
}

static int view_phys(lua_State *L)
{
    lua_push_memory(L, lua_check_view(L, 1), lua_view_place(L, 1),
                    LUA_SPACE_PHYSICAL, 0);
    return 1;
}

static int view_space(lua_State *L)
{
    uint64_t root = (uint64_t)luaL_checkinteger(L, 2);
    lua_push_memory(L, lua_check_view(L, 1), lua_view_place(L, 1),
                    LUA_SPACE_ROOT, root);
    return 1;
}

static int view_screen(lua_State *L)
{
    lua_push_screen(L, lua_check_view(L, 1), lua_view_place(L, 1));
    return 1;
}

static int view_cr(lua_State *L)
{
    const struct cpu *c = machine_cpu(lua_check_view(L, 1)->machine);
    const struct {
        lua_Integer n;
        uint64_t value;
    } rows[] = {{0, c->cr0}, {2, c->cr2}, {3, c->cr3}, {4, c->cr4}};
    lua_newtable(L);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lua_pushinteger(L, (lua_Integer)rows[i].value);
        lua_rawseti(L, -2, rows[i].n);
    }
    lua_pushinteger(L, c->board.tpr_read(c->board.context));
    lua_rawseti(L, -2, 8);
    return 1;
}

static void add_segment(lua_State *L, const char *name,
                        const struct segment *s)
{
    lua_createtable(L, 0, 4);
    lua_set_u64(L, "selector", s->selector);
    lua_set_u64(L, "base", s->base);
    lua_set_u64(L, "limit", s->limit);
    lua_set_u64(L, "attributes", s->attr);
    lua_setfield(L, -2, name);
}

static void add_table(lua_State *L, const char *name,
                      const struct table_register *t)
{
    lua_createtable(L, 0, 2);
    lua_set_u64(L, "base", t->base);
    lua_set_u64(L, "limit", t->limit);
    lua_setfield(L, -2, name);
}

static int view_seg(lua_State *L)
{
    static const char *const names[SEG_COUNT] = {"es", "cs", "ss",
                                                 "ds", "fs", "gs"};
    const struct cpu *c = machine_cpu(lua_check_view(L, 1)->machine);
    lua_newtable(L);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        add_segment(L, names[i], &c->seg[i]);
    add_segment(L, "ldtr", &c->ldtr);
    add_segment(L, "tr", &c->tr);
    add_table(L, "gdtr", &c->gdtr);
    add_table(L, "idtr", &c->idtr);
    return 1;
}

static int view_translate(lua_State *L)
{
    struct guest_memory g;
    uint64_t paddr;
    const struct lua_session *ls = lua_check_view(L, 1);
    uint64_t vaddr = (uint64_t)luaL_checkinteger(L, 2);
    guest_memory_of(&g, ls->machine);
    uint64_t root = (uint64_t)luaL_optinteger(L, 3, (lua_Integer)g.cpu.cr3);
    if (guest_translate(&g, root, vaddr, &paddr))
        lua_pushinteger(L, (lua_Integer)paddr);
    else
        lua_pushnil(L);
    return 1;
}

/* ---- instructions ---------------------------------------------------------
 */

static bool disassemble(struct machine *m, uint64_t address,
                        ZydisDisassembledInstruction *insn, uint8_t *bytes,
                        size_t *count)
{
    static const ZydisMachineMode modes[] = {
        [MODE_16] = ZYDIS_MACHINE_MODE_LEGACY_16,
        [MODE_32] = ZYDIS_MACHINE_MODE_LEGACY_32,
        [MODE_64] = ZYDIS_MACHINE_MODE_LONG_64};
    const struct cpu *c = machine_cpu(m);
    *count = gdb_memory_read(m, false, address, bytes, INSN_BYTES);
    return *count > 0 && ZYAN_SUCCESS(ZydisDisassembleIntel(
                             modes[c->mode], address - c->ea_base[SEG_CS],
                             bytes, *count, insn));
}

static int view_disas(lua_State *L)
{
    struct machine *m = lua_check_view(L, 1)->machine;
    lua_Integer pc = (lua_Integer)gdb_linear_pc(m);
    uint64_t address = (uint64_t)luaL_optinteger(L, 2, pc);
    lua_Integer count = luaL_optinteger(L, 3, 1);
    uint64_t mask = machine_cpu(m)->linear_mask;
    luaL_argcheck(L, count >= 0 && count <= DISAS_MAX, 3,
                  "expected 0 to 10000");
    lua_newtable(L);
    for (lua_Integer i = 1; i <= count; i++) {
        ZydisDisassembledInstruction insn;
        uint8_t bytes[INSN_BYTES];
        size_t n;
        bool is_valid = disassemble(m, address, &insn, bytes, &n);
        if (n == 0)
            break;
        unsigned length = is_valid ? insn.info.length : 1;
        lua_createtable(L, 0, 4);
        lua_set_u64(L, "address", address);
        lua_set_string(L, "text", is_valid ? insn.text : "(bad)");
        lua_set_u64(L, "length", length);
        lua_pushlstring(L, (const char *)bytes, length);
        lua_setfield(L, -2, "bytes");
        lua_rawseti(L, -2, i);
        address = (address + length) & mask;
    }
    return 1;
}

/* ---- the stack ------------------------------------------------------------
 */

static unsigned word_bytes(const struct cpu *c)
{
    return c->mode == MODE_64 ? 8 : c->mode == MODE_32 ? 4 : 2;
}

static uint64_t stack_top(const struct cpu *c)
{
    return (c->ea_base[SEG_SS] + (c->r[REG_RSP] & c->sp_mask)) & c->linear_mask;
}

static bool stack_word(struct machine *m, uint64_t address, uint64_t *value)
{
    uint8_t raw[8];
    unsigned bytes = word_bytes(machine_cpu(m));
    *value = 0;
    if (gdb_memory_read(m, false, address, raw, bytes) < bytes)
        return false;
    for (unsigned i = bytes; i-- > 0;)
        *value = *value << 8 | raw[i];
    return true;
}

static int view_stack(lua_State *L)
{
    struct machine *m = lua_check_view(L, 1)->machine;
    const struct cpu *c = machine_cpu(m);
    lua_Integer count = luaL_optinteger(L, 2, STACK_WORDS);
    uint64_t at = stack_top(c), value;
    luaL_argcheck(L, count >= 0 && count <= STACK_WORDS_MAX, 2,
                  "expected 0 to 4096");
    lua_newtable(L);
    for (lua_Integer i = 1; i <= count && stack_word(m, at, &value); i++) {
        lua_createtable(L, 0, 2);
        lua_set_u64(L, "address", at);
        lua_set_u64(L, "value", value);
        lua_rawseti(L, -2, i);
        at += word_bytes(c);
    }
    return 1;
}

enum { CALL_BYTES_MAX = 7, CALLED_BEFORE_MAX = 65536 };

/* Does a CALL end at this linear address? The bytes of opcodes E8 and FF /2 are
 * looked for before they are decoded, for most words are no code at all. Direct
 * calls: *target is set, else 0. */
static bool is_behind_call(struct machine *m, uint64_t address,
                           uint64_t *target)
{
    uint8_t before[CALL_BYTES_MAX];
    const struct cpu *c = machine_cpu(m);
    *target = 0;
    if (gdb_memory_read(m, false, address - sizeof before, before,
                        sizeof before) < sizeof before)
        return false;
    for (unsigned back = 2; back <= CALL_BYTES_MAX; back++) {
        ZydisDisassembledInstruction insn;
        uint8_t bytes[INSN_BYTES];
        size_t n;
        const uint8_t *p = before + sizeof before - back;
        bool may_be = p[0] == 0xe8 || (p[0] == 0xff && (p[1] >> 3 & 7) == 2) ||
                      (back > 2 && p[1] == 0xff && (p[2] >> 3 & 7) == 2) ||
                      p[0] == 0x66 || p[0] == 0x9a;
        if (!may_be || !disassemble(m, address - back, &insn, bytes, &n) ||
            insn.info.length != back ||
            insn.info.mnemonic != ZYDIS_MNEMONIC_CALL)
            continue;
        if (insn.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
            insn.operands[0].imm.is_relative)
            *target = (address + insn.operands[0].imm.value.u) & c->linear_mask;
        return true;
    }
    return false;
}

unsigned lua_backtrace(struct machine *m, struct lua_frame *frames,
                       unsigned most, bool is_exact)
{
    const struct cpu *c = machine_cpu(m);
    uint64_t at = stack_top(c), value, target;
    unsigned n = 1;
    frames[0] = (struct lua_frame){gdb_linear_pc(m), at};
    for (unsigned i = 0; i < SCANNED_WORDS && n < most; i++) {
        if (!stack_word(m, at, &value))
            break;
        uint64_t linear = (value + c->ea_base[SEG_CS]) & c->linear_mask;
        at += word_bytes(c);
        if (value < CALL_BYTES_MAX || !is_behind_call(m, linear, &target))
            continue;
        if (is_exact && target &&
            frames[n - 1].pc - target > CALLED_BEFORE_MAX)
            continue;
        frames[n++] = (struct lua_frame){linear, at};
    }
    return n;
}

static int view_backtrace(lua_State *L)
{
    struct lua_frame frames[FRAMES_MAX];
    struct machine *m = lua_check_view(L, 1)->machine;
    lua_Integer most = luaL_optinteger(L, 2, FRAMES_MAX);
    luaL_argcheck(L, most >= 1 && most <= FRAMES_MAX, 2, "expected 1 to 64");
    unsigned n = lua_backtrace(m, frames, (unsigned)most, lua_toboolean(L, 3));
    lua_createtable(L, (int)n, 0);
    for (unsigned i = 0; i < n; i++) {
        lua_createtable(L, 0, 2);
        lua_set_u64(L, "pc", frames[i].pc);
        lua_set_u64(L, "sp", frames[i].sp);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* ---- moving ---------------------------------------------------------------
 */

static int moved(lua_State *L, struct lua_session *ls, enum travel_stop stop,
                 const struct error *err)
{
    lua_check_moved(L, stop, err);
    if (stop == TRAVEL_START || stop == TRAVEL_END)
        lua_pushnil(L);
    else
        lua_push_view(L, ls, travel_place(ls->travel));
    return 1;
}

static int view_step(lua_State *L)
{
    struct error err;
    struct probe_hit hit;
    struct lua_session *ls = lua_check_view(L, 1);
    return moved(L, ls, travel_step(ls->travel, NULL, 0, &hit, &err), &err);
}

static int view_step_back(lua_State *L)
{
    struct error err;
    struct probe_hit hit;
    struct lua_session *ls = lua_check_view(L, 1);
    return moved(L, ls, travel_step_back(ls->travel, NULL, 0, &hit, &err),
                 &err);
}

static const struct lua_api_entry entries[] = {
    {.name = "tick",
     .function = view_tick,
     .signature = "view.tick -> tick",
     .doc = "Where the view stands.",
     .is_property = true},
    {.name = "deliveries",
     .function = view_deliveries,
     .signature = "view.deliveries -> integer",
     .doc = "Interrupts and exceptions delivered at this tick before it.",
     .is_property = true},
    {.name = "seconds",
     .function = view_seconds,
     .signature = "view.seconds -> number",
     .doc = "The tick as guest time.",
     .is_property = true},
    {.name = "insns",
     .function = view_insns,
     .signature = "view.insns -> integer",
     .doc = "Instructions retired so far.",
     .is_property = true},
    {.name = "halted",
     .function = view_halted,
     .signature = "view.halted -> boolean",
     .doc = "Does the CPU wait in HLT?",
     .is_property = true},
    {.name = "mode",
     .function = view_mode,
     .signature = "view.mode -> 16, 32 or 64",
     .doc = "Bits of the code that runs.",
     .is_property = true},
    {.name = "regs",
     .function = view_regs,
     .signature = "view.regs -> registers",
     .doc = "The CPU's registers.",
     .is_property = true},
    {.name = "cr",
     .function = view_cr,
     .signature = "view.cr -> table",
     .doc = "Control registers: view.cr[0], [2], [3], [4], [8].",
     .is_property = true},
    {.name = "seg",
     .function = view_seg,
     .signature = "view.seg -> table",
     .doc = "Segments with their hidden parts: view.seg.cs.base; es, cs, ss, "
            "ds, fs, gs, ldtr, tr as {selector, base, limit, attributes}, gdtr "
            "and idtr as {base, limit}.",
     .is_property = true},
    {.name = "mem",
     .function = view_mem,
     .signature = "view.mem -> memory",
     .doc = "Memory by linear address, in the address space of the moment.",
     .is_property = true},
    {.name = "phys",
     .function = view_phys,
     .signature = "view.phys -> memory",
     .doc = "Memory by physical address.",
     .is_property = true},
    {.name = "space",
     .function = view_space,
     .signature = "view:space(cr3) -> memory",
     .doc = "Memory by linear address in another address space."},
    {.name = "translate",
     .function = view_translate,
     .signature = "view:translate(vaddr [, cr3]) -> paddr",
     .doc = "By the page tables; nil where nothing is mapped."},
    {.name = "disas",
     .function = view_disas,
     .signature = "view:disas([address [, count=1]]) -> array",
     .doc = "Instructions in the CPU's mode, as {address, text, length, bytes}; "
            "from the current one by default."},
    {.name = "screen",
     .function = view_screen,
     .signature = "view:screen() -> screen",
     .doc = "What the display shows."},
    {.name = "stack",
     .function = view_stack,
     .signature = "view:stack([words=16]) -> array",
     .doc = "Words from the top of the stack, as {address, value}."},
    {.name = "backtrace",
     .function = view_backtrace,
     .signature = "view:backtrace([frames=64 [, exact]]) -> array",
     .doc = "The current instruction and the return addresses on the stack, as "
            "{pc, sp}: words that lie behind a CALL, so that stale ones may be "
            "among them. exact: a direct CALL must lead close to the frame "
            "inside it, which drops most stale ones, and true ones behind a "
            "jump to another function."},
    {.name = "step",
     .function = view_step,
     .signature = "view:step() -> view",
     .doc = "Behind the next instruction or delivery; nil at the end."},
    {.name = "step_back",
     .function = view_step_back,
     .signature = "view:step_back() -> view",
     .doc = "In front of the last instruction or delivery; nil at the start."},
    {.name = "digest",
     .function = view_digest,
     .signature = "view:digest() -> table",
     .doc = "The machine's digest, as {cpu, io, mem} in hexadecimal."},
    {.name = "__tostring", .function = view_to_string},
    {0},
};

const struct lua_api_module lua_module_view = {
    .name = "view",
    .kind = LUA_API_CLASS,
    .doc = "The machine at a place of a session: session:at(tick).",
    .entries = entries,
};
