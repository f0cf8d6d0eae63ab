-- Sends the tokens of the file TOKENS_FILE in turn. Prints: measured REQUESTS SECONDS P50 P99, the last two in microseconds.
local requests, at = {}, 0
for token in io.lines(os.getenv("TOKENS_FILE")) do
  requests[#requests + 1] = token
end

function init()
  for at, token in ipairs(requests) do
    requests[at] = wrk.format("GET", nil, { Authorization = "Bearer " .. token })
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  print("measured", summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99))
end
