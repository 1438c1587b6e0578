//! Which shape of Kafka is the better one here: chosen once, on W1 and W4, and then it is what counts.

use super::broker::Kind;
use super::cell::{Cell, Client, Work, cells};
use super::lab::{self, Lab};
use super::plan::{Mode, Side};
use super::result::{CellResult, ShapeChoice, metric};
use super::{stats, table};
use anyhow::{Context, Result};

/// Cells that decide: the first by its CPU time and its throughput, the second by its requests.
const BULK: &str = "w1-1KiB-16p-ours";
const FLUSHED: &str = "w4-tiny-10p-";

/// Measures both shapes against each other, keeps the better one warm and stands still in the lab.
pub fn choose(lab: &mut Lab) -> Result<ShapeChoice> {
    lab.add(Kind::KafkaDefault)?;
    lab.add(Kind::KafkaTuned)?;
    let mut measured = Vec::new();
    for mut cell in deciding(lab.tools.librdkafka.is_ok()) {
        println!("Kafka default (A) and tuned (B): {}", cell.title);
        cell.title = format!("{}: Kafka default (A) and tuned (B)", cell.title);
        let result = lab.measure(&cell, lab::now()?);
        print!("{}", table::cell(&result));
        measured.push(result);
    }
    let score = score(&measured).context("neither shape could be measured")?;
    let is_default = score < 1.0;
    // The default one was added first.
    drop(lab.brokers.remove(usize::from(is_default)));
    let chosen = if is_default { "default" } else { "tuned" };
    Ok(ShapeChoice {
        chosen: chosen.to_owned(),
        reason: format!(
            "cost and time of the default shape are {score:.2}x those of the tuned one over {BULK} and {FLUSHED}"
        ),
        cells: measured,
    })
}

fn deciding(has_librdkafka: bool) -> Vec<Cell> {
    let client = match has_librdkafka {
        true => Client::Librdkafka,
        false => Client::Ours,
    };
    cells(Mode::Full)
        .into_iter()
        .filter(|cell| match cell.work {
            Work::Load(load) => {
                cell.name == BULK || (cell.name.starts_with(FLUSHED) && load.client == client)
            }
            _ => false,
        })
        .collect()
}

/// How many times dearer and slower side A is than side B: below 1 it is the better one.
fn score(cells: &[CellResult]) -> Option<f64> {
    let mut quotients = Vec::new();
    for cell in cells {
        for (name, is_more_better) in [
            (metric::CPU_PER_GB, false),
            (metric::CPU_PER_REQUEST, false),
            (metric::RECORDS, true),
        ] {
            let figures = (cell.figure(Side::A, name), cell.figure(Side::B, name));
            let (Some(first), Some(second)) = figures else {
                continue;
            };
            if first > 0.0 && second > 0.0 {
                quotients.push(match is_more_better {
                    true => second / first,
                    false => first / second,
                });
            }
        }
    }
    stats::geometric_mean(&quotients)
}

#[cfg(test)]
mod tests {
    use super::super::result::samples;
    use super::*;

    #[test]
    fn two_cells_decide() {
        for has_librdkafka in [true, false] {
            assert_eq!(deciding(has_librdkafka).len(), 2);
        }
    }

    #[test]
    fn cost_and_speed_weigh_the_same() {
        let mut cell = samples::cell(
            BULK,
            vec![
                samples::run(Side::A, metric::CPU_PER_GB, 2.0),
                samples::run(Side::B, metric::CPU_PER_GB, 1.0),
            ],
        );
        let first = score(std::slice::from_ref(&cell)).expect("figures");
        assert!((first - 2.0).abs() < 1e-9);
        for (run, speed) in cell.runs.iter_mut().zip([200.0, 100.0]) {
            run.figures.insert(metric::RECORDS.to_owned(), speed);
        }
        let both = score(&[cell]).expect("figures");
        assert!((both - 1.0).abs() < 1e-9);
        assert_eq!(score(&[]), None);
    }
}
