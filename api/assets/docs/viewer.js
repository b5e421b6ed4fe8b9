// Shows the API's own document, and asks nobody else about it.
SwaggerUIBundle({
  url: "/api/v1/openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
});
