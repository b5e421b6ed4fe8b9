-- A page of articles through the gateway.
wrk.method = "POST"
wrk.path = "/graphql"
wrk.headers["content-type"] = "application/json"
request = function()
  local query = "{articles(perPage:10,page:" .. math.random(1, 100)
    .. "){items{id title author tags status viewsCount createdAt}pageInfo{totalItems}}}"
  return wrk.format(nil, nil, nil, '{"query":"' .. query .. '"}')
end
