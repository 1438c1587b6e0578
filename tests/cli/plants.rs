//! No planted bug is in what is shipped.

use crate::harness::MILLRACE;

const PLANTED: &str = include_str!("../../src/types/planted.rs");

/// The variants of `types::Plant`, read from its source: naming them here by their `Debug` would prove nothing.
fn names() -> Vec<&'static str> {
    let (_, body) = PLANTED.split_once("\nplants! {").expect("the list");
    let (body, _) = body.split_once("\n}").expect("its end");
    let lines = body
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"));
    lines
        .filter_map(|line| Some(line.split_once(" =")?.0))
        .collect()
}

/// Those of the texts that are somewhere in the bytes.
fn found_in<'a>(binary: &[u8], texts: &[&'a str]) -> Vec<&'a str> {
    let begins: [bool; 256] = std::array::from_fn(|byte| {
        texts
            .iter()
            .any(|text| usize::from(text.as_bytes()[0]) == byte)
    });
    let mut found = Vec::new();
    for (place, &byte) in binary.iter().enumerate() {
        if begins[usize::from(byte)] {
            let here = |text: &&&str| binary[place..].starts_with(text.as_bytes());
            found.extend(texts.iter().filter(here));
        }
    }
    found
}

#[test]
fn the_executable_has_no_name_of_a_planted_bug() {
    let names = names();
    assert!(names.contains(&"AckBeforeFlush"), "{names:?}");
    let binary = std::fs::read(MILLRACE).expect("the executable");
    // What is in it is found.
    let control = "KAFKA_STORAGE_ERROR";
    let mut found = found_in(&binary, &[&names[..], &[control]].concat());
    assert!(found.contains(&control));
    found.retain(|name| *name != control);
    assert!(found.is_empty(), "{found:?} in {MILLRACE}");
}
