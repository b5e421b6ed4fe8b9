-- A new article of about 1 kB.
local body = '{"title":"Written under load","author":"wrk","tags":["load"],"content":"'
  .. string.rep("The quick brown fox jumps over the lazy dog. ", 20) .. '"}'
wrk.method = "POST"
wrk.path = "/api/v1/articles"
wrk.body = body
wrk.headers["content-type"] = "application/json"
