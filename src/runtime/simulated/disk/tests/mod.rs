//! What only the simulated disk can show.
