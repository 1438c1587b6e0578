//! The command line of `millrace`: one binary, one subcommand per job.

/// Runs the command line with the arguments of the process.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
