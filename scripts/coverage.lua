-- Which instructions of a function or a range were executed in a part of a
-- session, how often, and which never: code coverage without instrumenting the
-- guest.
--
--   relive query SESSION scripts/coverage.lua NAME... [--from T] [--to T]
--   relive query SESSION scripts/coverage.lua 0x1000-0x1fff --listing
--   relive query SESSION --allow-files scripts/coverage.lua --trace N --drcov F

local args = require("args")
local usage = [[
usage: relive query SESSION coverage.lua PLACE... [OPTIONS]

PLACE: a function's name, or FIRST-LAST, linear addresses.

  --from TICK, --to TICK  the part to look at (all)
  --cr3 N                 only in this address space
  --listing               every instruction with its count
  --trace NAME            of a stored trace (relive trace) instead, with
  --drcov FILE            a coverage file for IDA, Ghidra and Lighthouse
                          (--allow-files)
  --help                  this text

Instructions are found by decoding from the first address on, so data between
functions counts as instructions that were never executed.]]

local o = args.parse(usage, {from = "", to = "", cr3 = "", listing = false,
                             trace = "", drcov = ""}, {...})
local from = args.tick(session, o.from, session.start)
local to = args.tick(session, o.to, session.length)

if o.drcov ~= "" then
    session:trace(o.trace ~= "" and o.trace or nil):export("drcov", o.drcov,
                                                           {from = from,
                                                            to = to})
    print(o.drcov .. ": written")
    return
end
if #o == 0 then
    args.fail("coverage: expected a function or FIRST-LAST (see --help)")
end

local view = session:at(to)
local function place_of(text)
    local a, b = text:match("^(%w+)%-(%w+)$")
    if a and tonumber(a) and tonumber(b) then
        return math.tointeger(tonumber(a)), math.tointeger(tonumber(b)), text
    end
    local first = args.address(text, view)
    local symbol = symbols.lookup(first, view)
    local size = symbol and symbol.size or 0
    while size < 65536 and not (symbol and symbol.size) do -- to the next one
        local there = symbols.lookup(first + size, view)
        if not there or there.address ~= first then
            break
        end
        size = size + 1
    end
    if size == 0 then
        args.fail("'%s': its size is not known; give FIRST-LAST", text)
    end
    return first, first + size - 1, text
end

local function cover(text)
    local c = {executed = 0, instructions = 0, executions = 0, list = {}}
    local counts = {}
    c.first, c.last, c.name = place_of(text)
    local options = {range = {c.first, c.last}, from = from, to = to}
    if o.cr3 ~= "" then
        options.cr3 = math.tointeger(tonumber(o.cr3))
    end
    local mode_view
    for hit in session:execs(options) do
        counts[hit.rip] = (counts[hit.rip] or 0) + 1
        c.executions = c.executions + 1
        mode_view = mode_view or session:at(hit.tick)
    end
    -- Decoded as the code was when it ran first.
    local address, v = c.first, mode_view or view
    while address <= c.last do
        local insn = v:disas(address)[1]
        if not insn then
            break
        end
        local n = counts[address] or 0
        c.list[#c.list + 1] = {address = address, text = insn.text, count = n}
        c.instructions = c.instructions + 1
        c.executed = c.executed + (n > 0 and 1 or 0)
        address = address + insn.length
    end
    return c
end

local all = {}
for i, text in ipairs(o) do
    all[i] = cover(text)
end
if args.json(all) then
    return
end
local rows = {{"place", "instructions", "executed", "share", "executions"}}
for i, c in ipairs(all) do
    rows[i + 1] = {c.name, c.instructions, c.executed,
                   string.format("%.1f%%", 100 * c.executed /
                                     math.max(1, c.instructions)), c.executions}
end
args.table(rows)
for _, c in ipairs(o.listing and all or {}) do
    print("\n" .. c.name)
    for _, i in ipairs(c.list) do
        print(string.format("%10s  %s  %s", i.count > 0 and i.count or "-",
                            hex(i.address), i.text))
    end
end
