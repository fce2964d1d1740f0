-- Did a change make it slower, and why. Three questions, one script:
--
--  two sessions of the guest, before and after a change of the guest:
--   relive query BEFORE scripts/perf-regress.lua AFTER [--begin TEXT --end TEXT]
--  two builds or settings of relive, by the JSON files of --stats, several runs
--  of each:
--   relive query S --allow-files scripts/perf-regress.lua --before a1.json,a2.json,... --after b1.json,b2.json,...
--  the history of a benchmark:
--   relive query S --allow-files scripts/perf-regress.lua --history bench/history.json
--
-- Exit status 1 when something got slower than --threshold, 0 when not: for CI.
-- Guest-side figures (ticks, instructions, profiles) are exact: a difference is
-- a difference. Host-side ones vary: they count when Welch's t-test says so and
-- the bootstrapped interval of the difference does not hold 0.

local args = require("args")
local statistics = require("statistics")
local usage = [[
usage: relive query BEFORE perf-regress.lua AFTER [OPTIONS]
       relive query S --allow-files perf-regress.lua --before F,F... --after F,F...
       relive query S --allow-files perf-regress.lua --history FILE

Two sessions: ticks and instructions of the part between two texts, and the
functions and processes that the difference comes from, self and inclusive;
with --runs also host time, tiers and exits.

  --begin TEXT      the part begins where COM1 has sent it (the start)
  --end TEXT        and ends where it has sent this, behind that (the end)
  --samples N       of each profile (2000)
  --runs N          also run both parts N times and compare host time (0)
  --top N           rows of each list (10)
Two sets of files of --stats:
  --before FILES    comma-separated
  --after FILES
A history, an array of {commit, date, host, metrics: {name: {mean, ...}}}:
  --history FILE
  --metric TEXT     only metrics with TEXT in their name
  --host TEXT       only entries of this host (the last one's)
All:
  --threshold PCT   smaller changes are not reported as regressions (2)
  --alpha P         significance of host-side figures (0.01)
  --help            this text]]

local o = args.parse(usage, {["begin"] = "", ["end"] = "", samples = 2000,
                             runs = 0, top = 10, before = "", after = "",
                             history = "", metric = "", host = "",
                             threshold = 2, alpha = 0.01}, {...})
local out = {regressions = {}}

local function say(...)
    if not wants_json() then
        print(string.format(...))
    end
end

local function rows_of(rows)
    if not wants_json() then
        args.table(rows)
    end
end

local function percent(a, b)
    if a == 0 then
        return b == 0 and 0 or math.huge
    end
    return 100 * (b - a) / a
end

local function finish()
    args.json(out)
    if not wants_json() then
        print(#out.regressions == 0 and "\nno regression" or
                  string.format("\n%d regression%s: %s", #out.regressions,
                                #out.regressions == 1 and "" or "s",
                                table.concat(out.regressions, ", ")))
    end
    exit(#out.regressions > 0 and 1 or 0)
end

-- Higher is better for rates; for all else less is.
local function is_rate(name)
    return name:find("mips") or name:find("_rate") or name:find("fps") or
               name:find("per_s") or name:find("speed") or name:find("mb_s") or
               name:find("share")
end

-- A host-side figure of two sets of runs; true when it got worse for sure.
local function compare(name, a, b)
    local t, df, p = statistics.welch(a, b)
    local low, high = statistics.bootstrap(a, b)
    local ma, mb = statistics.mean(a), statistics.mean(b)
    local change = percent(ma, mb)
    local certain = p <= o.alpha and (low > 0 or high < 0)
    local worse = is_rate(name) and -change or change
    return {name = name, before = ma, after = mb, change = change, t = t,
            df = df, p = p, low = low, high = high, certain = certain,
            worse = certain and worse > o.threshold}
end

-- ---- a history --------------------------------------------------------------

local function read_json(path)
    if not io then
        args.fail("%s: scripts may not name files (--allow-files)", path)
    end
    local file, why = io.open(path)
    if not file then
        args.fail("%s", why)
    end
    local text = file:read("a")
    file:close()
    return json.decode(text)
end

local function series_of(history, host)
    local names, series = {}, {}
    for _, entry in ipairs(history) do
        if entry.host == host then
            for name, m in pairs(entry.metrics) do
                if name:find(o.metric, 1, true) then
                    if not series[name] then
                        series[name] = {}
                        names[#names + 1] = name
                    end
                    table.insert(series[name], {mean = m.mean,
                                                commit = entry.commit})
                end
            end
        end
    end
    table.sort(names)
    return names, series
end

local function history()
    local all = read_json(o.history)
    if type(all) ~= "table" or #all == 0 and next(all) then
        args.fail("%s: expected an array of entries", o.history)
    end
    local host = o.host ~= "" and o.host or all[1] and all[#all].host or "?"
    local names, series = series_of(all, host)
    out.changes = {}
    for _, name in ipairs(names) do
        local values = {}
        for i, point in ipairs(series[name]) do
            values[i] = point.mean
        end
        local points = statistics.change_points(values, {alpha = o.alpha})
        for i, at in ipairs(points) do
            local last = (points[i + 1] or #values + 1) - 1
            local first = points[i - 1] or 1
            local a = statistics.mean(table.move(values, first, at - 1, 1, {}))
            local b = statistics.mean(table.move(values, at, last, 1, {}))
            local change = percent(a, b)
            local worse = is_rate(name) and -change or change
            out.changes[#out.changes + 1] = {metric = name, before = a,
                                             after = b, change = change,
                                             commit = series[name][at].commit}
            say("%s: %.6g -> %.6g (%+.1f%%) at %s", name, a, b, change,
                series[name][at].commit)
            -- A change that a later one undid is history.
            if i == #points and worse > o.threshold then
                table.insert(out.regressions, name)
            end
        end
    end
    say("%d metrics of host %s, %d changes of level", #names, host,
        #out.changes)
end

-- ---- two sets of telemetry ----------------------------------------------------

local function flat(value, prefix, into)
    for name, v in pairs(value) do
        local full = prefix .. tostring(name)
        if type(v) == "table" and name ~= "series" then
            flat(v, full .. ".", into)
        elseif type(v) == "number" then
            into[full] = into[full] or {}
            table.insert(into[full], v)
        end
    end
    return into
end

local function read_all(list)
    local into, n = {}, 0
    for path in list:gmatch("[^,]+") do
        flat(read_json(path), "", into)
        n = n + 1
    end
    return into, n
end

-- Figures that speed is judged by; the others explain.
local function is_verdict(name)
    return name:find("host_s$") or name:find("mips$")
end

local function telemetry()
    local before, n = read_all(o.before)
    local after, m = read_all(o.after)
    if n < 2 or m < 2 then
        args.fail("expected at least two files before and two after")
    end
    local list = {}
    for name, a in pairs(before) do
        local b = after[name]
        if b and #a == n and #b == m then
            list[#list + 1] = compare(name, a, b)
        end
    end
    table.sort(list, function(a, b)
        local x, y = math.abs(a.change), math.abs(b.change)
        return x > y or x == y and a.name < b.name
    end)
    out.figures = list
    local rows = {{"figure", "before", "after", "change", "p"}}
    for _, f in ipairs(list) do
        if f.certain then
            rows[#rows + 1] = {f.name, string.format("%.6g", f.before),
                               string.format("%.6g", f.after),
                               string.format("%+.2f%%", f.change),
                               string.format("%.2g", f.p)}
        end
        if f.worse and is_verdict(f.name) then
            table.insert(out.regressions, f.name)
        end
    end
    say("%d runs before, %d after; figures that changed for sure:", n, m)
    rows_of(rows)
end

-- ---- two sessions -------------------------------------------------------------

local function part_of(of)
    local from, to = of.start, of.length
    local text = of:text {}
    local sent, at_begin, at_end = 0, nil, nil
    if o["begin"] ~= "" then
        _, at_begin = text:find(o["begin"], 1, true)
        if not at_begin then
            args.fail("%s: COM1 never sent '%s'", of.path, o["begin"])
        end
    end
    if o["end"] ~= "" then
        _, at_end = text:find(o["end"], (at_begin or 0) + 1, true)
        if not at_end then
            args.fail("%s: COM1 never sent '%s' behind that", of.path, o["end"])
        end
    end
    for piece in of:output {} do
        sent = sent + #piece.text
        if at_begin and sent >= at_begin then
            from, at_begin = piece.tick, nil
        end
        if at_end and sent >= at_end then
            to = piece.tick
            break
        end
    end
    return from, to
end

-- Self and inclusive ticks by function, ticks by process.
local function profile(of, from, to)
    local p = {self = {}, inclusive = {}, process = {}}
    for _, s in ipairs(stats.profile {session = of, from = from, to = to,
                                      samples = o.samples, stacks = true,
                                      processes = true}) do
        local view, seen = of:at(s.tick), {}
        local process = s.process or "(unknown)"
        p.process[process] = (p.process[process] or 0) + s.ticks
        for i, pc in ipairs(s.halted and {} or s.stack) do
            -- Behind a CALL: the call is one byte before.
            local name = args.name(i == 1 and pc or pc - 1, s.cr3, view)
            if i == 1 then
                p.self[name] = (p.self[name] or 0) + s.ticks
            end
            if not seen[name] then
                seen[name] = true
                p.inclusive[name] = (p.inclusive[name] or 0) + s.ticks
            end
        end
        if s.halted then
            p.self["(halted)"] = (p.self["(halted)"] or 0) + s.ticks
        end
    end
    return p
end

local function differences(a, b)
    local list, names = {}, {}
    for name in pairs(a) do names[name] = true end
    for name in pairs(b) do names[name] = true end
    for name in pairs(names) do
        local x, y = a[name] or 0, b[name] or 0
        list[#list + 1] = {name = name, before = x, after = y,
                           difference = y - x}
    end
    table.sort(list, function(x, y)
        local dx, dy = math.abs(x.difference), math.abs(y.difference)
        return dx > dy or dx == dy and x.name < y.name
    end)
    return list
end

local function show_differences(title, list, whole)
    say("\n%s", title)
    local rows = {{"before", "after", "difference", "of it", "name"}}
    for i = 1, math.min(o.top, #list) do
        local d = list[i]
        if d.difference ~= 0 then
            rows[#rows + 1] = {d.before, d.after,
                               string.format("%+d", d.difference),
                               whole ~= 0 and
                                   string.format("%.0f%%", 100 * d.difference /
                                                     whole) or "", d.name}
        end
    end
    rows_of(rows)
end

local function host_side(a, b)
    local before, after, names = {}, {}, {}
    for _ = 1, o.runs do
        for _, side in ipairs {{a, before}, {b, after}} do
            local r = stats.run {session = side[1].session,
                                 from = side[1].from, to = side[1].to}
            r.blocks, r.series, r.from, r.to = nil, nil, nil, nil
            flat(r, "", side[2])
        end
    end
    for name in pairs(before) do
        names[#names + 1] = name
    end
    table.sort(names)
    local rows = {{"figure", "before", "after", "change", "p"}}
    out.figures = {}
    for _, name in ipairs(names) do
        local f = compare(name, before[name], after[name])
        out.figures[#out.figures + 1] = f
        if f.certain then
            rows[#rows + 1] = {name, string.format("%.6g", f.before),
                               string.format("%.6g", f.after),
                               string.format("%+.2f%%", f.change),
                               string.format("%.2g", f.p)}
        end
        if f.worse and is_verdict(name) then
            table.insert(out.regressions, name)
        end
    end
    say("\nhost side, %d runs each; figures that changed for sure", o.runs)
    rows_of(rows)
end

local function sessions(other)
    local a, b = {session = session}, {session = other}
    for _, side in ipairs {a, b} do
        side.from, side.to = part_of(side.session)
        side.ticks = side.to - side.from
        side.insns = side.session:at(side.to).insns -
                         side.session:at(side.from).insns
        side.profile = profile(side.session, side.from, side.to)
    end
    for _, what in ipairs {"ticks", "insns"} do
        local change = percent(a[what], b[what])
        out[what] = {before = a[what], after = b[what], change = change}
        say("%-6s %14d -> %14d  %+.2f%%", what, a[what], b[what], change)
        if change > o.threshold then
            table.insert(out.regressions, what)
        end
    end
    local whole = b.ticks - a.ticks
    for _, what in ipairs {"self", "inclusive", "process"} do
        out[what] = differences(a.profile[what], b.profile[what])
    end
    show_differences("functions, their own ticks", out.self, whole)
    show_differences("functions with what they call", out.inclusive, whole)
    show_differences("processes", out.process, whole)
    if o.runs > 1 then
        host_side(a, b)
    end
end

if o.history ~= "" then
    history()
elseif o.before ~= "" or o.after ~= "" then
    telemetry()
elseif o[1] then
    sessions(open(o[1]))
else
    args.fail("perf-regress: expected a second session, --before and " ..
                  "--after, or --history (see --help)")
end
finish()
