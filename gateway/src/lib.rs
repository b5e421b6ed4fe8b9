//! GraphQL in front of the REST API.
