//! The suites there are, what each needs installed, and the broker it expects.

use std::process::{Command, Stdio};

/// One folder of `tests/clients/`.
pub struct Suite {
    /// The folder's name.
    pub name: &'static str,
    /// Programs that must be there, each with an argument that makes it print its version and end well.
    pub needs: &'static [(&'static str, &'static str)],
    /// Whether it needs Apache Kafka's jars.
    pub jars: bool,
    /// Whether it starts brokers of its own.
    pub own_brokers: bool,
    /// The broker's configs, beside those of [`PROFILE`].
    pub profile: &'static [(&'static str, &'static str)],
    /// The port that its tests take for granted; used if nobody listens there.
    pub port: Option<u16>,
    /// How long it may take, installing and building included.
    pub seconds_max: u64,
}

/// What every suite expects of the broker.
pub const PROFILE: &[(&str, &str)] = &[
    ("auto.create.topics.enable", "true"),
    ("default.replication.factor", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
];

const PARTITIONS_4: &[(&str, &str)] = &[("num.partitions", "4")];

const SHORT_SESSIONS: &[(&str, &str)] = &[
    ("num.partitions", "4"),
    ("group.min.session.timeout.ms", "1000"),
];

/// Every suite, the quick ones first.
pub const SUITES: &[Suite] = &[
    suite("kcat", &[("kcat", "-V")], PARTITIONS_4, 240),
    Suite {
        jars: true,
        ..suite("java", JAVA, PARTITIONS_4, 600)
    },
    Suite {
        jars: true,
        own_brokers: true,
        ..suite("kafka-directories", DIRECTORIES, PARTITIONS_4, 900)
    },
    suite(
        "kafkajs",
        &[("node", "--version"), ("npm", "--version")],
        PARTITIONS_4,
        300,
    ),
    suite("franz-go", &[("go", "version")], PARTITIONS_4, 900),
    suite("confluent-kafka", PYTHON, PARTITIONS_4, 300),
    suite("kafka-python", PYTHON, SHORT_SESSIONS, 900),
    suite(
        "librdkafka",
        &[
            ("npm", "--version"),
            ("make", "--version"),
            ("cc", "--version"),
        ],
        PARTITIONS_4,
        1800,
    ),
    Suite {
        port: Some(9092),
        ..suite(
            "rust-rdkafka",
            &[("make", "--version"), ("cc", "--version")],
            &[("num.partitions", "3")],
            1500,
        )
    },
];

const JAVA: &[(&str, &str)] = &[
    ("java", "-version"),
    ("javac", "-version"),
    ("mvn", "--version"),
];
const DIRECTORIES: &[(&str, &str)] = &[
    ("java", "-version"),
    ("javac", "-version"),
    ("mvn", "--version"),
    ("python3", "--version"),
];
const PYTHON: &[(&str, &str)] = &[("python3", "--version")];

const fn suite(
    name: &'static str,
    needs: &'static [(&'static str, &'static str)],
    profile: &'static [(&'static str, &'static str)],
    seconds_max: u64,
) -> Suite {
    Suite {
        name,
        needs,
        jars: false,
        own_brokers: false,
        port: None,
        profile,
        seconds_max,
    }
}

/// The programs that `suite` needs and that are not there.
pub fn missing(suite: &Suite) -> Vec<&'static str> {
    absent(suite.needs)
}

/// The programs among `needs` that are not there.
pub fn absent(needs: &[(&'static str, &str)]) -> Vec<&'static str> {
    let is_absent = |(program, argument): &&(&'static str, &str)| {
        let mut command = Command::new(program);
        command
            .arg(argument)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        !command.status().is_ok_and(|status| status.success())
    };
    needs
        .iter()
        .filter(is_absent)
        .map(|(program, _)| *program)
        .collect()
}
