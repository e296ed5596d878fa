//! Child processes, container engine, kind and kubectl, each behind one small interface.
