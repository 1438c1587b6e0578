//! What there is: checkers, kinds of faults, marks, planted bugs, negative controls.

use sim::checkers::CheckerId;
use sim::controls::CONTROLS;
use sim::marks::{FAULTS, MARKS};
use types::Plant;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only these; without it, everything.
    #[arg(value_enum)]
    what: Option<What>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Checkers,
    Faults,
    Marks,
    Mutants,
    Controls,
}

/// Lists names with what they mean.
pub(super) fn list(arguments: &Arguments) {
    let all = [
        What::Checkers,
        What::Faults,
        What::Marks,
        What::Mutants,
        What::Controls,
    ];
    for what in all {
        if arguments.what.is_none() {
            sayln!("{}", title(what));
        }
        if arguments.what.is_none_or(|wanted| wanted == what) {
            for (name, meaning) in rows(what) {
                sayln!("  {name:<30} {meaning}");
            }
        }
    }
}

fn title(what: What) -> &'static str {
    match what {
        What::Checkers => "checkers",
        What::Faults => "kinds of faults",
        What::Marks => "marks",
        What::Mutants => "mutants",
        What::Controls => "negative controls",
    }
}

fn rows(what: What) -> Vec<(&'static str, &'static str)> {
    match what {
        What::Checkers => {
            let all = CheckerId::ALL.iter();
            all.map(|one| (one.name(), one.meaning())).collect()
        }
        What::Faults => FAULTS.to_vec(),
        What::Marks => MARKS.iter().map(|one| (one.name, one.meaning)).collect(),
        What::Mutants => Plant::ALL
            .iter()
            .map(|one| (one.name(), one.what()))
            .collect(),
        What::Controls => CONTROLS.iter().map(|one| (one.name, one.meaning)).collect(),
    }
}
