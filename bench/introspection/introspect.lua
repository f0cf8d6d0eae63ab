-- Introspects the tokens of the file TOKENS_FILE in turn; with AS=client as the CLIENT (id and secret, a space between).
local bodies, at = {}, 0
local credentials = ""
if os.getenv("AS") == "client" then
  local id, secret = os.getenv("CLIENT"):match("^(%S+) (%S+)$")
  credentials = "&client_id=" .. id .. "&client_secret=" .. secret
end
for token in io.lines(os.getenv("TOKENS_FILE")) do
  bodies[#bodies + 1] = "token=" .. token .. credentials
end
local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }

function request()
  at = at % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[at])
end

-- An answer about a token that is not active would be cheaper.
function response(status, headers, body)
  if not body:find('"active":true', 1, true) then error(body) end
end
