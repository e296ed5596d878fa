//! Real PostgreSQL, Redis, etcd and kube-apiserver as plain processes, for tests.
