-- A client credentials request; CLIENT holds the client's id and secret, separated by a space.
local id, secret = os.getenv("CLIENT"):match("^(%S+) (%S+)$")
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.body = "grant_type=client_credentials&client_id=" .. id .. "&client_secret=" .. secret
