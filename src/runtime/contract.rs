//! What the runtime promises, stated once and run against both halves: `cargo test` runs it against the real one,
//! `cargo test` with `--cfg madsim` against the simulated one. Whoever changes a half extends the promises first.

mod clocks;
mod disks;
mod streams;
mod tasks;
