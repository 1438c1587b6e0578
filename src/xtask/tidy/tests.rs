//! The rules themselves are tested: each case plants one breach into a tidy tree and names the one finding it must give.

use super::check;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn this_tree_is_tidy() {
    let findings = check(&crate::tree::root()).expect("the tree can be read");
    let listed: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(
        listed.is_empty(),
        "{} findings:\n{}",
        listed.len(),
        listed.join("\n")
    );
}

#[test]
fn a_tidy_tree_has_no_findings() {
    assert_eq!(Tree::new("tidy").findings(), Vec::<String>::new());
}

/// Name of the case, file to write, its text, where the finding is, a part of its message.
type Breach<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

#[rustfmt::skip]
const BREACHES: &[Breach] = &[
    ("todo", STORAGE, "fn a() { todo!() }", "src/storage/lib.rs:1", "`todo!`"),
    ("unimplemented", STORAGE, "\nfn a() { unimplemented!() }", "src/storage/lib.rs:2", "`unimplemented!`"),
    ("dbg", STORAGE, "#[cfg(test)]\nmod tests { fn a() { dbg!(1); } }", "src/storage/lib.rs:2", "`dbg!`"),
    ("mark", STORAGE, concat!("// FIX", "ME later\n"), "src/storage/lib.rs:1", "limitation"),
    ("files", STORAGE, "use std::fs::File;", "src/storage/lib.rs:1", "runtime::disk"),
    ("threads", STORAGE, "fn a() { std::thread::spawn(f); }", "src/storage/lib.rs:1", "runtime::task"),
    ("sockets", STORAGE, "use std::net::{IpAddr,\n TcpStream};", "src/storage/lib.rs:1", "runtime::net"),
    ("clock", STORAGE, "fn a() { Instant::now(); }", "src/storage/lib.rs:1", "runtime::Clock"),
    ("calendar", STORAGE, "fn a() { SystemTime::now(); }", "src/storage/lib.rs:1", "runtime::Clock"),
    ("tokio", STORAGE, "use tokio::net;", "src/storage/lib.rs:1", "what runtime offers"),
    ("simulated", STORAGE, "#[cfg(madsim)]\nfn a() {}", "src/storage/lib.rs:1", "behind runtime"),
    ("prints", STORAGE, "fn a() { println!(); }", "src/storage/lib.rs:1", "tracing"),
    ("unbiased", STORAGE, "fn a() { select! { a = b => {} } }", "src/storage/lib.rs:1", "biased"),
    ("async", TYPES, "async fn a() {}", "src/types/lib.rs:1", "driver's"),
    ("map", TYPES, "use std::collections::HashMap;", "src/types/lib.rs:1", "BTreeMap"),
    ("set", TYPES, "use std::collections::HashSet;", "src/types/lib.rs:1", "BTreeSet"),
    ("global", TYPES, "static A: OnceLock<u8> = new();", "src/types/lib.rs:1", "construction"),
    ("machine", RAFT, "use protocol::messages::X;", "src/raft/lib.rs:1", "handlers convert"),
    ("dead", "src/types/unused.rs", "", "src/types/unused.rs:1", "dead file"),
    ("lost", TYPES, "mod nowhere;", "src/types/lib.rs:1", "leads to no file"),
    ("title", "docs/PAGE.md", "No title.\n", "docs/PAGE.md:1", "begins with its title"),
    ("titles", "docs/PAGE.md", "# One\n\n# Two\n", "docs/PAGE.md:3", "one title"),
    ("entry", "src/xtask/tidy/ratchet.toml", "\"src/x.rs::y\" = 80\n", "src/xtask/tidy/ratchet.toml:1", "is gone"),
    ("excuse", "src/xtask/tidy/exceptions.toml", "[\"src/x.rs\"]\n\"std::fs\" = \"a long reason\"\n", "src/xtask/tidy/exceptions.toml:1", "remove the exception"),
];

#[test]
fn planted_breaches_are_found() {
    BREACHES.iter().for_each(finds);
}

#[rustfmt::skip]
#[test]
fn planted_sizes_are_found() {
    let function = format!("//! Long.\n\nfn long() {{\n{}}}\n", "    call();\n".repeat(71));
    finds(&("function", TYPES, &function, "src/types/lib.rs:3", "71 lines of code"));
    finds(&("file", TYPES, &"//! Longer.\n".repeat(601), "src/types/lib.rs:601", "600 are allowed"));
    let reasoned = format!("//! Size: a table.\n{}", "// line\n".repeat(900));
    finds(&("hard", TYPES, &reasoned, "src/types/lib.rs:901", "900 at most"));
}

#[rustfmt::skip]
#[test]
fn planted_arrows_are_found() {
    let raft = manifest("raft", &["types", "storage"], &[]);
    finds(&("arrow", "src/raft/Cargo.toml", &raft, "src/raft/Cargo.toml:11", "arrow raft -> storage"));
    let types = manifest("types", &[], &["bytes"]);
    finds(&("pure", "src/types/Cargo.toml", &types, "src/types/Cargo.toml:10", "pure crate"));
    let storage = manifest("storage", &[], &["tokio"]);
    finds(&("owned", "src/storage/Cargo.toml", &storage, "src/storage/Cargo.toml:10", "belongs to runtime"));
    let cellar = manifest("cellar", &[], &[]).replace("lib.rs", "../types/lib.rs");
    finds(&("unknown", "src/cellar/Cargo.toml", &cellar, "src/cellar/Cargo.toml:2", "table of rooms"));
}

/// Plants the breach into a tidy tree and wants exactly its finding.
fn finds((name, path, text, place, message): &Breach) {
    let tree = Tree::new(name);
    tree.write(path, text);
    let findings = tree.findings();
    assert_eq!(findings.len(), 1, "{name}: {findings:?}");
    assert!(
        findings[0].starts_with(&format!("{place}: ")),
        "{name}: {findings:?}"
    );
    assert!(findings[0].contains(message), "{name}: {findings:?}");
}

#[test]
fn what_only_looks_like_a_breach_is_left_alone() {
    let cases: &[(&str, &str)] = &[
        (
            "comment",
            "// std::fs and todo!() and /* HashMap */\n/* std::fs /* nested */ todo!() */",
        ),
        (
            "string",
            "const A: &str = \"std::fs \\\" todo!()\"; const B: &str = r#\"\" std::fs \"#;",
        ),
        (
            "character",
            "fn a<'a>(b: &'a str) -> char { '\"' } // \"\nconst C: &[u8] = b\"todo!()\";",
        ),
        ("tests", "#[cfg(test)]\nmod tests {\n    use std::fs;\n}"),
        (
            "biased",
            "fn a() { select! {\n    biased;\n    a = b => {} } }",
        ),
        (
            "address",
            "use std::net::SocketAddr;\nfn a() { f(SocketAddr::from(x)) }",
        ),
        (
            "longer word",
            "fn a() { mytodo!(); std::fsx::y(); tokios::x(); }",
        ),
        ("inline modules", "mod a { mod b; }"),
    ];
    for (name, text) in cases {
        let tree = Tree::new(name);
        tree.write(STORAGE, text);
        if *name == "inline modules" {
            tree.write("src/storage/a/b.rs", "");
        }
        assert_eq!(tree.findings(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_ratchet_excuses_and_only_shrinks() {
    let text = |lines| format!("fn long() {{\n{}}}\n", "    call();\n".repeat(lines));
    let tree = Tree::new("ratchet");
    tree.write(TYPES, &text(80));
    tree.write(
        "src/xtask/tidy/ratchet.toml",
        "\"src/types/lib.rs::long\" = 80\n",
    );
    assert_eq!(tree.findings(), Vec::<String>::new());
    tree.write(TYPES, &text(81));
    assert!(tree.findings()[0].contains("grew from 80 to 81"));
    tree.write(TYPES, &text(75));
    assert!(tree.findings()[0].contains("the ratchet says 80"));
    super::sizes::shrink(&tree.root).expect("the ratchet can be written");
    assert_eq!(tree.findings(), Vec::<String>::new());
    tree.write(TYPES, &text(70));
    super::sizes::shrink(&tree.root).expect("the ratchet can be written");
    let ratchet = fs::read_to_string(tree.root.join("src/xtask/tidy/ratchet.toml"));
    assert!(!ratchet.expect("the ratchet stays").contains("::long"));
}

const STORAGE: &str = "src/storage/lib.rs";
const TYPES: &str = "src/types/lib.rs";
const RAFT: &str = "src/raft/lib.rs";

fn manifest(name: &str, own: &[&str], others: &[&str]) -> String {
    let mut text = format!(
        "[package]\nname = \"millrace-{name}\"\nversion = \"0.1.0\"\n\n[lib]\nname = \"{name}\"\npath = \"lib.rs\"\n\n[dependencies]\n"
    );
    own.iter()
        .for_each(|one| text.push_str(&format!("{one}.workspace = true\n")));
    others
        .iter()
        .for_each(|one| text.push_str(&format!("{one} = \"1\"\n")));
    text
}

/// A small workspace in a folder of its own, removed when the test ends.
struct Tree {
    root: PathBuf,
}

impl Tree {
    fn new(name: &str) -> Tree {
        let unique = format!(
            "millrace-tidy-{}-{}",
            std::process::id(),
            name.replace(' ', "-")
        );
        let root = std::env::temp_dir().join(unique);
        let tree = Tree { root };
        let mut top = String::from("[workspace.dependencies]\n");
        for room in ["types", "protocol", "storage", "raft"] {
            top.push_str(&format!(
                "{room} = {{ path = \"src/{room}\", package = \"millrace-{room}\" }}\n"
            ));
            tree.write(&format!("src/{room}/Cargo.toml"), &manifest(room, &[], &[]));
            tree.write(&format!("src/{room}/lib.rs"), "//! A room.\n");
        }
        tree.write("Cargo.toml", &top);
        tree.write("docs/PAGE.md", "# Title\n\n```\n# no title\n```\n");
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    }

    fn findings(&self) -> Vec<String> {
        let findings = check(&self.root).expect("the tree can be read");
        findings.iter().map(ToString::to_string).collect()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}
