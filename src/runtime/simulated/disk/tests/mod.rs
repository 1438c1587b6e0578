//! What only the simulated disk can show: power losses, faults, lives, and that a seed decides all of it.

mod faults;
mod lives;
mod power;
mod survivors;

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

use bytes::Bytes;
use madsim::runtime::Runtime;

use super::*;
use crate::disk::{Disk, File};
use crate::simulated::trace::{Event, Sink, set_sink};

/// The node of the tests' main task.
const NODE: u64 = 0;

fn in_world<F: Future>(seed: u64, story: impl FnOnce(Disks) -> F) -> F::Output {
    let world = Runtime::with_seed_and_config(seed, madsim::Config::default());
    crate::simulated::install(&world, seed);
    world.block_on(async { story(Disks::current()).await })
}

/// Tells `story` with each of some seeds; what each gave.
fn with_seeds<F: Future>(count: u64, story: impl Fn(Disks, u64) -> F) -> Vec<F::Output> {
    let seeds = 0..count;
    seeds
        .map(|seed| in_world(seed, |disks| story(disks, seed)))
        .collect()
}

async fn open(path: &str, mode: OpenMode) -> File {
    Disk::new().open(path, mode).await.unwrap()
}

async fn create(path: &str) -> File {
    open(path, OpenMode::CreateNew).await
}

async fn write(file: &File, offset: u64, text: impl AsRef<[u8]>) {
    let bytes = Bytes::copy_from_slice(text.as_ref());
    file.write_at(offset, vec![bytes]).await.unwrap();
}

/// A file with a durable content and a durable name.
async fn create_durable(path: &str, text: impl AsRef<[u8]>) -> File {
    let file = create(path).await;
    write(&file, 0, text).await;
    file.sync_data().await.unwrap();
    Disk::new().sync_dir("/").await.unwrap();
    file
}

async fn content(path: &str) -> Option<Bytes> {
    Disk::new().read_file(path).await.ok()
}

fn fault(operation: DiskOperation, path: &str, effect: Effect) -> DiskFault {
    DiskFault {
        operation,
        path_contains: path.to_owned(),
        skip: 0,
        times: 1,
        effect,
    }
}

/// Keeps every event as a line.
#[derive(Default)]
struct Lines(RefCell<Vec<String>>);

impl Sink for Lines {
    fn event(&self, event: &Event<'_>) {
        let mut line = format!("{} {} {}", event.at_nanos, event.node, event.kind);
        for (name, value) in event.fields {
            let written = match value {
                Value::Int(number) => write!(line, " {name}={number}"),
                Value::Text(text) => write!(line, " {name}={text}"),
            };
            written.expect("a string takes all");
        }
        self.0.borrow_mut().push(line);
    }
}

/// Runs a story with its events written down.
fn traced<F: Future>(seed: u64, story: impl FnOnce(Disks) -> F) -> (F::Output, Vec<String>) {
    let lines = Rc::new(Lines::default());
    set_sink(Some(lines.clone()));
    let output = in_world(seed, story);
    set_sink(None);
    (output, lines.0.take())
}
