//! How a history is stored.

use super::story::story;
use super::{LinesError, read_lines, write_edn, write_lines};

const STORY: &str = "
    p send a 1 2 b 3 => ok 0 1 0
    p send a 4 => fail
    c assign a b seek=beginning
    c poll => ok a 0:1 1:2 start=0 b 0:3
    q sends acks=1 plain in_flight=1
    q begins send a 5 6
    c poll => ok a 2:5 moved=b
    q ends info 2 _
    m commit g a=3 => ok
    m committed g a b => ok a=3 b=none
    m list a earliest=0 latest=3
    m delete_records a 1 => ok 1
    m delete_topic b => info
    c crash";

#[test]
fn lines_are_read_as_they_were_written() {
    let (history, _) = story(STORY);
    let mut text = Vec::new();
    write_lines(&history, &mut text).expect("a vector takes everything");
    let again = read_lines(&mut text.as_slice()).expect("own lines can be read");
    assert_eq!(again, history);
    let text = String::from_utf8(text).expect("JSON is text");
    let second = text.lines().nth(1).expect("there are lines");
    let key = "AAAAAAAAAGEAAAAAAAAAAA:0";
    assert!(
        second.starts_with(r#"{"index":0,"process":0,"type":"invoke","time":1000,"f":"send""#),
        "{second}"
    );
    assert!(second.contains(key), "{second}");
}

#[test]
fn what_is_no_history_is_refused_by_line() {
    let refuse = |text: &str| read_lines(&mut text.as_bytes()).expect_err("it is no history");
    assert!(matches!(refuse(""), LinesError::Header(_)));
    let header = r#"{"format":"millrace-history","version":1}"#;
    let error = refuse(&format!("{header}\n{{}}\n"));
    assert!(matches!(error, LinesError::Line { line: 2, .. }), "{error}");
}

#[test]
fn jepsen_reads_it_as_its_own() {
    let (history, _) = story(STORY);
    let mut text = Vec::new();
    write_edn(&history, &mut text).expect("a vector takes everything");
    let text = String::from_utf8(text).expect("EDN is text");
    let expected = "\
{:index 0, :time 1000, :type :invoke, :process 0, :f :send, :value [[:send 0 1] [:send 0 2] [:send 1 3]]}
{:index 1, :time 1100, :type :ok, :process 0, :f :send, :value [[:send 0 [0 1]] [:send 0 [1 2]] [:send 1 [0 3]]]}
{:index 2, :time 2100, :type :invoke, :process 0, :f :send, :value [[:send 0 4]]}
{:index 3, :time 2200, :type :fail, :process 0, :f :send, :value [[:send 0 [nil 4]]]}
{:index 4, :time 3200, :type :invoke, :process 1, :f :assign, :value [0 1], :seek-to-beginning? true}
{:index 5, :time 3300, :type :ok, :process 1, :f :assign, :value [0 1], :seek-to-beginning? true}
{:index 6, :time 4300, :type :invoke, :process 1, :f :poll, :value [[:poll]]}
{:index 7, :time 4400, :type :ok, :process 1, :f :poll, :value [[:poll {0 [[0 1] [1 2]], 1 [[0 3]]}]]}
{:index 8, :time 6400, :type :invoke, :process 2, :f :send, :value [[:send 0 5] [:send 0 6]]}
{:index 9, :time 7400, :type :invoke, :process 1, :f :poll, :value [[:poll]]}
{:index 10, :time 7500, :type :ok, :process 1, :f :poll, :value [[:poll {0 [[2 5]]}]], :rebalance-log [{:keys [1]}]}
{:index 11, :time 8500, :type :info, :process 2, :f :send, :value [[:send 0 [2 5]] [:send 0 [nil 6]]]}
{:index 12, :time 15000, :type :invoke, :process 1, :f :crash, :value nil}
{:index 13, :time 15100, :type :info, :process 1, :f :crash, :value nil}
";
    assert_eq!(text, expected);
}
