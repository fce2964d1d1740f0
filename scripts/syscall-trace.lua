-- System calls like strace: process, name, arguments, result, and time.
--
--   relive query SESSION scripts/syscall-trace.lua [--name read] [--from T]

local args = require("args")
local usage = [[
usage: relive query SESSION syscall-trace.lua [OPTIONS]

System calls with process, name, arguments, result and time taken.

  --from TICK, --to TICK  the part to look at (all)
  --name TEXT             only calls by this name
  --process TEXT          only processes by this name
  --limit N               at most so many calls (1000)
  --no-results            do not look for what calls gave back (faster)
  --summary               calls, ticks and errors by name instead
  --help                  this text]]

local o = args.parse(usage, {from = "", to = "", name = "", process = "",
                             limit = 1000, ["no-results"] = false,
                             summary = false}, {...})
local from = args.tick(session, o.from, session.start)
local to = args.tick(session, o.to, session.length)

-- Which arguments of common calls are addresses of text.
local texts = {open = {1}, openat = {2}, execve = {1}, stat = {1},
               newfstatat = {2}, access = {1}, unlink = {1}, chdir = {1},
               readlink = {1}, mount = {1, 2}, mkdir = {1}}

local function show_arguments(call, name, view)
    local list, is_text = {}, {}
    for _, n in ipairs(texts[name] or {}) do
        is_text[n] = true
    end
    for n, value in ipairs(call.args) do
        local text = is_text[n] and view.mem:string(value, 64)
        list[n] = text and string.format("%q", text) or hex(value)
    end
    return table.concat(list, ", ")
end

local calls, count = {}, 0
for call in session:syscalls {from = from, to = to} do
    local view = session:at(call.tick, call.deliveries)
    local process = guest.current(view)
    local name = guest.syscall(call.number, view) or
                     string.format("call %d", call.number)
    if (o.name == "" or o.name == name) and
        (o.process == "" or process and process.name == o.process) then
        local c = {tick = call.tick, number = call.number, name = name,
                   rip = call.rip, process = process and process.name,
                   pid = process and process.pid,
                   arguments = show_arguments(call, name, view)}
        if not o["no-results"] then
            c.result, c.returned = session:syscall_result(call, to)
        end
        calls[#calls + 1] = c
        if #calls >= o.limit then
            break
        end
    end
end

if o.summary then
    local by, list = {}, {}
    for _, c in ipairs(calls) do
        local s = by[c.name]
        if not s then
            s = {name = c.name, calls = 0, ticks = 0, errors = 0}
            by[c.name] = s
            list[#list + 1] = s
        end
        s.calls = s.calls + 1
        s.ticks = s.ticks + (c.returned and c.returned - c.tick or 0)
        -- Linux: -4095..-1
        if c.result and c.result < 0 and c.result > -4096 then
            s.errors = s.errors + 1
        end
    end
    table.sort(list, function(a, b)
        return a.ticks > b.ticks or a.ticks == b.ticks and a.name < b.name
    end)
    if args.json(list) then
        return
    end
    local rows = {{"ticks", "calls", "errors", "name"}}
    for i, s in ipairs(list) do
        rows[i + 1] = {s.ticks, s.calls, s.errors, s.name}
    end
    args.table(rows)
    return
end
if args.json(calls) then
    return
end
for _, c in ipairs(calls) do
    local result = c.result
    print(string.format("%12d  %s[%s] %s(%s)%s", c.tick, c.process or "?",
                        c.pid or "?", c.name, c.arguments,
                        result and string.format(" = %s  <%.6f s>",
        result < 0 and result > -4096 and result or hex(result),
        (c.returned - c.tick) / (session.mhz * 1e6)) or
                            o["no-results"] and "" or " does not return"))
end
