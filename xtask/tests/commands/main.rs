//! The program as people call it, on a workspace of a few lines, with an engine, kind and kubectl that only play.

mod check;
mod completions;
mod down;
mod e2e;
mod existing;
mod gc;
mod kustomize;
mod merge;
mod node_image;
mod root;
mod setup;
mod support;
mod trials;
mod up;
