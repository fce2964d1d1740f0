-- Where a boot spends its time: the lines that the guest sent, how long each
-- took until the next, which part of it the CPU was idle, and the functions and
-- processes in which the long ones spent it.
--
--   relive query SESSION scripts/boot-timeline.lua [--longest N] [--samples N]

local args = require("args")
local usage = [[
usage: relive query SESSION boot-timeline.lua [OPTIONS]

Lines of output with their guest time, and what the guest did in the longest
pauses between them: functions and processes, by samples at exact ticks.

  --channel NAME     serial (default), debugcon or post
  --from T, --to T   the part to look at (all)
  --longest N        pauses to explain (5)
  --samples N        looks into each of them (100)
  --all              print every line, not only those before long pauses
  --help             this text]]

local o = args.parse(usage, {channel = "serial", from = "", to = "",
                             longest = 5, samples = 100, all = false}, {...})
local from = args.tick(session, o.from, session.start)
local to = args.tick(session, o.to, session.length)

local function seconds(ticks)
    return string.format("%.6f", ticks / (session.mhz * 1e6))
end

local function printable(text)
    return (text:gsub("\27%[[%d;?]*%a", ""):gsub("[^\32-\126]", "?"))
end

-- Parts between lines: {from, to, text of the line that began it}.
local parts = {{from = from, text = "(start)"}}
for line in session:lines {channel = o.channel, from = from, to = to} do
    if line.text ~= "" then
        parts[#parts].to = line.tick
        parts[#parts + 1] = {from = line.tick, text = printable(line.text)}
    end
end
parts[#parts].to = to
for _, p in ipairs(parts) do
    p.ticks = p.to - p.from
end

local by_length = table.move(parts, 1, #parts, 1, {})
table.sort(by_length, function(a, b)
    return a.ticks > b.ticks or a.ticks == b.ticks and a.from < b.from
end)

local function explain(p)
    local functions, processes, idle = {}, {}, 0
    for _, s in ipairs(stats.profile {from = p.from, to = p.to,
                                      samples = o.samples, processes = true}) do
        if s.halted then
            idle = idle + s.ticks
        else
            local name = args.name(s.pc, s.cr3, session:at(s.tick))
            functions[name] = (functions[name] or 0) + s.ticks
        end
        local process = s.process or "(no system yet)"
        processes[process] = (processes[process] or 0) + s.ticks
    end
    p.idle, p.functions, p.processes = idle, args.by_ticks(functions),
                                       args.by_ticks(processes)
end

local explained = {}
for i = 1, math.min(o.longest, #by_length) do
    if by_length[i].ticks > 0 then
        explain(by_length[i])
        explained[#explained + 1] = by_length[i]
    end
end

if args.json({from = from, to = to, parts = parts}) then
    return
end

local function share(list, whole)
    local texts = {}
    for i = 1, math.min(4, #list) do
        texts[i] = string.format("%s %.0f%%", list[i].name,
                                 100 * list[i].ticks / whole)
    end
    return table.concat(texts, ", ")
end

if o.all then
    local rows = {{"at s", "took s", "line"}}
    for i, p in ipairs(parts) do
        rows[i + 1] = {seconds(p.from), seconds(p.ticks), p.text}
    end
    args.table(rows)
    print("")
end
print(string.format("%d lines in %s s of guest time; the longest pauses:",
                    #parts - 1, seconds(to - from)))
for _, p in ipairs(explained) do
    print(string.format("\n%s s at %s s (tick %d), behind: %s",
                        seconds(p.ticks), seconds(p.from), p.from, p.text))
    print(string.format("  idle       %.0f%%", 100 * p.idle / p.ticks))
    print("  functions  " .. share(p.functions, p.ticks))
    print("  processes  " .. share(p.processes, p.ticks))
end
