//! The request to stop.

/// Waits until the process is asked to end (SIGTERM or SIGINT); in simulation, until the node gets the simulator's
/// interrupt.
///
/// # Errors
/// If the operating system refuses the handlers.
pub async fn terminated() -> std::io::Result<()> {
    crate::half::terminated().await
}
