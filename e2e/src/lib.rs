//! The specs: what the gateway must show on a real cluster.
