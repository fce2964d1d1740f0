-- Who wrote these bytes: every write to a place in memory up to a moment, with
-- the function, the process, old and new value; and, with --origin, where the
-- last value came from, followed back through copies.
--
--   relive query SESSION scripts/who-wrote.lua ADDRESS [LENGTH] [--at TICK]
--
-- ADDRESS is a number or a symbol. The memory meant is what is mapped there at
-- the moment asked about, by whatever address it is written, devices included.

local args = require("args")
local usage = [[
usage: relive query SESSION who-wrote.lua ADDRESS [LENGTH] [OPTIONS]

Every write to LENGTH (8) bytes at ADDRESS, a number or a symbol's name.

  --at TICK           the moment asked about: memory is what is mapped there
                      then, and later writes do not count (the end)
  --from TICK         do not look further back (the start)
  --last N            only the last so many (20); 0: all
  --value N           only writes of this value
  --expect TEXT       only the last write whose function's name has TEXT not
                      in it: the culprit among those who may write
  --origin            follow the last value back through copies
  --help              this text]]

local o = args.parse(usage, {at = "", from = "", last = 20, value = "",
                             expect = "", origin = false}, {...})
if not o[1] then
    args.fail("who-wrote: expected an ADDRESS (see --help)")
end
local at = args.tick(session, o.at, session.length)
local from = args.tick(session, o.from, session.start)
local address = args.address(o[1], session:at(at))
local length = math.tointeger(tonumber(o[2] or 8)) or
                   args.fail("LENGTH: expected a number, found '%s'", o[2])

local writes = {}
local function describe(w)
    local view = session:at(w.tick, w.deliveries)
    local process = guest.current(view)
    return {tick = w.tick, rip = w.rip, dma = w.dma or false,
            value = w.value, old = w.old, size = w.size,
            where = w.rip and symbols.format(w.rip, view) or "a device",
            insn = w.rip and view:disas(w.rip)[1].text or "",
            process = process and process.name}
end

-- Backwards: the newest first, so that --last does not look further than it
-- must.
local options = {at = at, from = from, to = at, backwards = true}
if o.value ~= "" then
    options.value = math.tointeger(tonumber(o.value)) or
                        args.fail("--value: expected a number")
end
for w in session:history(address, length, options) do
    local d = describe(w)
    local is_wanted = o.expect == "" or
                          not d.where:find(o.expect, 1, true)
    if is_wanted then
        table.insert(writes, 1, d)
        if o.expect ~= "" or o.last > 0 and #writes >= o.last then
            break
        end
    end
end

local origin = {}
if o.origin then
    for _, step in ipairs(session:origin(address, at, {len = length})) do
        origin[#origin + 1] = step
    end
end
if args.json({address = address, length = length, at = at, writes = writes,
              origin = origin}) then
    return
end

local now = session:at(at).mem:read(address, length)
print(string.format("%s, %d bytes at tick %d: %s", hex(address), length, at,
                    now and now:gsub(".", function(c)
    return string.format("%02x ", c:byte())
end) or "not mapped"))
if #writes == 0 then
    print("nobody wrote there")
end
for _, w in ipairs(writes) do
    print(string.format("tick %d  %s -> %s  %s  %s%s", w.tick, hex(w.old),
                        hex(w.value), w.where, w.insn,
                        w.process and "  [" .. w.process .. "]" or ""))
end
if o.origin then
    print("\nwhere the value came from, the last first")
    for _, s in ipairs(origin) do
        print(string.format("tick %d  %-10s %s  %s", s.tick, s.kind,
                            hex(s.value), s.insn or s.reg or ""))
    end
end
