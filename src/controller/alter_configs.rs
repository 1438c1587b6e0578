//! Changing dynamic configs of topics and brokers.

use std::collections::{BTreeMap, BTreeSet};

use protocol::stored::ConfigRecord;
use types::NodeId;

use crate::configs::{
    ConfigError, ConfigKey, ConfigType, Reason, UpdateMode, append_list, broker_key,
    parse_overrides, subtract_list, topic_keys, validate_topic_configs,
};
use crate::controller::{Controller, Decision};
use crate::error::AlterConfigError;
use crate::image::{ConfigMap, ConfigResource, ConfigResourceType};
use crate::records::MetadataRecord;
use crate::request::{
    AlterConfigs, AlterConfigsReply, AlterOp, AlterOperation, IncrementalAlterConfigs,
    ResourceName, Response,
};

/// The one text with a grammar of its own among the broker configs that may change at any time.
const CONNECTION_OVERRIDES: &str = "max.connections.per.ip.overrides";
/// Number of the resource type "loggers of a broker".
const BROKER_LOGGER: i8 = 8;

/// Changes some configs of each resource; those of one resource all or none.
pub(crate) fn incremental(controller: &Controller, request: &IncrementalAlterConfigs) -> Decision {
    let names = request.resources.iter().map(|(name, _)| name);
    let changes = request
        .resources
        .iter()
        .map(|(name, ops)| (name, plan(controller, name, ops)));
    decide(controller, names, changes, request.validate_only)
}

/// Replaces all configs of each resource: what is not named goes back to what is in force without it.
pub(crate) fn legacy(controller: &Controller, request: &AlterConfigs) -> Decision {
    let names = request.resources.iter().map(|(name, _)| name);
    let changes = request.resources.iter().map(|(name, configs)| {
        let plan = resource(controller, name).and_then(|resource| {
            let ops = replacing(controller, &resource, configs);
            plan(controller, name, &ops)
        });
        (name, plan)
    });
    decide(controller, names, changes, request.validate_only)
}

/// The changes that leave exactly `configs`.
fn replacing(
    controller: &Controller,
    resource: &ConfigResource,
    configs: &[(String, Option<String>)],
) -> Vec<AlterOp> {
    let named: BTreeSet<&String> = configs.iter().map(|(key, _)| key).collect();
    let image = controller.replayer.latest();
    let current = image
        .config(resource)
        .into_iter()
        .flat_map(|configs| configs.keys());
    let deleted = current
        .filter(|key| !named.contains(key))
        .map(|key| AlterOp {
            key: key.clone(),
            operation: 1,
            value: None,
        });
    let set = configs.iter().map(|(key, value)| AlterOp {
        key: key.clone(),
        operation: 0,
        value: value.clone(),
    });
    set.chain(deleted).collect()
}

type Plan = Result<(ConfigResource, BTreeMap<String, Option<String>>), AlterConfigError>;

fn decide<'a>(
    controller: &Controller,
    names: impl Iterator<Item = &'a ResourceName>,
    plans: impl Iterator<Item = (&'a ResourceName, Plan)>,
    validate_only: bool,
) -> Decision {
    let limit = controller.config.limits.metadata_records_per_operation_max;
    let mut times: BTreeMap<&ResourceName, usize> = BTreeMap::new();
    for name in names {
        *times.entry(name).or_default() += 1;
    }
    let mut answered = BTreeSet::new();
    let mut records: Vec<MetadataRecord> = Vec::new();
    let mut replies = Vec::new();
    for (name, plan) in plans {
        if !answered.insert(name) {
            continue;
        }
        let result = match plan {
            _ if times[name] > 1 => Err(AlterConfigError::DuplicateResource),
            Ok((_, changes)) if records.len() + changes.len() > limit => {
                Err(AlterConfigError::TooMany { max: limit })
            }
            Ok((resource, changes)) => {
                if !validate_only {
                    records.extend(
                        changes
                            .into_iter()
                            .map(|(key, value)| record(&resource, key, value)),
                    );
                }
                Ok(())
            }
            Err(error) => Err(error),
        };
        replies.push(AlterConfigsReply {
            resource: name.clone(),
            result,
        });
    }
    Decision::atomic(records, Response::AlterConfigs(replies))
}

fn record(resource: &ConfigResource, key: String, value: Option<String>) -> MetadataRecord {
    ConfigRecord {
        resource_type: resource.kind.code(),
        resource_name: resource.name.clone(),
        name: key,
        value,
        ..ConfigRecord::default()
    }
    .into()
}

/// The resource that a name means.
fn resource(
    controller: &Controller,
    name: &ResourceName,
) -> Result<ConfigResource, AlterConfigError> {
    if name.resource_type == BROKER_LOGGER {
        return Err(AlterConfigError::NotServed("Loggers of brokers"));
    }
    let Some(kind) = ConfigResourceType::from_code(name.resource_type) else {
        return Err(AlterConfigError::UnknownType(name.resource_type));
    };
    let image = controller.replayer.latest();
    match kind {
        ConfigResourceType::ClientMetrics => {
            return Err(AlterConfigError::NotServed(
                "Subscriptions of client metrics",
            ));
        }
        ConfigResourceType::Group => {
            return Err(AlterConfigError::NotServed("Configs of single groups"));
        }
        ConfigResourceType::Topic if image.topic(&name.name).is_none() => {
            return Err(AlterConfigError::UnknownTopic(name.name.clone()));
        }
        ConfigResourceType::Broker if !name.name.is_empty() => {
            let id: NodeId = name
                .name
                .parse()
                .map_err(|_| AlterConfigError::BrokerName(name.name.clone()))?;
            if image.broker(id).is_none() {
                return Err(AlterConfigError::UnknownBroker(id));
            }
            return Ok(ConfigResource::broker(id));
        }
        ConfigResourceType::Topic | ConfigResourceType::Broker => {}
    }
    Ok(ConfigResource {
        kind,
        name: name.name.clone(),
    })
}

/// What the operations on one resource change: only what differs.
fn plan(controller: &Controller, name: &ResourceName, ops: &[AlterOp]) -> Plan {
    let resource = resource(controller, name)?;
    let empty = ConfigMap::new();
    let image = controller.replayer.latest();
    let current = image.config(&resource).map_or(&empty, |configs| &**configs);
    let mut new = current.clone();
    let mut touched = ConfigMap::new();
    let mut seen = BTreeSet::new();
    for op in ops {
        if !seen.insert(&op.key) {
            return Err(AlterConfigError::DuplicateKey(op.key.clone()));
        }
        match new_value(controller, &resource, current, op)? {
            Some(value) => {
                touched.insert(op.key.clone(), value.clone());
                new.insert(op.key.clone(), value);
            }
            None => {
                new.remove(&op.key);
            }
        }
    }
    match resource.kind {
        ConfigResourceType::Topic => {
            validate_topic_configs(&touched, &new, &controller.config.limits)?;
        }
        _ => validate_broker_configs(&touched)?,
    }
    let mut changes = BTreeMap::new();
    for op in ops {
        if new.get(&op.key) != current.get(&op.key) {
            changes.insert(op.key.clone(), new.get(&op.key).cloned());
        }
    }
    Ok((resource, changes))
}

/// The value of a key after one operation; none if it is removed.
fn new_value(
    controller: &Controller,
    resource: &ConfigResource,
    current: &ConfigMap,
    op: &AlterOp,
) -> Result<Option<String>, AlterConfigError> {
    let Some(operation) = AlterOperation::from_code(op.operation) else {
        return Err(AlterConfigError::Operation(op.operation));
    };
    let key = match resource.kind {
        ConfigResourceType::Topic => topic_keys().get(op.key.as_str()),
        _ => broker_key(&op.key),
    };
    if let Some(key) = key
        && resource.kind == ConfigResourceType::Broker
    {
        check_update_mode(key, &op.key, resource)?;
    }
    if operation == AlterOperation::Delete {
        return Ok(None);
    }
    let Some(value) = &op.value else {
        return Err(AlterConfigError::NoValue(op.key.clone()));
    };
    if operation == AlterOperation::Set {
        return Ok(Some(value.clone()));
    }
    if key.is_none_or(|key| key.kind != ConfigType::List) {
        return Err(AlterConfigError::NotAList {
            key: op.key.clone(),
            operation: operation.name(),
        });
    }
    let view = controller.config_view();
    let in_force = match (current.get(&op.key), resource.kind, key) {
        (Some(value), _, _) => value.clone(),
        (None, ConfigResourceType::Topic, Some(key)) => {
            view.topic_value(current, key).unwrap_or_default()
        }
        (None, _, _) => view.broker_value(&op.key).unwrap_or_default(),
    };
    Ok(Some(match operation {
        AlterOperation::Append => append_list(&in_force, value),
        _ => subtract_list(&in_force, value),
    }))
}

/// Whether a broker config may change while brokers run, for one or for all.
fn check_update_mode(
    key: &ConfigKey,
    name: &str,
    resource: &ConfigResource,
) -> Result<(), AlterConfigError> {
    let is_prefixed = name != key.name;
    let only_with_prefix = key.name.starts_with("ssl.") && !is_prefixed;
    match key.update {
        UpdateMode::ReadOnly => Err(AlterConfigError::ReadOnly(name.to_owned())),
        _ if only_with_prefix => Err(AlterConfigError::OnlyPerListener(name.to_owned())),
        UpdateMode::PerBroker if resource.name.is_empty() => {
            Err(AlterConfigError::PerBroker(name.to_owned()))
        }
        UpdateMode::PerBroker | UpdateMode::ClusterWide => Ok(()),
    }
}

fn validate_broker_configs(touched: &ConfigMap) -> Result<(), AlterConfigError> {
    for (name, value) in touched {
        let Some(key) = broker_key(name) else {
            return Err(ConfigError::unknown_broker_key(name).into());
        };
        match key.parse_and_validate(value) {
            Ok(_) => {}
            Err(error @ ConfigError::Value { .. }) => {
                return Err(AlterConfigError::BrokerValue(error));
            }
            Err(error) => return Err(error.into()),
        }
        if key.name == CONNECTION_OVERRIDES && parse_overrides(value).is_none() {
            return Err(AlterConfigError::BrokerValue(ConfigError::Value {
                key: name.clone(),
                value: value.clone(),
                allowed: "must be a list of address:number with commas".to_owned(),
            }));
        }
        // Keys of this kind would have an effect that a running broker of ours does not follow.
        if matches!(
            name.as_str(),
            "listeners" | "listener.security.protocol.map"
        ) {
            return Err(ConfigError::NotServed {
                key: name.clone(),
                value: value.clone(),
                allowed: "set it in the broker's file and restart".to_owned(),
                reason: Reason::Unserved.text(),
            }
            .into());
        }
    }
    Ok(())
}
