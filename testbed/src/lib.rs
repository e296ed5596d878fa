//! For tests: real PostgreSQL, Redis, etcd and kube-apiserver as plain processes, and programs that only play a container
//! engine, kind and kubectl ([`fakes`]).

pub mod fakes;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod postgres;
pub mod redis;
mod server;
pub mod tls;
