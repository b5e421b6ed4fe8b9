-- One article at random. ARTICLES is how many there are.
local articles = tonumber(os.getenv("ARTICLES"))
request = function()
  return wrk.format("GET", "/api/v1/articles/" .. math.random(1, articles))
end
