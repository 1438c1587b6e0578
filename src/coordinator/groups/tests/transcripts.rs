//! Stories told as transcripts: what came in and what came of it.

use super::script;

/// Set to rewrite the transcripts with what the machine does now; read the difference before it is committed.
const UPDATE_VARIABLE: &str = "MILLRACE_UPDATE_TRANSCRIPTS";

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            compare(
                concat!(env!("CARGO_MANIFEST_DIR"), "/groups/transcripts/", stringify!($name), ".txt"),
                include_str!(concat!("../transcripts/", stringify!($name), ".txt")),
            );
        })*
    };
}

transcripts! {
    administration
    assignment_and_the_log
    commits_refused
    expiry
    first_rebalance
    full_group
    leaving
    losing_and_gaining_leadership
    member_ids
    offsets
    protocols
    rebalances
    session_timeouts
    static_members
    unavailable
}

fn compare(path: &str, transcript: &str) {
    let actual = script::run(transcript);
    if std::env::var_os(UPDATE_VARIABLE).is_some() {
        #[expect(
            clippy::disallowed_methods,
            reason = "rewrites a file of the source tree on demand"
        )]
        std::fs::write(path, &actual).expect("the transcript can be written");
        return;
    }
    for (line, (expected, actual)) in transcript.lines().zip(actual.lines()).enumerate() {
        assert_eq!(expected, actual, "{path}:{}", line + 1);
    }
    assert_eq!(
        transcript, actual,
        "{path}: {UPDATE_VARIABLE}=1 rewrites it"
    );
}
