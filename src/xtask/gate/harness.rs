//! Runs the harness of tests/gate, alone and under valgrind, and makes figures of what it counts.

use super::compare::Figures;
use crate::clients;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The scenarios whose copied bytes are counted, and how many windows of each: some 30 MB of records or more, so that
/// what the node does besides is nothing against it.
const COPIED: &[(&str, u64)] = &[
    ("produce_16_kib", 40),
    ("produce_128_kib", 5),
    ("fetch_1_mib", 5),
];

/// What the harness says of a scenario.
#[derive(Clone, Debug, PartialEq)]
struct Scenario {
    name: String,
    windows: u64,
    /// Requests of a window, or records where batches are only validated.
    units: u64,
    /// Bytes of a request's record batches.
    payload_bytes: u64,
    /// Median of a request's, or a batch's.
    allocations: u64,
    /// Bytes a request that were given to system calls that write.
    written_bytes: u64,
}

impl Scenario {
    fn parse(line: &str) -> Result<Scenario> {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or("").to_owned();
        let numbers: Result<Vec<u64>, _> = words.map(str::parse).collect();
        let numbers = numbers.with_context(|| line.to_owned())?;
        let [windows, units, payload_bytes, allocations, written_bytes] = numbers[..] else {
            anyhow::bail!("not a scenario: {line}");
        };
        Ok(Scenario {
            name,
            windows,
            units,
            payload_bytes,
            allocations,
            written_bytes,
        })
    }
}

/// The program, and where valgrind writes.
struct Harness {
    program: PathBuf,
    folder: PathBuf,
}

/// Every figure but the system calls.
pub fn count(root: &Path) -> Result<Figures> {
    let harness = Harness::build(root)?;
    let scenarios = harness.scenarios(&mut harness.plain())?;
    let mut figures = Figures::new();
    for scenario in &scenarios {
        let name = format!("{}.allocations", scenario.name);
        figures.insert(name, scenario.allocations as f64);
    }
    for (scenario, instructions) in scenarios.iter().zip(harness.instructions(&scenarios)?) {
        figures.insert(format!("{}.instructions", scenario.name), instructions);
    }
    let without_windows = harness.copied_bytes(&["0"])?;
    for (name, windows) in COPIED {
        let scenario = scenarios.iter().find(|scenario| scenario.name == *name);
        let scenario = scenario.context("the harness does not know a scenario")?;
        let all = harness.copied_bytes(&[&windows.to_string(), name])?;
        let requests = (windows * scenario.units) as f64;
        let copied = all.saturating_sub(without_windows) as f64 / requests;
        let bytes = copied + scenario.written_bytes as f64;
        let name = format!("{name}.copied_per_byte");
        figures.insert(name, bytes / scenario.payload_bytes as f64);
    }
    std::fs::remove_dir_all(&harness.folder)?;
    Ok(figures)
}

impl Harness {
    /// Built as the executable is.
    fn build(root: &Path) -> Result<Harness> {
        let program = clients::build(root, "millrace-gate", "gate")?;
        let folder = root.join("target/gate");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(Harness { program, folder })
    }

    fn plain(&self) -> Command {
        Command::new(&self.program)
    }

    fn valgrind(&self, options: &[&str], file: (&str, &Path)) -> Command {
        let (option, path) = file;
        let mut command = Command::new("valgrind");
        command
            .args(options)
            .arg(format!("{option}={}", path.display()))
            .arg(&self.program);
        command
    }

    /// Runs `command`, which ends in the program and its arguments.
    fn scenarios(&self, command: &mut Command) -> Result<Vec<Scenario>> {
        let output = command
            .env("TMPDIR", &self.folder)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{command:?}"))?;
        ensure!(
            output.status.success(),
            "{command:?} ended with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        let told = String::from_utf8(output.stdout)?;
        told.lines().map(Scenario::parse).collect()
    }

    /// Instructions of a unit of each scenario: the median of its windows. Callgrind writes a file whenever the program
    /// comes to its mark, with what was executed since the last one, so every second file is that of a window.
    fn instructions(&self, scenarios: &[Scenario]) -> Result<Vec<f64>> {
        let path = self.folder.join("instructions");
        let options = ["--tool=callgrind", "--dump-before=gate_mark"];
        let mut command = self.valgrind(&options, ("--callgrind-out-file", &path));
        let seen = self.scenarios(&mut command)?;
        let shape = |scenario: &Scenario| (scenario.name.clone(), scenario.windows, scenario.units);
        ensure!(
            seen.iter().map(shape).eq(scenarios.iter().map(shape)),
            "the harness does something else under valgrind"
        );
        let file = |number: u64| path.with_extension(number.to_string());
        let mut number = 0;
        let mut figures = Vec::new();
        for scenario in scenarios {
            let mut windows = Vec::new();
            for _ in 0..scenario.windows {
                number += 2;
                let text = std::fs::read_to_string(file(number));
                windows.push(total(&text.context("a file of callgrind")?)?);
            }
            windows.sort_unstable();
            let median = windows.get(windows.len() / 2);
            let median = *median.context("a scenario has windows")?;
            figures.push(median as f64 / scenario.units as f64);
        }
        ensure!(
            !file(number + 1).exists(),
            "callgrind has written more files than there are windows"
        );
        Ok(figures)
    }

    /// Bytes that the whole run of the program copied, by memcpy and its like.
    fn copied_bytes(&self, arguments: &[&str]) -> Result<u64> {
        let path = self.folder.join("copied");
        let options = ["--tool=dhat", "--mode=copy"];
        let mut command = self.valgrind(&options, ("--dhat-out-file", &path));
        self.scenarios(command.args(arguments))?;
        copied(&std::fs::read_to_string(&path)?)
    }
}

/// The sum of a file of callgrind.
fn total(text: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(line.context("callgrind tells no total")?.trim().parse()?)
}

/// The sum of a file of DHAT: `tb` are the bytes of a place in the program.
fn copied(text: &str) -> Result<u64> {
    let told: serde_json::Value = serde_json::from_str(text)?;
    let places = told["pps"].as_array().context("DHAT tells no places")?;
    let bytes = places.iter().map(|place| place["tb"].as_u64());
    bytes.sum::<Option<u64>>().context("DHAT tells no bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_a_name_and_five_numbers() {
        let scenario = Scenario {
            name: "produce_200_b".to_owned(),
            windows: 5,
            units: 50,
            payload_bytes: 270,
            allocations: 34,
            written_bytes: 271,
        };
        let parsed = Scenario::parse("produce_200_b 5 50 270 34 271").unwrap();
        assert_eq!(parsed, scenario);
        for line in ["", "a 1 2 3 4", "a 1 2 3 4 5 6", "a 1 2 3 4 x"] {
            assert!(Scenario::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn sums_of_valgrinds_files_are_read() {
        let text = "# callgrind format\npart: 2\nsummary: 12\n\nfn=(1) a\n80 12\n\ntotals: 12\n";
        assert_eq!(total(text).unwrap(), 12);
        assert!(total("part: 2\n").is_err());
        let text = r#"{"mode": "copy", "pps": [{"tb": 5, "fs": [1]}, {"tb": 7, "fs": [2]}]}"#;
        assert_eq!(copied(text).unwrap(), 12);
        assert!(copied(r#"{"pps": [{"fs": [1]}]}"#).is_err());
    }
}
