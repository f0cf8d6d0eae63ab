-- Client credentials requests of the clients in CLIENTS_FILE (id and secret, a space between), in a random order.
local bodies = {}
for line in io.lines(os.getenv("CLIENTS_FILE")) do
  local id, secret = line:match("^(%S+) (%S+)$")
  bodies[#bodies + 1] = "grant_type=client_credentials&client_id=" .. id .. "&client_secret=" .. secret
end
local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }

function request()
  return wrk.format("POST", nil, headers, bodies[math.random(#bodies)])
end
