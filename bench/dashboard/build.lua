-- The dashboard: one HTML page without scripts, fonts or anything else from the
-- network, which works from file://.
--
--   lua5.4 bench/dashboard/build.lua [HISTORY [OUTPUT]]
--       [--commits URL-PREFIX] [--last N]
--
-- HISTORY is what bench/history.lua writes (default bench/history.json), OUTPUT
-- the page (default build/bench/dashboard.html), URL-PREFIX what a commit's hash
-- is appended to for a link, N how many runs are shown (default 60).
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = here .. "/?.lua;" .. here .. "/../?.lua;" .. package.path
local json = require("json")
local trend = require("trend")
local chart = require("chart")
local escape = chart.escape

local function die(...)
    io.stderr:write("dashboard: ", string.format(...), "\n")
    os.exit(2)
end

local function read_options()
    local options = { last = 60 }
    local words, i = {}, 1
    while i <= #arg do
        local name = arg[i]:match("^%-%-(%a+)$")
        if name == "commits" or name == "last" then
            if not arg[i + 1] then die("--%s expects a value", name) end
            options[name] = arg[i + 1]
            i = i + 1
        elseif arg[i]:sub(1, 1) == "-" then
            die("unknown option '%s': expected --commits or --last", arg[i])
        else
            words[#words + 1] = arg[i]
        end
        i = i + 1
    end
    options.last = math.tointeger(tonumber(options.last))
    if not options.last or options.last < 1 then
        die("--last: expected a number from 1")
    end
    options.history = words[1] or here .. "/../history.json"
    options.output = words[2] or here .. "/../../build/bench/dashboard.html"
    return options
end

local function read_runs(options)
    local file, message = io.open(options.history)
    if not file then die("%s", message) end
    local list
    list, message = json.read(file:read("a"))
    file:close()
    if type(list) ~= "table" then
        die("%s: expected a JSON array of runs, %s", options.history,
            message or "found a value")
    end
    local runs = {}
    for i, run in ipairs(list) do
        if type(run) ~= "table" or type(run.metrics) ~= "table" then
            die("%s: run %d has no metrics", options.history, i)
        end
        run.mode = run.mode or "full"
        runs[i] = run
    end
    return table.move(runs, math.max(1, #runs - options.last + 1), #runs, 1, {})
end

-- suite.workload.configuration.figure
local function parts_of(name)
    return name:match("^([^.]+)%.([^.]+)%.([^.]+)%.([^.]+)$")
end

local function sorted_keys(map)
    local keys = {}
    for key in pairs(map) do keys[#keys + 1] = key end
    table.sort(keys)
    return keys
end

-- Metrics that differ in the configuration alone share a chart.
local function charts_of(series)
    local charts = {}
    for _, name in ipairs(sorted_keys(series)) do
        local suite, work, config, figure = parts_of(name)
        if suite then
            local key = table.concat({ suite, work, figure }, ".")
            charts[key] = charts[key] or
                { suite = suite, work = work, figure = figure, lines = {} }
            table.insert(charts[key].lines,
                { name = config, points = series[name] })
        end
    end
    return charts
end

local function write_regressions(out, series, newest)
    local rows = {}
    for _, name in ipairs(sorted_keys(series)) do
        local p = series[name][#series[name]]
        if p.run == newest and p.is_regression then
            rows[#rows + 1] = string.format("<tr><td>%s</td><td>%s %s</td>" ..
                "<td>%s</td><td>%.1f %%</td></tr>", escape(name),
                chart.number(p.mean), escape(p.unit), chart.number(p.baseline),
                100 * p.change)
        end
    end
    if #rows == 0 then
        out[#out + 1] = "<p>No regression in its newest run.</p>"
        return
    end
    out[#out + 1] = '<table class="regressions"><caption>Regressions in its ' ..
        "newest run</caption><tr><th>metric</th><th>now</th><th>before</th>" ..
        "<th>worse by</th></tr>" .. table.concat(rows, "\n") .. "</table>"
end

-- The runs of one mode: what got worse, an overview, then every workload.
local function write_mode(out, runs, mode, commits)
    local series = trend.series(runs, mode)
    local first, newest
    for number, run in ipairs(runs) do
        if run.mode == mode then
            first = first or number
            newest = number
        end
    end
    local charts = charts_of(series)
    local run = runs[newest]
    local hash = escape((run.commit or "?"):sub(1, 10))
    if commits and run.commit then
        hash = string.format('<a href="%s">%s</a>',
            escape(commits .. run.commit), hash)
    end
    out[#out + 1] = string.format("<h2>%s runs</h2>\n<p>Newest: %s, %s, %s</p>",
        escape(mode), hash, escape(run.date or "?"), escape(run.host or "?"))
    write_regressions(out, series, newest)
    local overview, details = {}, {}
    for _, key in ipairs(sorted_keys(charts)) do
        local c = charts[key]
        local svg = chart.draw(key, c.lines, runs, first, newest, commits)
        if c.work == "geomean" or c.suite == "boot" or c.suite == "memory" or
            c.suite == "logs" then
            overview[#overview + 1] = svg
        else
            details[c.suite] = details[c.suite] or {}
            table.insert(details[c.suite], svg)
        end
    end
    out[#out + 1] = "<div>" .. table.concat(overview, "\n") .. "</div>"
    for _, suite in ipairs(sorted_keys(details)) do
        out[#out + 1] = string.format("<details><summary>%s: %d charts" ..
            "</summary><div>%s</div></details>", escape(suite),
            #details[suite], table.concat(details[suite], "\n"))
    end
end

local head = [[
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>relive: benchmarks</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.4 sans-serif; max-width: 1200px; margin: 1em auto;
       padding: 0 1em; }
div { display: flex; flex-wrap: wrap; gap: 1em; }
figure { margin: 0; width: 570px; max-width: 100%; }
figure p, small { font-size: 12px; }
svg { width: 100%; }
svg text { font-size: 11px; fill: currentColor; }
svg path { fill: none; stroke-width: 1.5; }
.grid { stroke: currentColor; opacity: .15; }
.regression { fill: none; stroke: #e00000; stroke-width: 2; }
td, th { padding: .1em .8em .1em 0; text-align: left; }
summary { cursor: pointer; font-weight: bold; margin: 1em 0; }
</style></head><body>
<h1>relive: benchmarks</h1>
]]

local options = read_options()
local runs = read_runs(options)
local out = { head }
out[#out + 1] = string.format("<p>A ring marks a regression: worse than the " ..
    "median of the %d runs before on the same host CPU by more than %.0f %% " ..
    "and twice the noise. Lines break where the host changes.</p>",
    trend.BEFORE, 100 * trend.LEAST)
local modes = {}
for _, run in ipairs(runs) do modes[run.mode] = true end
for _, mode in ipairs(sorted_keys(modes)) do
    write_mode(out, runs, mode, options.commits)
end
if #runs == 0 then out[#out + 1] = "<p>The history is empty.</p>" end
out[#out + 1] = "</body></html>\n"
local file, message = io.open(options.output, "w")
if not file then die("%s", message) end
file:write(table.concat(out, "\n"))
if not file:close() then die("%s: cannot be written", options.output) end
