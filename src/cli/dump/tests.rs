//! What names mean. What the files hold is tested beside each reader, and against real logs by the whole suite.

use storage::FileKind;

use super::Content;

#[test]
fn a_file_is_what_its_name_says() {
    let table = [
        ("00000000000000000000.log", Some(Content::Batches)),
        ("00000000000000000000.log.deleted", Some(Content::Batches)),
        (
            "00000000000000000007-0000000003.checkpoint",
            Some(Content::Batches),
        ),
        (
            "00000000000000000000.index",
            Some(Content::Index(FileKind::OffsetIndex)),
        ),
        (
            "00000000000000000000.timeindex",
            Some(Content::Index(FileKind::TimeIndex)),
        ),
        (
            "00000000000000000000.txnindex",
            Some(Content::Index(FileKind::TransactionIndex)),
        ),
        (
            "00000000000000000005.snapshot",
            Some(Content::ProducerSnapshot),
        ),
        ("leader-epoch-checkpoint", Some(Content::Text)),
        ("meta.properties", Some(Content::Text)),
        ("quorum-state", Some(Content::Text)),
        (".lock", None),
        ("notes.txt", None),
    ];
    for (name, expected) in table {
        assert_eq!(Content::of(name), expected, "{name}");
    }
}
