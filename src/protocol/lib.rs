//! Placeholder, replaced by its first slice.
