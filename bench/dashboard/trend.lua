-- What the history says about one metric: its points, run by run, and which of
-- them are regressions.
local trend = {}

trend.BEFORE = 5 -- a point is compared with the median of so many before it
trend.LEAST = 0.05 -- a smaller change is never a regression

local function median(list)
    local sorted = table.move(list, 1, #list, 1, {})
    table.sort(sorted)
    local n = #sorted
    if n % 2 == 1 then return sorted[(n + 1) // 2] end
    return (sorted[n // 2] + sorted[n // 2 + 1]) / 2
end

-- Sets `baseline`, `change` (how much worse, as a part) and `is_regression` of
-- the last point, given those before it on the same host.
local function judge(points)
    local last, means, covs = points[#points], {}, { points[#points].cov }
    for i = math.max(1, #points - trend.BEFORE), #points - 1 do
        means[#means + 1] = points[i].mean
        covs[#covs + 1] = points[i].cov
    end
    last.is_regression = false
    if #means == 0 then return end
    last.baseline = median(means)
    if last.baseline == 0 then return end
    last.change = last.mean / last.baseline - 1
    if last.better == "higher" then last.change = -last.change end
    -- Twice the noise of the runs themselves is not news either.
    local noise = math.max(covs[1], median(covs))
    last.is_regression = last.change > math.max(trend.LEAST, 2 * noise)
end

-- The metrics of the runs of one mode, by name: each a list of points with
-- run (its number in `runs`), host, mean, stdev, cov, unit, better and what
-- judge() found.
function trend.series(runs, mode)
    local series, of_host = {}, {}
    for number, run in ipairs(runs) do
        if run.mode == mode then
            for name, m in pairs(run.metrics or {}) do
                local point = {
                    run = number, host = run.host or "?", mean = m.mean,
                    stdev = m.stdev or 0, cov = m.cov or 0, unit = m.unit or "",
                    better = m.better or "higher",
                }
                local key = name .. "\0" .. point.host
                series[name] = series[name] or {}
                of_host[key] = of_host[key] or {}
                table.insert(series[name], point)
                table.insert(of_host[key], point)
                judge(of_host[key])
            end
        end
    end
    return series
end

return trend
