//! The tasks of this workspace.
