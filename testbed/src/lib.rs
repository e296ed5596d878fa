//! Real PostgreSQL, Redis, etcd and kube-apiserver as plain processes, for tests.

#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod postgres;
pub mod redis;
mod server;
