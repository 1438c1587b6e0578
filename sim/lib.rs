//! The simulator: controllers, brokers, clients, their network, disks and clocks in one process, from one seed.
//!
//! A seed is expanded into a [`plan`], the plan is run, and what was seen is judged by checkers. The parts that run
//! exist only in the simulation build (`--cfg madsim`); plans, histories, checkers and reports are plain data.

pub mod plan;
