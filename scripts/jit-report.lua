-- What the emulator's compiler did in a part of a session: tiers, compile time,
-- exits, hot blocks with the guest's names; and, beside a second run, what is
-- different.
--
--   relive query SESSION scripts/jit-report.lua [--from T] [--to T] [--top N]
--   relive query SESSION scripts/jit-report.lua --against OTHER
--
-- Figures of host time are this host's; all others are the same on any.

local args = require("args")
local usage = [[
usage: relive query SESSION jit-report.lua [OPTIONS]

What the compiler did while a part of the session ran: tier residency,
compile time, why compiled code was left, and where the guest spent its
ticks, with the guest's own names.

  --from TICK, --to TICK  the part (all of it)
  --samples N             of the profile of hot places (1000)
  --top N                 rows of each list (15)
  --against SESSION       run the same part of another session and compare
  --help                  this text]]

local o = args.parse(usage, {from = "", to = "", samples = 1000, top = 15,
                             against = ""}, {...})

-- Totals that are numbers, by dotted name.
local function flat(value, prefix, into)
    for name, v in pairs(value) do
        local full = prefix .. tostring(name)
        if type(v) == "table" and name ~= "series" and name ~= "blocks" then
            flat(v, full .. ".", into)
        elseif type(v) == "number" then
            into[full] = v
        end
    end
    return into
end

local function percent(part, whole)
    return string.format("%.2f%%", whole > 0 and 100 * part / whole or 0)
end

-- Ticks by function, and compiled blocks by function.
local function hot(of, from, to)
    local ticks, total = {}, 0
    for _, s in ipairs(stats.profile {session = of, from = from, to = to,
                                      samples = o.samples}) do
        local name = "(halted)"
        if not s.halted then
            name = args.name(s.pc, s.cr3, of:at(s.tick))
        end
        ticks[name] = (ticks[name] or 0) + s.ticks
        total = total + s.ticks
    end
    return args.by_ticks(ticks), total
end

local function report(of)
    local from = args.tick(of, o.from, of.start)
    local to = args.tick(of, o.to, of.length)
    local r = stats.run {session = of, from = from, to = to}
    r.hot, r.profiled = hot(of, from, to)
    table.sort(r.blocks, function(a, b)
        return a.host_bytes > b.host_bytes or a.host_bytes == b.host_bytes and
                   a.address < b.address
    end)
    table.sort(r.traces, function(a, b)
        local m, n = a.guard_fails + a.deopts, b.guard_fails + b.deopts
        return m > n or m == n and a.address < b.address
    end)
    return r
end

local function print_run(of, r)
    local j = r.jit
    print(string.format("%s, ticks %d to %d: %d instructions, %.2f host s, " ..
                            "%.1f MIPS", of.path, r.from, r.to, r.insns,
                        r.host_s, r.mips))
    print("\ntier residency")
    for tier = 0, 2 do
        print(string.format("  tier %d  %14d  %s", tier, r.tier_insns[tier],
                            percent(r.tier_insns[tier], r.insns)))
    end
    print(string.format("\ncompiler: %d blocks, %d host bytes of %d, %.2f ms, " ..
                            "%d flushes, %d links", j.blocks_compiled,
                        j.code_bytes, j.capacity_bytes, j.tier1_compile_ms,
                        j.flushes, j.links))
    print(string.format("lookups: %d found, %d not; %d handler calls, %d of " ..
                            "them for device memory", j.lookup_hit,
                        j.lookup_miss, j.handler_calls, j.exit_mmio_calls))
    if j.tier2_blocks_compiled > 0 then
        print(string.format("traces: %d compiled, %d dropped, %.2f ms, %d " ..
                                "deopts; left early by branch %d, target " ..
                                "%d, head %d, key %d, span %d",
                            j.tier2_blocks_compiled, j.tier2_dropped,
                            j.tier2_compile_ms, j.deopts, j.guard_fail_branch,
                            j.guard_fail_target, j.guard_fail_head,
                            j.guard_fail_key, j.guard_fail_span))
        local rows = {{"ms", "pass"}}
        for name, ms in pairs(j.passes_ms) do
            rows[#rows + 1] = {string.format("%.3f", ms), name}
        end
        table.sort(rows, function(a, b)
            return a[2] == "pass" or b[2] ~= "pass" and a[2] < b[2]
        end)
        args.table(rows)
        rows = {}
        for name, paths in pairs(j.cuts) do
            rows[#rows + 1] = {paths, name}
        end
        table.sort(rows, function(a, b)
            return a[1] > b[1] or a[1] == b[1] and a[2] < b[2]
        end)
        table.insert(rows, 1, {"paths", "ended by"})
        args.table(rows)
    end
    print("left compiled code because of")
    for _, name in ipairs {"unlinked", "limit", "lookup", "handler"} do
        print(string.format("  %-10s %12d", name, j.exits[name] or 0))
    end
    print(string.format("\nhot functions (%d samples)", o.samples))
    local rows = {}
    for i = 1, math.min(o.top, #r.hot) do
        rows[i] = {percent(r.hot[i].ticks, r.profiled), r.hot[i].name}
    end
    args.table(rows)
    if #r.traces > 0 then
        print("\ntraces that were left most")
        rows = {{"address", "guards", "deopts", "ticks", "function"}}
        for i = 1, math.min(o.top, #r.traces) do
            local t = r.traces[i]
            rows[i + 1] = {hex(t.address), t.guard_fails, t.deopts, t.ticks,
                           symbols.format(t.address, of:at(r.to))}
        end
        args.table(rows)
    end
    print("\nlargest compiled blocks")
    rows = {{"address", "host bytes", "function"}}
    for i = 1, math.min(o.top, #r.blocks) do
        local b = r.blocks[i]
        rows[i + 1] = {hex(b.address), b.host_bytes,
                       symbols.format(b.address, of:at(b.tick))}
    end
    args.table(rows)
end

local a = report(session)
if o.against == "" then
    a.series = nil
    if not args.json(a) then
        print_run(session, a)
    end
    return
end

local b = report(open(o.against))
local fa, fb = flat(a, "", {}), flat(b, "", {})
local names, rows = {}, {{"figure", "this", "other", "change"}}
for name in pairs(fa) do
    names[#names + 1] = name
end
table.sort(names)
local out = {}
for _, name in ipairs(names) do
    local x, y = fa[name], fb[name] or 0
    if x ~= y and not name:find("^hot") then
        rows[#rows + 1] = {name, x, y, x ~= 0 and
                               string.format("%+.2f%%", 100 * (y - x) / x) or ""}
        out[name] = {x, y}
    end
end
if not args.json(out) then
    args.table(rows)
end
