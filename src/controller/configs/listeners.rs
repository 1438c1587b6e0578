//! Listeners: where a node binds, and what it tells others to connect to.

use std::collections::{BTreeMap, BTreeSet};

use super::static_config::StaticConfigError;
use super::table::broker_keys;
use super::value::split_list;
use crate::image::{Endpoint, SecurityProtocol};

/// One listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Its name, in capitals.
    pub name: String,
    /// Host or address; empty for all addresses of the machine.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

/// All listeners of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listeners {
    /// Where clients and brokers connect: bind these.
    pub broker: Vec<Listener>,
    /// Where controllers connect; a single node need not open them.
    pub controller: Vec<Listener>,
    /// What clients are told, for each of `broker`, by name.
    pub advertised: Vec<Listener>,
    /// The listener between brokers.
    pub inter_broker: String,
}

impl Listeners {
    /// What the broker registers with: an advertised port of 0 takes the port that `bound` gives for the listener,
    /// an empty advertised host takes `host_name`.
    pub fn endpoints(&self, host_name: &str, bound: &BTreeMap<String, u16>) -> Vec<Endpoint> {
        self.advertised
            .iter()
            .map(|listener| Endpoint {
                listener: listener.name.clone(),
                host: if listener.host.is_empty() {
                    host_name.to_owned()
                } else {
                    listener.host.clone()
                },
                port: match listener.port {
                    0 => bound.get(&listener.name).copied().unwrap_or(0),
                    port => port,
                },
                security_protocol: SecurityProtocol::Plaintext.code(),
            })
            .collect()
    }
}

type Texts = BTreeMap<String, String>;

/// Reads everything that is said about listeners.
pub(super) fn parse_listeners(texts: &Texts) -> Result<Listeners, StaticConfigError> {
    let text = value(texts, "listeners").unwrap_or_default();
    let all = parse_list("listeners", &text)?;
    if all.is_empty() {
        return Err(StaticConfigError::combination(
            "listeners",
            &text,
            "must name at least one listener",
        ));
    }
    unique("listeners", &text, &all)?;
    let names = value(texts, "controller.listener.names").unwrap_or_default();
    let controller_names = split_list(&names.to_ascii_uppercase());
    let is_controller = |listener: &Listener| controller_names.contains(&listener.name);
    let (controller, broker): (Vec<_>, Vec<_>) = all.into_iter().partition(is_controller);
    if broker.is_empty() {
        return Err(StaticConfigError::combination(
            "listeners",
            &text,
            "must name a listener that is not in controller.listener.names",
        ));
    }
    check_protocols(texts, broker.iter().chain(&controller))?;
    let advertised = advertised(texts, &broker, &controller_names)?;
    let inter_broker = inter_broker(texts, &advertised)?;
    Ok(Listeners {
        broker,
        controller,
        advertised,
        inter_broker,
    })
}

fn value(texts: &Texts, key: &str) -> Option<String> {
    let default = || broker_keys()[key].default.map(str::to_owned);
    texts.get(key).cloned().or_else(default)
}

fn parse_list(key: &'static str, text: &str) -> Result<Vec<Listener>, StaticConfigError> {
    let parsed: Option<Vec<Listener>> = split_list(text)
        .iter()
        .map(|entry| parse_one(entry))
        .collect();
    parsed.ok_or_else(|| {
        StaticConfigError::combination(key, text, "must be a list of NAME://host:port with commas")
    })
}

fn parse_one(text: &str) -> Option<Listener> {
    let (name, address) = text.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if name.is_empty() || !name.bytes().all(is_name) || host.contains('/') {
        return None;
    }
    Some(Listener {
        name: name.to_ascii_uppercase(),
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

fn unique(key: &'static str, text: &str, listeners: &[Listener]) -> Result<(), StaticConfigError> {
    let names: BTreeSet<&str> = listeners.iter().map(|l| l.name.as_str()).collect();
    if names.len() != listeners.len() {
        return Err(StaticConfigError::combination(
            key,
            text,
            "must name each listener once",
        ));
    }
    let addresses: BTreeSet<(&str, u16)> = listeners
        .iter()
        .filter(|l| l.port != 0)
        .map(|l| (l.host.as_str(), l.port))
        .collect();
    if addresses.len() != listeners.iter().filter(|l| l.port != 0).count() {
        return Err(StaticConfigError::combination(
            key,
            text,
            "must name each address once",
        ));
    }
    Ok(())
}

fn check_protocols<'a>(
    texts: &Texts,
    listeners: impl Iterator<Item = &'a Listener>,
) -> Result<(), StaticConfigError> {
    const KEY: &str = "listener.security.protocol.map";
    let text = value(texts, KEY).unwrap_or_default();
    let mut protocols = BTreeMap::new();
    for entry in split_list(&text) {
        let Some((name, protocol)) = entry.split_once(':') else {
            return Err(StaticConfigError::combination(
                KEY,
                &text,
                "must be a list of NAME:PROTOCOL with commas",
            ));
        };
        let protocol = protocol.to_ascii_uppercase();
        let Some(protocol) = SecurityProtocol::from_name(&protocol) else {
            return Err(StaticConfigError::combination(
                KEY,
                &text,
                "must map to one of: PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
            ));
        };
        protocols.insert(name.to_ascii_uppercase(), protocol);
    }
    let given = texts.contains_key(KEY);
    for listener in listeners {
        match protocols.get(&listener.name) {
            Some(SecurityProtocol::Plaintext) => {}
            Some(protocol) => {
                return Err(StaticConfigError::combination(
                    KEY,
                    &format!("{}:{protocol:?}", listener.name),
                    "must be PLAINTEXT: TLS and SASL are not served yet",
                ));
            }
            // As in Kafka, a controller's listener needs no entry where the map is not given.
            None if !given && listener.name == "CONTROLLER" => {}
            None => {
                return Err(StaticConfigError::combination(
                    KEY,
                    &text,
                    format!("must give listener {} a protocol", listener.name),
                ));
            }
        }
    }
    Ok(())
}

fn advertised(
    texts: &Texts,
    broker: &[Listener],
    controller_names: &[String],
) -> Result<Vec<Listener>, StaticConfigError> {
    const KEY: &str = "advertised.listeners";
    let Some(text) = texts.get(KEY) else {
        if let Some(listener) = broker
            .iter()
            .find(|l| l.host == "0.0.0.0" || l.host == "::")
        {
            return Err(StaticConfigError::combination(
                KEY,
                "(unset)",
                format!(
                    "must be set, as clients cannot connect to {}",
                    listener.host
                ),
            ));
        }
        return Ok(broker.to_vec());
    };
    let mut advertised = parse_list(KEY, text)?;
    advertised.retain(|listener| !controller_names.contains(&listener.name));
    unique(KEY, text, &advertised)?;
    for listener in &advertised {
        if !broker.iter().any(|l| l.name == listener.name) {
            return Err(StaticConfigError::combination(
                KEY,
                text,
                format!("must not name {}, which is not in listeners", listener.name),
            ));
        }
        if listener.host == "0.0.0.0" || listener.host == "::" {
            return Err(StaticConfigError::combination(
                KEY,
                text,
                "must not be an address that means all addresses",
            ));
        }
    }
    if advertised.is_empty() {
        return Err(StaticConfigError::combination(
            KEY,
            text,
            "must name at least one listener for clients",
        ));
    }
    Ok(advertised)
}

fn inter_broker(texts: &Texts, advertised: &[Listener]) -> Result<String, StaticConfigError> {
    const KEY: &str = "inter.broker.listener.name";
    let Some(name) = texts.get(KEY) else {
        // Kafka takes the listener called PLAINTEXT; with one node it does not matter which.
        let plaintext = advertised.iter().find(|l| l.name == "PLAINTEXT");
        return Ok(plaintext.unwrap_or(&advertised[0]).name.clone());
    };
    let name = name.to_ascii_uppercase();
    if advertised.iter().any(|listener| listener.name == name) {
        return Ok(name);
    }
    Err(StaticConfigError::combination(
        KEY,
        &name,
        "must be one of the advertised listeners",
    ))
}
