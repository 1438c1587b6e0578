//! The table of rooms: which crate may see which, and what kind of crate each one is.

/// What a crate is allowed to touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A sans-io crate: no async, clock, thread, file, socket or global state.
    Pure,
    /// The one door to the outside world.
    Runtime,
    /// Touches the outside only through the crate `runtime`.
    Inside,
    /// xtask: runs on a developer's machine.
    Chore,
    /// sim, jepsen and the packages under tests/: may see everything and are seen by nobody.
    Harness,
}

/// One crate of the table.
pub struct Room {
    /// Its short name: the folder's name, or `millrace` for the root package.
    pub name: &'static str,
    /// What it may touch.
    pub kind: Kind,
    /// The rooms it may depend on.
    pub sees: &'static [&'static str],
    /// The third-party crates it may depend on; `None` allows any but those of [`OWNED`].
    pub third_party: Option<&'static [&'static str]>,
}

/// The allowed arrows of docs/ARCHITECTURE.md.
pub const ROOMS: &[Room] = &[
    Room {
        name: "types",
        kind: Kind::Pure,
        sees: &[],
        third_party: Some(&[]),
    },
    Room {
        name: "protocol",
        kind: Kind::Pure,
        sees: &["types"],
        third_party: Some(&[
            "bytes",
            "crc-fast",
            "flate2",
            "lz4_flex",
            "snap",
            "thiserror",
            "zstd",
        ]),
    },
    machine("raft"),
    machine("replica"),
    machine("controller"),
    machine("coordinator"),
    Room {
        name: "runtime",
        kind: Kind::Runtime,
        sees: &["types"],
        third_party: None,
    },
    inside("storage", &["types", "protocol", "runtime"]),
    inside("client", &["types", "protocol", "runtime"]),
    inside(
        "broker",
        &[
            "types",
            "protocol",
            "raft",
            "replica",
            "controller",
            "coordinator",
            "runtime",
            "storage",
            "client",
        ],
    ),
    inside("admin", &["types", "runtime", "broker"]),
    inside(
        "cli",
        &[
            "types", "protocol", "runtime", "storage", "client", "broker", "admin",
        ],
    ),
    inside("millrace", &["cli"]),
    Room {
        name: "xtask",
        kind: Kind::Chore,
        sees: &["types", "protocol", "client"],
        third_party: None,
    },
];

/// Third-party crates that belong to one room each: whoever else wants them asks that room.
pub const OWNED: &[(&str, &[&str])] = &[
    ("tokio", &["runtime"]),
    ("madsim", &["runtime", "sim"]),
    ("madsim-tokio", &["runtime", "sim"]),
    ("rustix", &["runtime"]),
    ("libc", &["runtime"]),
    ("rand", &["runtime"]),
    ("getrandom", &["runtime"]),
    ("axum", &["admin"]),
    ("hyper", &["admin"]),
    ("clap", &["cli", "xtask"]),
];

const fn machine(name: &'static str) -> Room {
    Room {
        name,
        kind: Kind::Pure,
        sees: &["types", "protocol"],
        third_party: Some(&["bytes", "crc-fast", "thiserror"]),
    }
}

const fn inside(name: &'static str, sees: &'static [&'static str]) -> Room {
    Room {
        name,
        kind: Kind::Inside,
        sees,
        third_party: None,
    }
}

/// The room of that short name.
pub fn room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

/// Whether `name` is a machine: a pure crate that knows `protocol` only by its records and stored forms.
pub fn is_machine(name: &str) -> bool {
    matches!(name, "raft" | "replica" | "controller" | "coordinator")
}
