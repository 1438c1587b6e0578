//! The simulated half: madsim.
