//! Puts in place what a run needs and the machine lacks: the engine, kind, kubectl, base images.
//!
//! `images/setup.yaml` lists the pieces ([`catalog`]), the project's or this program's own ([`embedded`]). A piece is there when its key, which stands
//! for all that goes into it, is ([`piece`]). What is missing is pulled or downloaded ([`fetch`]) where
//! that can be ([`places`]), else built by its recipe ([`make`]).

pub mod catalog;
pub mod digests;
mod display;
pub mod embedded;
pub mod ends;
pub mod engine;
pub mod fetch;
pub mod host;
pub mod kubectl;
pub mod make;
pub mod packages;
pub mod piece;
pub mod places;
pub mod run;
pub mod survey;
mod tools;
mod wheel;
