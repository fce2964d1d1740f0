-- Who damaged the heap: given where blocks are handed out and taken back, finds
-- the write that left its block, or touched a freed one, without the guest's
-- help.
--
--   relive query SESSION scripts/heap-corruption.lua --malloc F --free F ADDRESS
--
-- ADDRESS is a word that was found damaged (a block's header, a free list's
-- pointer). The script takes the blocks that were alive when it was written
-- and says into whose it falls, and whose end the writer ran over.

local args = require("args")
local usage = [[
usage: relive query SESSION heap-corruption.lua ADDRESS [OPTIONS]

ADDRESS: a damaged word, a number or a symbol.

  --malloc NAME   the function (name or address) that hands out blocks; its
                  first argument is the size, its result the block
  --free NAME     the one that takes them back: its first argument is one
  --size-arg N    which argument is the size (1)
  --length N      bytes of the damaged word (8)
  --at TICK       when it is known to be damaged (the end)
  --owner TEXT    functions with TEXT in their name may write there: the
                  allocator's own
  --abi NAME      how arguments are passed, as session:calls takes it
  --help          this text]]

local o = args.parse(usage, {malloc = "", free = "", ["size-arg"] = 1,
                             length = 8, at = "", owner = "", abi = ""}, {...})
if not o[1] or o.malloc == "" then
    args.fail("heap-corruption: expected an ADDRESS and --malloc NAME " ..
                  "(see --help)")
end
local at = args.tick(session, o.at, session.length)
local address = args.address(o[1], session:at(at))
local malloc = args.address(o.malloc, session:at(at))
local release = o.free ~= "" and args.address(o.free, session:at(at))
local abi = o.abi ~= "" and o.abi or nil

-- The allocator's own addresses: from its entry to the next symbol, or what
-- --owner names.
local function is_owner(rip, view)
    local place = symbols.lookup(rip, view)
    local name = place and place.name or ""
    if o.owner ~= "" then
        return name:find(o.owner, 1, true) ~= nil
    end
    local here = symbols.lookup(malloc, view)
    return here and place and here.name == place.name or false
end

-- Blocks by the ticks between which they were alive.
local blocks = {}
for call in session:calls {addr = malloc, to = at, abi = abi} do
    if call.result and call.result ~= 0 then
        blocks[#blocks + 1] = {address = call.result, born = call.returned,
                               caller = call.rip,
                               size = call.args[o["size-arg"]],
                               died = math.maxinteger}
    end
end
if release then
    for call in session:calls {addr = release, to = at, abi = abi} do
        for i = #blocks, 1, -1 do
            local b = blocks[i]
            if b.address == call.args[1] and b.born <= call.tick and
                b.died > call.tick then
                b.died = call.tick
                break
            end
        end
    end
end

-- The first write behind the owner's last one; where nobody knows the owner,
-- the last of all.
local culprit, last
for w in session:history(address, o.length, {at = at, to = at,
                                             backwards = true}) do
    local view = session:at(w.tick, w.deliveries)
    if w.rip and is_owner(w.rip, view) then
        last = nil
        break
    end
    culprit = {write = w, view = view}
    last = last or culprit
end
culprit = last or culprit
if not culprit then
    if not args.json({address = address}) then
        print("nobody but the allocator wrote there")
    end
    exit(1)
end

-- Of the blocks at that tick: the one it falls into, and the nearest below.
local w, inside, below, freed = culprit.write
for _, b in ipairs(blocks) do
    local alive = b.born <= w.tick and b.died > w.tick
    local holds = address >= b.address and address < b.address + b.size
    if alive and holds then
        inside = b
    elseif not alive and holds and b.died <= w.tick and
        (not freed or b.died > freed.died) then
        freed = b
    end
    if alive and b.address + b.size <= address and
        (not below or b.address > below.address) then
        below = b
    end
end

local verdict
if inside then
    verdict = string.format("a write inside a block of %d bytes that is in " ..
                                "use: no overflow", inside.size)
elseif freed then
    verdict = string.format("a write into a freed block of %d bytes at %s, " ..
                                "freed at tick %d", freed.size,
                            hex(freed.address), freed.died)
elseif below then
    verdict = string.format("%d bytes behind the end of a block of %d bytes " ..
                                "at %s, handed out at tick %d",
                            address - below.address - below.size, below.size,
                            hex(below.address), below.born)
else
    verdict = "a write in front of all blocks"
end
local report = {address = address, tick = w.tick, rip = w.rip,
                where = w.rip and symbols.format(w.rip, culprit.view) or
                    "a device", old = w.old, value = w.value,
                verdict = verdict, block = inside or freed or below,
                stack = {}}
for i, f in ipairs(culprit.view:backtrace(8, true)) do
    report.stack[i] = symbols.format(f.pc, culprit.view)
end
if args.json(report) then
    return
end
print(string.format("%s was damaged at tick %d: %s -> %s", hex(address),
                    w.tick, hex(w.old), hex(w.value)))
print("by      " .. report.where)
print("what    " .. verdict)
for i, text in ipairs(report.stack) do
    print(string.format("stack   %2d  %s", i - 1, text))
end
