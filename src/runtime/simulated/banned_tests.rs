//! No crate that the simulation cannot make deterministic is among what simulated code is built from.

use std::process::Command;

/// Packages and the starts of their versions. What they do that madsim does not reach: the raw system call for
/// entropy, addresses as seeds of hashers, a clock that is spun on, threads of their own.
const BANNED: &[(&str, &str)] = &[
    ("rand", "0.8."),
    ("rand_core", "0.6."),
    ("getrandom", "0.2."),
    ("ring", ""),
    ("ahash", ""),
    ("hashbrown", ""),
    ("fastrand", ""),
    ("quanta", ""),
    ("metrics-exporter-prometheus", ""),
    ("metrics-util", ""),
    ("moka", ""),
    ("governor", ""),
    ("rayon", ""),
    ("async-std", ""),
    ("smol", ""),
    ("hyper-util", ""),
    ("reqwest", ""),
];

/// The crates whose code is simulated; what they see is simulated too.
const SIMULATED: &[&str] = &["millrace-broker", "millrace-client", "millrace-storage"];

/// The banned packages of a tree as `cargo tree --prefix depth --no-dedupe` prints it, each with who needs it. What
/// madsim itself needs is its own affair.
fn banned_in(tree: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut above: Vec<&str> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        let depth: usize = line[..digits]
            .parse()
            .expect("a line begins with its depth");
        let mut words = line[digits..].split(' ');
        let name = words.next().expect("a package has a name");
        let version = words.next().expect("a package has a version");
        above.truncate(depth);
        above.push(name);
        if above.iter().any(|name| name.starts_with("madsim")) {
            continue;
        }
        let version = version.trim_start_matches('v');
        let is_banned = |banned: &&(&str, &str)| banned.0 == name && version.starts_with(banned.1);
        if BANNED.iter().find(is_banned).is_some() {
            found.push(format!("{name} {version}, by {}", above.join(" > ")));
        }
    }
    found
}

#[test]
fn no_banned_crate_is_in_the_tree() {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args([
        "tree",
        "--offline",
        "--edges",
        "normal",
        "--no-dedupe",
        "--prefix",
        "depth",
    ]);
    for package in SIMULATED {
        command.args(["--package", package]);
    }
    let output = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("RUSTFLAGS", "--cfg madsim")
        .output()
        .expect("cargo runs");
    let (tree, said) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let tree = String::from_utf8(tree).expect("names are text");
    assert!(tree.contains("millrace-storage"), "{tree}");
    assert_eq!(banned_in(&tree), Vec::<String>::new());
}

#[test]
fn a_planted_banned_crate_is_found() {
    let tree = "0millrace-broker v0.1.0 (/broker)\n1bytes v1.12.1\n1madsim v0.2.34\n2rand v0.8.5\n1helper v2.0.0\n\
                2rand v0.9.1\n2ahash v0.8.11\n\n0millrace-client v0.1.0 (/client)\n1getrandom v0.2.15\n";
    let expected = [
        "ahash 0.8.11, by millrace-broker > helper > ahash",
        "getrandom 0.2.15, by millrace-client > getrandom",
    ];
    assert_eq!(banned_in(tree), expected);
}
