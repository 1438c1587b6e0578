//! `cargo sim`: plans, runs and sweeps of the simulator.

#[cfg(madsim)]
mod cli;

#[cfg(madsim)]
fn main() -> std::process::ExitCode {
    cli::main()
}

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    eprintln!("this build simulates nothing: run `cargo sim`, which builds with --cfg madsim");
    std::process::ExitCode::from(2)
}
