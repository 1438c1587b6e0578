//! Scenarios again.

use std::path::{Path, PathBuf};

use sim::run::{Options, run};
use sim::scenario::Scenario;

use super::children::{Cores, Runner, for_each, words};
use super::one::Watching;
use super::{plant_of, read};

/// The exit code of wrong use.
const WRONG: u8 = 2;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Scenarios or plans, or folders of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    watching: Watching,
    #[command(flatten)]
    cores: Cores,
}

/// Runs scenarios and compares with what they expect. Of many, the worst counts: wrong use, then another end, then stale.
pub(super) fn replay(arguments: &Arguments) -> Result<u8, String> {
    let mut files = Vec::new();
    for path in &arguments.files {
        files.extend(files_of(path)?);
    }
    match files.as_slice() {
        [] => Err("no scenario is there".into()),
        [one] => replay_one(one, &arguments.watching),
        _ if arguments.watching.is_wanted() => {
            Err("--trace, --edn, --history and --log are for one file".into())
        }
        _ => replay_many(files, arguments.cores),
    }
}

/// The file, or every scenario in the folder.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn replay_one(path: &Path, watching: &Watching) -> Result<u8, String> {
    let name = path.display();
    let scenario = Scenario::parse(&read(path)?).map_err(|error| format!("{name}: {error}"))?;
    let planted = scenario.planted.as_deref().map(plant_of).transpose()?;
    let options = Options {
        planted,
        ..watching.options()?
    };
    let histories = watching.histories()?;
    let outcome = run(&scenario.plan, options);
    histories.write(&outcome.history)?;
    let verdict = outcome.verdict;
    let ending = scenario.judge(&verdict);
    sayln!("{ending} {name}: {}", scenario.title);
    sayln!("  {verdict}");
    Ok(ending.exit_code())
}

fn replay_many(files: Vec<PathBuf>, cores: Cores) -> Result<u8, String> {
    let runner = Runner::new(cores.seconds_max)?;
    let count = files.len();
    let (mut as_expected, mut worst) = (0, 0);
    let replay = |path: PathBuf| {
        let mut arguments = words(&["replay"]);
        arguments.push(path.clone().into());
        (path, runner.say(&arguments))
    };
    for_each(cores.count(), files.into_iter(), replay, |result| {
        let Some((path, said)) = result else { return };
        let code = match said.code {
            Ok(code @ (0 | 1 | 3)) => code as u8,
            Ok(2) => WRONG,
            _ => 1,
        };
        as_expected += u32::from(code == 0);
        if rank(code) > rank(worst) {
            worst = code;
        }
        if said.out.is_empty() {
            sayln!("DIED    {}: {}", path.display(), said.why());
        } else {
            super::say::print(format_args!("{}", said.out));
        }
    });
    sayln!("{as_expected} of {count} scenarios as expected");
    Ok(worst)
}

fn rank(code: u8) -> u8 {
    match code {
        0 => 0,
        3 => 1,
        WRONG => 3,
        _ => 2,
    }
}
