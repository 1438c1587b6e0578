//! The request to stop.

/// Listens, from the call on, for the request to end the process (SIGTERM or SIGINT; in simulation the simulator's
/// interrupt of the node); the future waits for it. A request that comes before the future is polled is not lost, and
/// does not end the process by itself.
///
/// # Errors
/// If the operating system refuses the handlers.
pub fn terminated() -> std::io::Result<impl Future<Output = ()>> {
    crate::half::terminated()
}
