//! Apply: topics to one Postgres.
