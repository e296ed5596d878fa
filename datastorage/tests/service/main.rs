//! The service with a real PostgreSQL and a real Redis.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod api;
mod failures;
mod fuzz;
mod hostile;
mod http;
mod outage;
mod process;
mod queue;
mod stand;
