-- JSON for the history: a reader that says where bad text is bad, and a writer
-- whose output is the same for the same values (keys are sorted).
local json = {}

local escapes = {
    ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n",
    r = "\r", t = "\t",
}

-- Each reader takes the text and a position, and returns a value and the
-- position behind it.
local read_value

local function fail(text, at, expected)
    local found = text:sub(at, at)
    error({
        message = string.format("at byte %d: expected %s, found %s", at,
            expected, found == "" and "the end" or "'" .. found .. "'"),
    }, 0)
end

local function skip(text, at)
    return text:find("[^ \t\r\n]", at) or #text + 1
end

local function read_string(text, at)
    local parts = {}
    at = at + 1
    while true do
        local stop = text:find('["\\]', at)
        if not stop then fail(text, #text + 1, "a quotation mark") end
        parts[#parts + 1] = text:sub(at, stop - 1)
        if text:sub(stop, stop) == '"' then
            return table.concat(parts), stop + 1
        end
        local letter = text:sub(stop + 1, stop + 1)
        local hex = text:match("^u(%x%x%x%x)", stop + 1)
        if hex then
            parts[#parts + 1] = utf8.char(tonumber(hex, 16))
            at = stop + 6
        elseif escapes[letter] then
            parts[#parts + 1] = escapes[letter]
            at = stop + 2
        else
            fail(text, stop + 1, "an escape")
        end
    end
end

local function read_array(text, at)
    local list = {}
    at = skip(text, at + 1)
    if text:sub(at, at) == "]" then return list, at + 1 end
    while true do
        list[#list + 1], at = read_value(text, at)
        at = skip(text, at)
        local mark = text:sub(at, at)
        if mark == "]" then return list, at + 1 end
        if mark ~= "," then fail(text, at, "',' or ']'") end
        at = at + 1
    end
end

local function read_object(text, at)
    local object = {}
    at = skip(text, at + 1)
    if text:sub(at, at) == "}" then return object, at + 1 end
    while true do
        local key
        at = skip(text, at)
        if text:sub(at, at) ~= '"' then fail(text, at, "a key") end
        key, at = read_string(text, at)
        at = skip(text, at)
        if text:sub(at, at) ~= ":" then fail(text, at, "':'") end
        object[key], at = read_value(text, at + 1)
        at = skip(text, at)
        local mark = text:sub(at, at)
        if mark == "}" then return object, at + 1 end
        if mark ~= "," then fail(text, at, "',' or '}'") end
        at = at + 1
    end
end

local words = { ["true"] = true, ["false"] = false }

read_value = function(text, at)
    at = skip(text, at)
    local first = text:sub(at, at)
    if first == "{" then return read_object(text, at) end
    if first == "[" then return read_array(text, at) end
    if first == '"' then return read_string(text, at) end
    local number = text:match("^-?%d[%d.eE+-]*", at)
    if number and tonumber(number) then return tonumber(number), at + #number end
    local word = text:match("^%a+", at)
    if word == "null" then return nil, at + 4 end
    if word and words[word] ~= nil then return words[word], at + #word end
    fail(text, at, "a value")
end

-- The value of a text; nil and a message when it is not JSON.
function json.read(text)
    local ok, value, at = pcall(read_value, text, 1)
    if not ok then return nil, value.message or tostring(value) end
    if skip(text, at) <= #text then
        return nil, string.format("at byte %d: text behind the value", at)
    end
    return value
end

local function write_string(s)
    s = s:gsub('[%c"\\]', function(c)
        return string.format("\\u%04x", c:byte())
    end)
    return '"' .. s .. '"'
end

local function write_value(value, out)
    if type(value) == "table" then
        local keys = {}
        for key in pairs(value) do keys[#keys + 1] = key end
        table.sort(keys)
        out[#out + 1] = "{"
        for i, key in ipairs(keys) do
            out[#out + 1] = (i > 1 and "," or "") .. write_string(key) .. ":"
            write_value(value[key], out)
        end
        out[#out + 1] = "}"
    elseif type(value) == "string" then
        out[#out + 1] = write_string(value)
    elseif math.type(value) == "integer" then
        out[#out + 1] = string.format("%d", value)
    elseif type(value) == "number" then
        out[#out + 1] = string.format("%.6g", value)
    else
        out[#out + 1] = tostring(value)
    end
end

-- An object on one line; arrays inside it are not needed and not known.
function json.write(object)
    local out = {}
    write_value(object, out)
    return table.concat(out)
end

return json
