// The page of the API's documentation: Swagger UI on this server's own description, and nothing fetched elsewhere.
const place = document.getElementById("docs");
window.SwaggerUIBundle({
  url: place.dataset.openapi,
  domNode: place,
  validatorUrl: null, // or the description would be sent to swagger.io
  docExpansion: "list",
  deepLinking: false,
  filter: true,
});
