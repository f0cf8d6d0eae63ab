-- Creates agents as the documented administrator.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Basic YWRtaW5AZXhhbXBsZS5jb206Y2hhbmdlbWU="
wrk.body = '{"name":"one of many","scopes":["read","write"]}'
