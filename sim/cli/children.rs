//! Processes that each run one seed, and cores that are kept busy with them.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use sim::plan::Profile;
use sim::verdict::Verdict;

use super::name_of;

/// How often a waiting command line looks around.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How much of what a process says on its way down is kept.
const LAST_WORDS_MAX: usize = 400;
/// The exit code of a process in which something reached past the simulation.
const EXIT_LEAK: i32 = runtime::simulated::leaks::EXIT_CODE;

/// What one process runs.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub seed: u64,
    pub profile: Profile,
    pub plant: Option<&'static str>,
    pub control: Option<&'static str>,
    pub is_benchmark: bool,
    pub without_checkers: bool,
}

impl Job {
    /// A seed as it is.
    pub(super) fn new(seed: u64, profile: Profile) -> Job {
        Job {
            seed,
            profile,
            plant: None,
            control: None,
            is_benchmark: false,
            without_checkers: false,
        }
    }

    /// The arguments after `cargo sim`.
    pub(super) fn arguments(&self) -> Vec<String> {
        let (seed, profile) = (self.seed.to_string(), name_of(self.profile));
        if self.is_benchmark {
            return ["run", "--seed", &seed, "--benchmark"]
                .map(str::to_owned)
                .into();
        }
        let mut words: Vec<String> = ["run", "--seed", &seed, "--profile", profile]
            .map(str::to_owned)
            .into();
        for (word, value) in [("--plant", self.plant), ("--control", self.control)] {
            words.extend(
                value
                    .into_iter()
                    .flat_map(|value| [word, value])
                    .map(str::to_owned),
            );
        }
        words.extend(self.without_checkers.then(|| "--no-checkers".to_owned()));
        words
    }

    /// What a person types to see it again.
    pub(super) fn replay(&self) -> String {
        format!("cargo sim {}", self.arguments().join(" "))
    }
}

/// How a process ended.
pub(super) enum End {
    /// With a verdict.
    Verdict(Box<Verdict>),
    /// Without: why.
    Died(String),
}

/// What a process said, and how it ended.
pub(super) struct Said {
    pub out: String,
    pub err: String,
    /// The exit code, or why there is none.
    pub code: Result<i32, String>,
}

/// Starts processes.
#[derive(Clone, Debug)]
pub(super) struct Runner {
    binary: PathBuf,
    time: Duration,
}

impl Runner {
    /// Of this executable; none of its processes may take longer than `seconds` of real time.
    pub(super) fn new(seconds: u64) -> Result<Runner, String> {
        let binary = std::env::current_exe().map_err(|error| error.to_string())?;
        Ok(Runner::of(&binary, seconds))
    }

    /// Of another executable.
    pub(super) fn of(binary: &Path, seconds: u64) -> Runner {
        Runner {
            binary: binary.to_owned(),
            time: Duration::from_secs(seconds),
        }
    }

    /// Runs a job in a fresh process.
    pub(super) fn run(&self, job: &Job) -> End {
        let mut words = job.arguments();
        words.push("--json".into());
        let said = self.say(&words);
        match &said.code {
            Ok(0 | 1 | 3) => match serde_json::from_str(said.out.trim()) {
                Ok(verdict) => End::Verdict(Box::new(verdict)),
                Err(error) => End::Died(format!("its verdict cannot be read: {error}")),
            },
            _ => End::Died(said.why()),
        }
    }

    /// Runs this executable with `words` in a fresh process.
    pub(super) fn say(&self, words: &[impl AsRef<std::ffi::OsStr>]) -> Said {
        let started = Command::new(&self.binary)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        match started {
            Ok(child) => hear(child, self.time),
            Err(error) => Said {
                out: String::new(),
                err: String::new(),
                code: Err(format!("it does not start: {error}")),
            },
        }
    }
}

/// Reads what a process says until it ends, or its time is over.
fn hear(mut child: Child, time: Duration) -> Said {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let end = Instant::now() + time;
    let (tell, told) = channel();
    let (text, last_words, late) = std::thread::scope(|scope| {
        let said = scope.spawn(move || {
            let text = all_of(&mut out);
            let _ = tell.send(());
            text
        });
        let last_words = scope.spawn(move || all_of(&mut err));
        let wait = end.saturating_duration_since(Instant::now());
        let late = told.recv_timeout(wait) == Err(RecvTimeoutError::Timeout);
        if late {
            let _ = child.kill();
        }
        let text = said.join().unwrap_or_default();
        (text, last_words.join().unwrap_or_default(), late)
    });
    let code = match child.wait() {
        _ if late => Err(format!("it did not end within {} s", time.as_secs())),
        Ok(status) => status.code().ok_or_else(|| status.to_string()),
        Err(error) => Err(error.to_string()),
    };
    Said {
        out: text,
        err: last_words,
        code,
    }
}

fn all_of(from: &mut Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let _ = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Said {
    /// Why it ended without a verdict, in a line.
    pub(super) fn why(&self) -> String {
        let how = match &self.code {
            Ok(EXIT_LEAK) => "something reached past the simulation".to_owned(),
            Ok(code) => format!("exit code {code}"),
            Err(reason) => reason.clone(),
        };
        let words = self.err.trim().replace('\n', " | ");
        let skipped = words.chars().count().saturating_sub(LAST_WORDS_MAX);
        let words: String = words.chars().skip(skipped).collect();
        if words.is_empty() {
            how
        } else {
            format!("{how}: {words}")
        }
    }
}

/// How many processes run at once.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Cores {
    /// Processes at once; without it, one for each core.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Real seconds that one run may take.
    #[arg(long, value_name = "SECONDS", default_value = "300")]
    pub seconds_max: u64,
}

impl Cores {
    /// How many.
    pub(super) fn count(self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.unwrap_or_else(all).max(1)
    }
}

/// Does `work` on all `items`, `count` at once; hands each result to `done` here, with nothing when it is time to look
/// around.
pub(super) fn for_each<I: Send, T: Send>(
    count: usize,
    items: impl Iterator<Item = I> + Send,
    work: impl Fn(I) -> T + Sync,
    mut done: impl FnMut(Option<T>),
) {
    let items = Mutex::new(items);
    let (tell, told) = channel();
    std::thread::scope(|scope| {
        for _ in 0..count {
            let (tell, items, work) = (tell.clone(), &items, &work);
            scope.spawn(move || {
                loop {
                    let item = items.lock().expect("no iterator panics").next();
                    let Some(item) = item else { return };
                    if tell.send(work(item)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        loop {
            match told.recv_timeout(LOOK_EVERY) {
                Ok(result) => done(Some(result)),
                Err(RecvTimeoutError::Timeout) => done(None),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    });
}

/// Words of a command line.
pub(super) fn words(texts: &[&str]) -> Vec<OsString> {
    texts.iter().map(OsString::from).collect()
}
