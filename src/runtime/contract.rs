//! What the runtime promises, stated once for both halves.
