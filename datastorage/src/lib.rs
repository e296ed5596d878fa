//! Keeps audit events in PostgreSQL, with a queue in Redis for when it is away.
