//! Every scenario of `fault-scenarios` ends as it says.

use super::tests::files;
use super::{Ending, Scenario};
use crate::run::{Options, run};
use types::Plant;

#[test]
fn every_scenario_ends_as_expected() {
    let mut others = Vec::new();
    for (name, text) in files() {
        let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let planted = scenario.planted.as_deref();
        let planted = planted.map(|name| Plant::from_name(name).expect(name));
        let plan = scenario.plan.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "a world needs a thread that has hashed nothing"
        )]
        let thread = std::thread::spawn(move || {
            let options = Options {
                planted,
                ..Options::default()
            };
            run(&plan, options).verdict
        });
        let verdict = thread.join().expect("a run tells what it finds");
        let ending = scenario.judge(&verdict);
        if ending != Ending::AsExpected {
            others.push(format!("{ending} {name}: {verdict}"));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}
