-- Options of the scripts in this directory: require("args").
--
--   local o = args.parse(usage, {limit = 10, from = "", all = false}, {...})
--
-- The table names the options and what they are when not given: a number, a
-- string or a flag (false). What is no option is in o[1], o[2], ... --help
-- prints the usage and ends the script. A mistake is one sentence, status 2.

local args = {}

function args.fail(...)
    error(string.format(...), 0)
end

local function value_of(name, default, text)
    if type(default) ~= "number" then
        return text
    end
    local n = tonumber(text)
    if not n then
        args.fail("--%s: expected a number, found '%s'", name, text)
    end
    return n
end

function args.parse(usage, known, given)
    local o, i = {}, 1
    for name, default in pairs(known) do
        o[name] = default
    end
    while i <= #given do
        local word = given[i]
        local name, value = word:match("^%-%-([%w-]+)=?(.*)$")
        if word == "--help" or word == "-h" then
            print(usage)
            exit(0)
        elseif not name then
            o[#o + 1] = word
        elseif known[name] == nil then
            args.fail("unknown option '%s' (see --help)", word)
        elseif known[name] == false then
            o[name] = true
        else
            if not word:find("=", 1, true) then
                i = i + 1
                value = given[i]
            end
            if not value then
                args.fail("--%s: expected a value (see --help)", name)
            end
            o[name] = value_of(name, known[name], value)
        end
        i = i + 1
    end
    return o
end

-- A tick from the text of an option; otherwise when it is "".
function args.tick(session, text, otherwise)
    if text == "" then
        return otherwise
    end
    return session:tick(math.tointeger(tonumber(text)) or text)
end

-- An address: a number, or a symbol's name, at a view or tick.
function args.address(text, place)
    local n = math.tointeger(tonumber(text))
    local address = n or symbols.find(text, place)
    if not address then
        args.fail("'%s' is neither an address nor a known symbol", text)
    end
    return address
end

-- The function that code belongs to, or its page. A name once found stays: to
-- look for one in a guest that is not known is slow.
local names = {}
function args.name(pc, cr3, view)
    local key = pc .. " " .. cr3
    if not names[key] then
        local place = symbols.lookup(pc, view)
        names[key] = place and place.name or hex(pc & ~0xfff) .. "..."
    end
    return names[key]
end

-- Ticks by name as a list of {name, ticks}, the most first.
function args.by_ticks(ticks)
    local list = {}
    for name, n in pairs(ticks) do
        list[#list + 1] = {name = name, ticks = n}
    end
    table.sort(list, function(a, b)
        return a.ticks > b.ticks or a.ticks == b.ticks and a.name < b.name
    end)
    return list
end

-- Rows of columns that line up; numbers to the right.
function args.table(rows)
    local width = {}
    for _, row in ipairs(rows) do
        for c, cell in ipairs(row) do
            width[c] = math.max(width[c] or 0, #tostring(cell))
        end
    end
    for _, row in ipairs(rows) do
        local line = {}
        for c, cell in ipairs(row) do
            local text = tostring(cell)
            local room = string.rep(" ", width[c] - #text)
            local is_number = text:match("^[%d.+-]+%%?$")
            line[c] = is_number and room .. text or text .. room
        end
        print((table.concat(line, "  "):gsub(" +$", "")))
    end
end

-- As JSON when relive query was called with --json; true when it was.
function args.json(value)
    if wants_json() then
        print(json.encode(value))
    end
    return wants_json()
end

return args
