-- Statistics for the scripts of this directory: require("statistics").
-- Everything is deterministic: random choices come from a generator with a
-- seed of its own.

local statistics = {}

function statistics.mean(list)
    local sum = 0
    for _, x in ipairs(list) do
        sum = sum + x
    end
    return sum / #list
end

-- Of a sample: divided by n - 1; 0 of fewer than two values.
function statistics.variance(list)
    local mean, n, m2 = 0, 0, 0
    for _, x in ipairs(list) do -- Welford
        n = n + 1
        local delta = x - mean
        mean = mean + delta / n
        m2 = m2 + delta * (x - mean)
    end
    return n > 1 and m2 / (n - 1) or 0
end

-- Logarithm of the gamma function, Lanczos' approximation (g = 7, n = 9).
local function ln_gamma(x)
    local c = {0.99999999999980993, 676.5203681218851, -1259.1392167224028,
               771.32342877765313, -176.61502916214059, 12.507343278686905,
               -0.13857109526572012, 9.9843695780195716e-6,
               1.5056327351493116e-7}
    if x < 0.5 then
        return math.log(math.pi / math.sin(math.pi * x)) - ln_gamma(1 - x)
    end
    x = x - 1
    local sum, t = c[1], x + 7.5
    for i = 1, 8 do
        sum = sum + c[i + 1] / (x + i)
    end
    return 0.5 * math.log(2 * math.pi) + (x + 0.5) * math.log(t) - t +
               math.log(sum)
end

-- The regularised incomplete beta function by its continued fraction
-- (Abramowitz and Stegun 26.5.8), evaluated from the front.
local function beta_fraction(x, a, b)
    local tiny = 1e-300
    local c, d = 1, 1 - (a + b) * x / (a + 1)
    d = 1 / (math.abs(d) < tiny and tiny or d)
    local h = d
    for m = 1, 300 do
        local even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        local odd = -(a + m) * (a + b + m) * x /
                        ((a + 2 * m) * (a + 2 * m + 1))
        local last
        for _, term in ipairs {even, odd} do
            d = 1 + term * d
            d = 1 / (math.abs(d) < tiny and tiny or d)
            c = 1 + term / c
            c = math.abs(c) < tiny and tiny or c
            last = c * d
            h = h * last
        end
        if math.abs(last - 1) < 1e-15 then
            break
        end
    end
    return h
end

local function beta(x, a, b)
    if x <= 0 or x >= 1 then
        return x <= 0 and 0 or 1
    end
    local front = math.exp(ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a *
                               math.log(x) + b * math.log(1 - x))
    if x < (a + 1) / (a + b + 2) then
        return front * beta_fraction(x, a, b) / a
    end
    return 1 - front * beta_fraction(1 - x, b, a) / b
end

-- How likely a |t| as large or larger is by chance (Student, two-sided).
function statistics.t_probability(t, df)
    return beta(df / (df + t * t), df / 2, 0.5)
end

-- Welch's t-test of two samples: t, degrees of freedom, p. Without any spread,
-- p is 0 for different means and 1 for equal ones.
function statistics.welch(a, b)
    local va, vb = statistics.variance(a) / #a, statistics.variance(b) / #b
    local difference = statistics.mean(b) - statistics.mean(a)
    if #a < 2 or #b < 2 then
        return 0, 0, 1
    end
    if va + vb == 0 then
        return difference == 0 and 0 or math.huge, #a + #b - 2,
               difference == 0 and 1 or 0
    end
    local t = difference / math.sqrt(va + vb)
    local df = (va + vb) ^ 2 / (va ^ 2 / (#a - 1) + vb ^ 2 / (#b - 1))
    return t, df, statistics.t_probability(t, df)
end

-- A generator of numbers in [1, n]: 64-bit LCG (Knuth, MMIX), high bits.
function statistics.random(seed)
    local state = seed or 1
    return function(n)
        state = state * 6364136223846793005 + 1442695040888963407
        return (state >> 33) % n + 1
    end
end

-- An interval that holds the difference of the means (b - a) with so much
-- confidence: low, high, by resampling.
function statistics.bootstrap(a, b, options)
    options = options or {}
    local rounds = options.rounds or 2000
    local random = statistics.random(options.seed)
    local tail = (1 - (options.confidence or 0.95)) / 2
    local differences = {}
    local function resampled_mean(list)
        local sum = 0
        for _ = 1, #list do
            sum = sum + list[random(#list)]
        end
        return sum / #list
    end
    for i = 1, rounds do
        differences[i] = resampled_mean(b) - resampled_mean(a)
    end
    table.sort(differences)
    local low = math.max(1, math.floor(tail * rounds))
    return differences[low], differences[rounds + 1 - low]
end

-- The best place to split list[from..to] in two, and how much better than
-- none: the sum of squares that it explains, over the whole.
local function best_split(list, from, to, shortest)
    local total, n = 0, to - from + 1
    for i = from, to do
        total = total + list[i]
    end
    local best, where, left = 0, nil, 0
    for i = from, to - shortest do
        left = left + list[i]
        local k = i - from + 1
        if k >= shortest then
            local gain = (left / k - (total - left) / (n - k)) ^ 2 * k *
                             (n - k) / n
            if gain > best then
                best, where = gain, i + 1
            end
        end
    end
    return where, best
end

-- Where the level of a series changes: indexes of the first value of each new
-- level. Binary segmentation; a split counts when shuffling the part seldom
-- explains as much (a permutation test at `alpha`).
function statistics.change_points(list, options)
    options = options or {}
    local shortest = options.shortest or 3
    local rounds, alpha = options.rounds or 499, options.alpha or 0.01
    local random = statistics.random(options.seed)
    local found = {}
    local function is_real(from, to, gain)
        local part = table.move(list, from, to, 1, {})
        local as_good = 1
        for _ = 1, rounds do
            for i = #part, 2, -1 do
                local k = random(i)
                part[i], part[k] = part[k], part[i]
            end
            local _, by_chance = best_split(part, 1, #part, shortest)
            as_good = as_good + (by_chance >= gain and 1 or 0)
        end
        return as_good / (rounds + 1) <= alpha
    end
    local function split(from, to)
        if to - from + 1 < 2 * shortest then
            return
        end
        local where, gain = best_split(list, from, to, shortest)
        if where and gain > 0 and is_real(from, to, gain) then
            split(from, where - 1)
            found[#found + 1] = where
            split(where, to)
        end
    end
    split(1, #list)
    return found
end

return statistics
