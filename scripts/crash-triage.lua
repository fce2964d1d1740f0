-- How the guest died and what it was doing: kind, place, registers, the code
-- around it, the stack with names, the process, the last lines and events, and
-- a bucket to file it under.
--
--   relive query SESSION scripts/crash-triage.lua [--lines N]
--
-- Exit status 1 when the guest failed, 0 when nothing says so.

local args = require("args")
local usage = [[
usage: relive query SESSION crash-triage.lua [OPTIONS]

How the guest failed, as one page: where, in which process, the return
addresses with names, the last output. Status 1 when it failed.

  --lines N    of the output to show (10)
  --frames N   of the stack (16)
  --help       this text]]

local o = args.parse(usage, {lines = 10, frames = 16}, {...})
local exceptions = {[0] = "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD",
                    "#NM", "#DF", "#9", "#TS", "#NP", "#SS", "#GP", "#PF"}

local crash = session:crash()
if not crash then
    if not args.json({kind = "none"}) then
        print("nothing says that the guest failed")
    end
    return
end

local view = crash.view
local report = {kind = crash.kind, text = crash.text, tick = view.tick,
                seconds = view.seconds, frames = {}, output = {}}
if crash.has_fault then
    report.exception = exceptions[crash.vector] or tostring(crash.vector)
end
local process = guest.current(view)
report.process = process and process.name
report.pid = process and process.pid
for i, f in ipairs(view:backtrace(o.frames, true)) do
    report.frames[i] = {pc = f.pc, text = symbols.format(f.pc, view)}
end
local all = {}
for line in session:lines {to = session.length} do
    all[#all + 1] = line
end
for i = math.max(1, #all - o.lines + 1), #all do
    report.output[#report.output + 1] = {tick = all[i].tick,
                                         text = all[i].text}
end

-- The kind and the three innermost names, without offsets: equal for what is
-- likely the same fault.
local names = {crash.kind, report.exception}
for i = 1, math.min(3, #report.frames) do
    names[#names + 1] = (report.frames[i].text:gsub("%+0x.*", ""))
end
report.bucket = table.concat(names, " ")

if args.json(report) then
    exit(1)
end
print(string.format("%s: %s", crash.kind, crash.text))
print(string.format("tick %d, %.6f s%s%s", view.tick, view.seconds,
                    report.exception and ", in front of the instruction " ..
                        "that raised " .. report.exception or "",
                    process and string.format(", process %s (%d)",
                                              process.name, process.pid) or ""))
print("bucket: " .. report.bucket)
print("\ncode")
for _, i in ipairs(view:disas(view.regs.pc, 5)) do
    print(string.format("  %s  %s", hex(i.address), i.text))
end
print("\nregisters\n" .. tostring(view.regs))
print("\nstack")
for i, f in ipairs(report.frames) do
    print(string.format("  %2d  %s", i - 1, f.text))
end
print("\nlast output")
for _, line in ipairs(report.output) do
    print(string.format("  %12d  %s", line.tick,
                        (line.text:gsub("[^\32-\126]", "?"))))
end
print(string.format("\nrelive debug %s --at %d --gdb", session.path,
                    view.tick))
exit(1)
