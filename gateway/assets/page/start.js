// Starts GraphiQL against the server that the page came from.
"use strict";

const examples = `# Operations of the articles. Run with Ctrl-Enter, complete with Ctrl-Space.

query Articles {
  articles(perPage: 5) {
    items { id title author status viewsCount updatedAt }
    pageInfo { page totalPages totalItems hasNext }
  }
}
`;

const url = new URL("/graphql", window.location.href);
const socket = new URL(url);
socket.protocol = url.protocol === "https:" ? "wss:" : "ws:";

const fetcher = GraphiQL.createFetcher({
  url: url.href,
  subscriptionUrl: socket.href,
});

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher,
    defaultQuery: examples,
    shouldPersistHeaders: false,
    defaultEditorToolsVisibility: false,
  }),
);
