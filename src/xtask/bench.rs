//! `cargo xtask bench`: Millrace and Apache Kafka side by side on this machine.
//!
//! Both stay for the whole run, one of them stopped (SIGSTOP) while the other is measured; they take turns A B B A on
//! fresh topics under the same clients with the same options. Figures depend on the machine and on what else it does,
//! so what counts is the ratio within a pair of runs; the chore fails only if something cannot be measured.

mod broker;
mod cell;
mod consume;
mod goals;
mod lab;
mod life;
mod load;
mod memory;
mod page;
mod plan;
mod proc;
mod process;
mod rdkafka;
mod result;
mod shape;
mod stats;
mod table;
mod tools;

use crate::clients;
use anyhow::{Context, Result, bail};
use broker::Kind;
use cell::Cell;
use lab::Lab;
use load::Tools;
use plan::Mode;
use result::{Machine, Report};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// Whom Millrace is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Peer {
    /// Apache Kafka, of the version in tests/clients/java/pom.xml.
    Kafka,
    /// Nobody: figures without ratios.
    None,
}

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Workloads (w1 .. w10b) or beginnings of cells' names (w4-tiny); all by default.
    words: Vec<String>,
    /// Whom to compare with.
    #[arg(long, default_value = "kafka")]
    peer: Peer,
    /// Runs of seconds, one A B B A each, the most telling cells only.
    #[arg(long)]
    quick: bool,
    /// Only say which cells there are and what they would take.
    #[arg(long)]
    list: bool,
    /// Kafka's shape; by default the better one, found out first, or with `--quick` the tuned one.
    #[arg(long)]
    shape: Option<Shape>,
    /// Make the tables of docs/PERFORMANCE.md anew.
    #[arg(long)]
    write: bool,
    /// Measure nothing: take the results of these files, of which later ones replace earlier ones cell by cell.
    #[arg(long, value_name = "JSON")]
    from: Vec<PathBuf>,
}

/// How Kafka is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Shape {
    /// As its scripts start it.
    Default,
    /// With more memory, fewer threads and larger socket buffers.
    Tuned,
}

/// Runs the chore.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    if !arguments.from.is_empty() {
        let report = read(&arguments.from)?;
        for cell in &report.cells {
            print!("{}", table::cell(cell));
        }
        return write(arguments, root, &report).map(|()| ExitCode::SUCCESS);
    }
    let mode = if arguments.quick {
        Mode::Quick
    } else {
        Mode::Full
    };
    let all = cell::cells(mode);
    let cells: Vec<Cell> = all
        .iter()
        .filter(|cell| cell.is_meant(&arguments.words, mode))
        .cloned()
        .collect();
    if cells.is_empty() {
        let names: Vec<&str> = all.iter().map(|cell| cell.name.as_str()).collect();
        bail!("no such cell; there are {}", names.join(", "));
    }
    announce(&cells, arguments, mode);
    if arguments.list {
        return Ok(ExitCode::SUCCESS);
    }
    let began = Instant::now();
    let report = measure(arguments, root, mode, &cells)?;
    let failed = report.cells.iter().filter(|cell| cell.failure.is_some());
    let failed: Vec<String> = failed.map(|cell| cell.name.clone()).collect();
    println!("took {}", plan::clock(began.elapsed().as_secs()));
    write(arguments, root, &report)?;
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("not measured: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// The results of these files as one.
fn read(files: &[PathBuf]) -> Result<Report> {
    let mut whole: Option<Report> = None;
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let report: Report =
            serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        match &mut whole {
            Some(whole) => whole.merge(report),
            None => whole = Some(report),
        }
    }
    whole.context("no file is given")
}

/// Writes the page, if that is asked for.
fn write(arguments: &Arguments, root: &Path, report: &Report) -> Result<()> {
    if !arguments.write {
        return Ok(());
    }
    let path = root.join("docs/PERFORMANCE.md");
    let present = match path.is_file() {
        true => Some(std::fs::read_to_string(&path)?),
        false => None,
    };
    std::fs::write(&path, page::page(present.as_deref(), report)?)?;
    println!("written: {}", path.display());
    Ok(())
}

fn announce(cells: &[Cell], arguments: &Arguments, mode: Mode) {
    let mut expected = mode.warm_seconds();
    if needs_choice(arguments, mode) {
        expected += plan::CHOICE_SECONDS;
    }
    for cell in cells {
        let seconds = plan::expected_seconds(cell, mode);
        expected += seconds;
        if arguments.list {
            println!(
                "{:<28} {:>9}  {}",
                cell.name,
                plan::clock(seconds),
                cell.title
            );
        }
    }
    println!(
        "{} cells, expected to take {} (at most {})",
        cells.len(),
        plan::clock(expected),
        plan::clock(mode.seconds_max())
    );
}

/// Whether Kafka's two shapes are compared first.
fn needs_choice(arguments: &Arguments, mode: Mode) -> bool {
    arguments.peer == Peer::Kafka && mode == Mode::Full && arguments.shape.is_none()
}

fn measure(arguments: &Arguments, root: &Path, mode: Mode, cells: &[Cell]) -> Result<Report> {
    let folder = root.join("target/bench");
    std::fs::create_dir_all(&folder)?;
    let mut versions = BTreeMap::new();
    let tools = prepare(root, &folder, &mut versions)?;
    let date = lab::now()?;
    let mut report = Report {
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        mode,
        machine: machine(&folder)?,
        versions,
        shape: None,
        peer_shape: None,
        cells: Vec::new(),
        date: date.clone(),
    };
    let file = folder.join(format!("{}.json", date.replace([' ', ':'], "-")));
    let deadline = Instant::now() + Duration::from_secs(mode.seconds_max());
    let mut lab = Lab::new(root.to_owned(), mode, tools, deadline)?;
    if needs_choice(arguments, mode) {
        let choice = shape::choose(&mut lab)?;
        println!(
            "Kafka's shape is the {} one: {}",
            choice.chosen, choice.reason
        );
        report.peer_shape = Some(choice.chosen.clone());
        report.shape = Some(choice);
    } else if arguments.peer == Peer::Kafka {
        let (kind, name) = match arguments.shape {
            Some(Shape::Default) => (Kind::KafkaDefault, "default"),
            Some(Shape::Tuned) | None => (Kind::KafkaTuned, "tuned"),
        };
        println!("Kafka's shape is the {name} one; it was not compared with the other");
        report.peer_shape = Some(format!("{name}, not compared with the other"));
        lab.add(kind)?;
    }
    lab.add(Kind::Millrace)?;
    // Ours is side A.
    lab.brokers.rotate_right(1);
    for (index, cell) in cells.iter().enumerate() {
        println!("[{}/{}] {}", index + 1, cells.len(), cell.title);
        let result = lab.measure(cell, lab::now()?);
        print!("{}", table::cell(&result));
        report.cells.push(result);
        save(&report, &file)?;
    }
    println!("written: {}", file.display());
    Ok(report)
}

/// Builds and fetches what is needed, and notes the versions.
fn prepare(root: &Path, folder: &Path, versions: &mut BTreeMap<String, String>) -> Result<Tools> {
    let millrace = clients::build_release(root)?;
    let libraries = clients::libraries(root)?;
    let librdkafka = match rdkafka::build(root) {
        Ok((program, version)) => {
            versions.insert("librdkafka".to_owned(), version);
            Ok(program)
        }
        Err(error) => {
            println!("rdkafka_performance cannot be built: {error:#}");
            Err(format!("{error:#}"))
        }
    };
    let mut note = |name: &str, command: &mut Command| -> Result<()> {
        let said = process::said(command)?;
        let line = said.lines().next().unwrap_or_default();
        versions.insert(name.to_owned(), line.to_owned());
        Ok(())
    };
    note("Millrace", Command::new(&millrace).arg("--version"))?;
    note("Java", Command::new("java").arg("--version"))?;
    note("rustc", Command::new("rustc").arg("--version"))?;
    let describe = ["describe", "--always", "--dirty", "--abbrev=12"];
    let mut git = Command::new("git");
    note("source", git.args(describe).current_dir(root))?;
    versions.insert("Apache Kafka".to_owned(), kafka_version(root)?);
    Ok(Tools {
        millrace,
        libraries,
        librdkafka,
        folder: folder.to_owned(),
    })
}

fn kafka_version(root: &Path) -> Result<String> {
    let pom = std::fs::read_to_string(root.join("tests/clients/java/pom.xml"))?;
    let (_, rest) = pom
        .split_once("<kafka.version>")
        .context("the pom names a version")?;
    let (version, _) = rest.split_once('<').context("the pom names a version")?;
    Ok(version.to_owned())
}

fn machine(folder: &Path) -> Result<Machine> {
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let named = processors
        .lines()
        .find(|line| line.starts_with("model name"));
    let name = named.and_then(|line| line.split_once(": "));
    let first = |command: &mut Command| -> Result<String> {
        let said = process::said(command)?;
        Ok(said.lines().last().unwrap_or_default().trim().to_owned())
    };
    // What follows the version names its builder.
    let kernel = first(Command::new("uname").arg("-sr"))?;
    let kernel = kernel.split('-').next().unwrap_or_default().to_owned();
    Ok(Machine {
        processor: name.map_or("unknown", |(_, name)| name).to_owned(),
        processors: std::thread::available_parallelism()?.get(),
        memory_gib: proc::memory("MemTotal")? as f64 / f64::from(1 << 30),
        kernel,
        file_system: first(Command::new("df").arg("--output=fstype").arg(folder))?,
    })
}

fn save(report: &Report, file: &PathBuf) -> Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    std::fs::write(file, text).with_context(|| file.display().to_string())
}
