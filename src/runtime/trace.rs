//! The seam through which a run can be watched.

/// Watches what a node's drivers do with the outside. Given at node construction; production gives none.
///
/// An implementation must not change the run: it draws no entropy, waits for nothing and takes no lock that the
/// watched code could hold.
pub trait TraceSink: Send + Sync {
    /// Something named `event` happened to `subject`; both are static names or small numbers, never rendered text.
    fn record(&self, event: &'static str, subject: u64);
}
