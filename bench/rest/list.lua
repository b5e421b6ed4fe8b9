-- One of the first hundred pages.
request = function()
  return wrk.format("GET", "/api/v1/articles?per_page=10&page=" .. math.random(1, 100))
end
