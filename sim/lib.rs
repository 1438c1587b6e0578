//! The simulator: what its clients saw, and who judges it.

pub mod checkers;
pub mod history;
