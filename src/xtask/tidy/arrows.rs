//! Arrows between crates go one way, and a pure crate's manifest proves that it is pure.

use super::Finding;
use super::manifest::{Crate, Dependency};
use super::rooms::{Kind, OWNED, room};

/// Findings of every manifest against the table of rooms.
pub fn check(crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in crates {
        if one.kind.is_none() {
            let message = format!(
                "crate `{}` is not in the table of rooms: add it to src/xtask/tidy/rooms.rs and docs/ARCHITECTURE.md",
                one.name
            );
            findings.push(Finding::new(&one.manifest(), one.line_of("name"), message));
            continue;
        }
        for dependency in &one.dependencies {
            if let Some(message) = judge(one, dependency) {
                findings.push(Finding::new(&one.manifest(), dependency.line, message));
            }
        }
    }
    findings
}

/// Why `one` may not have this dependency, if it may not.
fn judge(one: &Crate, dependency: &Dependency) -> Option<String> {
    let name = &dependency.name;
    if one.kind == Some(Kind::Harness) {
        return None;
    }
    let table = room(&one.name)?;
    if dependency.own {
        // The root package's tests are about the whole, and nobody sees them.
        let is_test_of_whole = one.name == "millrace" && dependency.dev;
        let allowed = is_test_of_whole || table.sees.contains(&name.as_str());
        return (!allowed).then(|| {
            format!(
                "arrow {} -> {name} is not allowed; {} may see [{}]: move the code, or ask a room above both",
                one.name,
                one.name,
                table.sees.join(", ")
            )
        });
    }
    let owner = OWNED.iter().find(|(owned, _)| owned == name);
    if let Some((_, owners)) = owner
        && !owners.contains(&one.name.as_str())
    {
        return Some(format!(
            "`{name}` belongs to {}: use what that crate offers instead",
            owners.join(" and ")
        ));
    }
    match table.third_party {
        Some(listed) if !dependency.dev && !listed.contains(&name.as_str()) => Some(format!(
            "pure crate `{}` may not depend on `{name}`; it may use [{}]: keep the outside in the driver",
            one.name,
            listed.join(", ")
        )),
        _ => None,
    }
}
