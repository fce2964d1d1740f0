-- Append one run's metrics to the history.
--
--   lua5.4 bench/history.lua HISTORY METRICS KEY=VALUE...
--
-- METRICS has a line for each: name, unit, higher or lower, samples, mean,
-- standard deviation, separated by tabs. HISTORY is a JSON array with one run a
-- line, oldest first:
--   {"commit":..,"date":..,"host":..,"mode":..,"metrics":{NAME:{"unit":..,
--    "better":"higher|lower","n":..,"mean":..,"stdev":..,"cov":..},...}}
-- The keys and values become members of the run.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = here .. "/?.lua;" .. package.path
local json = require("json")

local function die(...)
    io.stderr:write("bench: ", string.format(...), "\n")
    os.exit(2)
end

local function read_metrics(path)
    local metrics = {}
    local file, message = io.open(path)
    if not file then die("%s", message) end
    local number = 0
    for line in file:lines() do
        number = number + 1
        local name, unit, better, n, mean, stdev = line:match(
            "^([^\t]+)\t([^\t]+)\t(%a+)\t(%d+)\t([^\t]+)\t([^\t]+)$")
        mean, stdev = tonumber(mean), tonumber(stdev)
        if not (mean and stdev) then
            die("%s, line %d: expected six fields of a metric", path, number)
        end
        metrics[name] = {
            unit = unit, better = better, n = math.tointeger(n), mean = mean,
            stdev = stdev, cov = mean ~= 0 and stdev / math.abs(mean) or 0,
        }
    end
    file:close()
    return metrics
end

-- The lines of the runs that are there.
local function read_history(path)
    local runs = {}
    local file = io.open(path)
    if not file then return runs end
    local text = file:read("a")
    file:close()
    local list, message = json.read(text)
    if type(list) ~= "table" then
        die("%s: expected a JSON array, %s", path, message or "found a value")
    end
    for _, run in ipairs(list) do runs[#runs + 1] = json.write(run) end
    return runs
end

if #arg < 2 then die("expected HISTORY and METRICS") end
local run = { metrics = read_metrics(arg[2]) }
for i = 3, #arg do
    local key, value = arg[i]:match("^(%w+)=(.*)$")
    if not key then die("expected KEY=VALUE, found '%s'", arg[i]) end
    run[key] = value
end
local runs = read_history(arg[1])
runs[#runs + 1] = json.write(run)
local file, message = io.open(arg[1] .. ".new", "w")
if not file then die("%s", message) end
file:write("[\n", table.concat(runs, ",\n"), "\n]\n")
if not file:close() or not os.rename(arg[1] .. ".new", arg[1]) then
    die("%s: cannot be written", arg[1])
end
