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
        let options = Options {
            planted: planted.map(|name| Plant::from_name(name).expect(name)),
            ..Options::default()
        };
        let verdict = run(&scenario.plan, options).verdict;
        let ending = scenario.judge(&verdict);
        if ending != Ending::AsExpected {
            others.push(format!("{ending} {name}: {verdict}"));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}
