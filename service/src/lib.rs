//! The chassis of a service: settings, telemetry, metrics and health port, shutdown, backoff, secrets, connections to Postgres.
