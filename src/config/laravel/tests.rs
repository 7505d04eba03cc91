//! Projects as folders.
