//! The cost of judging grows with the history and not with its square.

use super::super::judge;
use super::model::{Model, expectations};

/// Work is counted, not timed: a test must not depend on the machine.
#[test]
fn work_grows_with_the_history() {
    let work = |steps| {
        let history = Model::run(1, steps);
        let (report, _) = judge(&history, &expectations());
        assert!(report.is_green(), "{:#?}", report.findings);
        report.work.values().sum::<u64>()
    };
    let (small, large) = (work(1_500), work(12_000));
    assert!(
        large < small * 16,
        "8 times the steps cost {small} -> {large}"
    );
}
