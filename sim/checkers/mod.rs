//! Who judges a run.

pub mod history;
