use super::*;

#[test]
fn a_batch_round_trips() {
    let mut builder = BatchBuilder::new(5).leader_epoch(3);
    builder.append(100, Some(b"key"), None, &[]);
    builder.append(101, None, Some(b"value"), &[]);
    let batch = builder.build();
    batch.verify_crc().unwrap();
    let again = Batch::parse(batch.bytes()).unwrap();
    assert_eq!(again, batch);
    let offsets: Vec<_> = again
        .records()
        .map(|record| record.unwrap().offset)
        .collect();
    assert_eq!(offsets, [5, 6]);
}
