//! What only the simulated fabric can show.
