//! What carries the specs and is none itself.

pub(crate) mod cluster;
pub(crate) mod context;
pub(crate) mod controllers;
pub(crate) mod datastorage;
pub(crate) mod deployed;
mod evidence;
pub(crate) mod fingerprint;
mod forward;
pub(crate) mod gateway;
pub(crate) mod half_sent;
pub(crate) mod http;
mod journal;
pub(crate) mod metrics;
pub(crate) mod processes;
pub(crate) mod run_file;
pub(crate) mod runner;
pub(crate) mod signals;
pub(crate) mod spec;
pub(crate) mod surroundings;
mod trace;
mod turns;
pub(crate) mod wait;
