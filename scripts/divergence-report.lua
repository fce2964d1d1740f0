-- Where two recordings of the same machine part ways: the first event that
-- differs, the digests around it, the exact tick, and what is different there.
-- Without a second one: is the replay what was recorded, digest by digest?
--
--   relive query SESSION scripts/divergence-report.lua [OTHER]
--
-- Exit status 1 when there is a difference.

local args = require("args")
local usage = [[
usage: relive query SESSION divergence-report.lua [OTHER]

With OTHER, a second recording: the first event that differs, and the first
tick at which the machines do, with registers and memory. Without: compares
this build's replay with every digest of the recording. Status 1 when there
is a difference.

  --help   this text]]

local o = args.parse(usage, {}, {...})

local function same(a, b)
    return a.cpu == b.cpu and a.io == b.io and a.mem == b.mem
end

local function what(a, b)
    local parts = {}
    for _, name in ipairs {"cpu", "io", "mem"} do
        if a[name] ~= b[name] then
            parts[#parts + 1] = name
        end
    end
    return table.concat(parts, ", ")
end

-- ---- one session against its own digests ------------------------------------

local function against_itself()
    local good, compared = session.start, 0
    for d in session:digests() do
        local now = session:at(d.tick):digest()
        if not same(now, d) then
            local report = {good = good, bad = d.tick, differs = what(now, d)}
            if not args.json(report) then
                print(string.format("the replay differs from the recording " ..
                                        "between ticks %d and %d: %s", good,
                                    d.tick, report.differs))
                print(string.format("relive bisect %s --engines interp,tier1",
                                    session.path))
            end
            exit(1)
        end
        good, compared = d.tick, compared + 1
    end
    if not args.json({compared = compared}) then
        print(string.format("%d digests compared, all equal", compared))
    end
end

-- ---- two sessions -----------------------------------------------------------

local function first_event(other)
    local a, b = session:events(), other:events()
    while true do
        local x, y = a(), b()
        if not x and not y then
            return nil
        end
        if not x or not y or x.tick ~= y.tick or x.type ~= y.type or
            x.payload ~= y.payload then
            return x, y
        end
    end
end

-- Equal at `low`, different at `high`: the first tick of a difference that
-- stays, by halves.
local function narrow(other, low, high)
    while high - low > 1 do
        local middle = low + (high - low) // 2
        if same(session:at(middle):digest(), other:at(middle):digest()) then
            low = middle
        else
            high = middle
        end
    end
    return high
end

local function changed_registers(a, b)
    local list = {}
    for _, name in ipairs {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp",
                           "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
                           "r14", "r15", "rip", "rflags", "cr2", "cr3"} do
        if a.regs[name] ~= b.regs[name] then
            list[#list + 1] = {name = name, this = hex(a.regs[name]),
                               other = hex(b.regs[name])}
        end
    end
    return list
end

local function against(other)
    local x, y = first_event(other)
    local last = math.min(session.length, other.length)
    local report = {this_event = x, other_event = y}
    if same(session:at(last):digest(), other:at(last):digest()) then
        report.equal_up_to = last
    else
        report.tick = same(session:at(0):digest(), other:at(0):digest()) and
                          narrow(other, 0, last) or 0
        local a, b = session:at(report.tick), other:at(report.tick)
        report.differs = what(a:digest(), b:digest())
        report.registers = changed_registers(a, b)
    end
    if args.json(report) then
        exit(report.tick and 1 or 0)
    end
    local function say(name, e)
        print(string.format("  %-6s %s", name, e and string.format(
            "tick %d, event %d: %s", e.tick, e.index, e.text) or "no more"))
    end
    if x or y then
        print("the first event that differs")
        say("this", x)
        say("other", y)
    else
        print("the events are the same")
    end
    if not report.tick then
        print(string.format("the machines are the same up to tick %d", last))
        return
    end
    print(string.format("the machines differ from tick %d on: %s",
                        report.tick, report.differs))
    for _, r in ipairs(report.registers) do
        print(string.format("  %-7s %-20s %s", r.name, r.this, r.other))
    end
    local insn = session:at(report.tick):disas()[1]
    print(string.format("  next in this: %s  %s", hex(insn.address), insn.text))
    exit(1)
end

if o[1] then
    against(open(o[1]))
else
    against_itself()
end
