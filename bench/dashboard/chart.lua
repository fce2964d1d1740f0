-- One chart as inline SVG: lines over runs, a circle for each point with the
-- figures as its tooltip and its commit as its link, whiskers of one standard
-- deviation, and a ring around a regression.
local chart = {}

local WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 190, 60, 12, 10, 24
local palette = {
    "#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b",
    "#17becf", "#e377c2", "#7f7f7f", "#bcbd22",
}

function chart.escape(text)
    return (tostring(text):gsub("[&<>\"']", {
        ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;",
        ["'"] = "&#39;",
    }))
end

function chart.number(x)
    if math.abs(x) >= 100 then return string.format("%.0f", x) end
    return (string.format("%.3g", x))
end

-- The least of 1, 2, 5 times a power of ten that is not below x.
local function round_up(x)
    local power = 10 ^ math.floor(math.log(x, 10))
    for _, step in ipairs({ 1, 2, 5, 10 }) do
        if step * power >= x then return step * power end
    end
end

local function grid(out, top)
    for i = 0, 4 do
        local y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * i / 4
        out[#out + 1] = string.format(
            '<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>' ..
            '<text x="%d" y="%.1f" text-anchor="end">%s</text>', LEFT,
            WIDTH - RIGHT, y, y, LEFT - 6, y + 4, chart.number(top * i / 4))
    end
end

-- A line of one configuration, broken where the host changes.
local function draw_line(out, points, colour, at)
    local path, host = {}, nil
    for _, p in ipairs(points) do
        path[#path + 1] = string.format("%s%.1f %.1f",
            p.host == host and "L" or "M", at.x(p), at.y(p.mean))
        host = p.host
    end
    out[#out + 1] = string.format('<path d="%s" stroke="%s"/>',
        table.concat(path), colour)
end

local function draw_point(out, p, name, colour, at, runs, commits)
    local run = runs[p.run]
    local x, y = at.x(p), at.y(p.mean)
    local title = string.format("%s: %s %s ± %s, %s, %s, %s", name,
        chart.number(p.mean), p.unit, chart.number(p.stdev),
        (run.commit or "?"):sub(1, 10), run.date or "?", p.host)
    if p.is_regression then
        title = title .. string.format(
            "; regression: %.1f %% worse than %s, the median before", 100 *
            p.change, chart.number(p.baseline))
        out[#out + 1] = string.format(
            '<circle class="regression" cx="%.1f" cy="%.1f" r="7"/>', x, y)
    end
    out[#out + 1] = string.format(
        '<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="%s"/>', x, x,
        at.y(math.max(0, p.mean - p.stdev)), at.y(p.mean + p.stdev), colour)
    local circle = string.format(
        '<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s</title>' ..
        '</circle>', x, y, colour, chart.escape(title))
    if commits and run.commit then
        circle = string.format('<a href="%s">%s</a>',
            chart.escape(commits .. run.commit), circle)
    end
    out[#out + 1] = circle
end

-- lines: a list of { name = configuration, points = ... } of one unit; first
-- and last: the numbers of the runs at the left and right edges.
function chart.draw(title, lines, runs, first, last, commits)
    local out, most = {}, 0
    for _, line in ipairs(lines) do
        for _, p in ipairs(line.points) do
            most = math.max(most, p.mean + p.stdev)
        end
    end
    local top = most > 0 and round_up(most) or 1
    local at = {
        x = function(p)
            local part = last > first and (p.run - first) / (last - first) or 0.5
            return LEFT + 8 + (WIDTH - LEFT - RIGHT - 16) * part
        end,
        y = function(value)
            return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top
        end,
    }
    local some = lines[1].points[1]
    out[#out + 1] = string.format('<figure><figcaption>%s <small>%s, %s is ' ..
        'better</small></figcaption><svg viewBox="0 0 %d %d" role="img">',
        chart.escape(title), chart.escape(some.unit), chart.escape(some.better),
        WIDTH, HEIGHT)
    grid(out, top)
    out[#out + 1] = string.format('<text x="%d" y="%d">%s</text>' ..
        '<text x="%d" y="%d" text-anchor="end">%s</text>', LEFT, HEIGHT - 6,
        chart.escape((runs[first].date or "?"):sub(1, 10)), WIDTH - RIGHT,
        HEIGHT - 6, chart.escape((runs[last].date or "?"):sub(1, 10)))
    local legend = {}
    for i, line in ipairs(lines) do
        local colour = palette[(i - 1) % #palette + 1]
        draw_line(out, line.points, colour, at)
        for _, p in ipairs(line.points) do
            draw_point(out, p, line.name, colour, at, runs, commits)
        end
        legend[i] = string.format('<span style="color:%s">%s %s</span>',
            colour, chart.escape(line.name),
            chart.number(line.points[#line.points].mean))
    end
    out[#out + 1] = "</svg><p>" .. table.concat(legend, " · ") .. "</p></figure>"
    return table.concat(out, "\n")
end

return chart
