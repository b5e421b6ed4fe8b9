//! For tests only: databases, topics, waiting, comparing.
