-- The cheapest answer of the server.
wrk.method = "GET"
