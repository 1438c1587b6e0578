//! Actions as lines of a transcript. Member ids are random: they are shown as @1, @2, ... in order of appearance.

use std::fmt::Write;

use bytes::Bytes;
use types::ErrorCode;

use crate::groups::image::Change;
use crate::groups::subscription::subscribed_topics;
use crate::groups::*;

/// A drawn member id ends in a UUID.
const UUID_CHARACTERS: usize = 36;

#[derive(Default)]
pub(super) struct Names {
    /// Member ids; the first is @1.
    ids: Vec<String>,
}

impl Names {
    /// The member id behind `@n`; anything else, and a number that has not appeared, stands for itself.
    pub(super) fn id(&self, name: &str) -> String {
        let number = name.strip_prefix('@').and_then(|n| n.parse::<usize>().ok());
        let id = number.and_then(|number| self.ids.get(number.checked_sub(1)?));
        id.cloned().unwrap_or_else(|| name.to_owned())
    }

    fn name(&mut self, id: &str) -> String {
        if id.len() <= UUID_CHARACTERS {
            return format!("{id:?}");
        }
        let index = self.ids.iter().position(|known| known == id);
        let index = index.unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        format!("@{}", index + 1)
    }

    pub(super) fn show(&mut self, action: &Action) -> String {
        match action {
            Action::Note { what, group } if group.is_empty() => format!("note: {what}"),
            Action::Note { what, group } => format!("note: {what} ({group})"),
            Action::Append { id, records } => {
                let records: Vec<String> = records.iter().map(|r| self.record(r)).collect();
                format!("append {id}: {}", records.join("; "))
            }
            Action::Reply { token, response } => {
                format!("reply {token}: {}", self.response(response))
            }
        }
    }

    fn record(&mut self, record: &CoordinatorRecord) -> String {
        let change = Change::decode(Some(record.key.clone()), record.value.clone());
        match change.expect("our own record").expect("our own kind") {
            Change::Offset {
                group,
                topic,
                partition,
                value: None,
            } => format!("{group} {topic}-{partition} gone"),
            Change::Offset {
                group,
                topic,
                partition,
                value: Some(value),
            } => {
                let mut text = format!("{group} {topic}-{partition} = {}", value.offset);
                if !value.metadata.is_empty() {
                    write!(text, " {:?}", value.metadata).expect("a string");
                }
                if let Some(expires_at) = value.expires_at {
                    let after_ms = expires_at - value.committed_at;
                    write!(text, " for {after_ms} ms").expect("a string");
                }
                text
            }
            Change::Group { group, value: None } => format!("{group} gone"),
            Change::Group {
                group,
                value: Some(value),
            } => self.stored_group(&group, &value),
        }
    }

    fn stored_group(&mut self, group: &str, value: &StoredGroup) -> String {
        let members: Vec<String> = value
            .members
            .iter()
            .map(|member| {
                let instance = member.group_instance_id.as_deref();
                let instance = instance.map_or(String::new(), |id| format!("/{id}"));
                let id = self.name(&member.member_id);
                format!("{id}{instance}:{}", text(&member.assignment))
            })
            .collect();
        let leader = value.leader.as_deref().map(|id| self.name(id));
        format!(
            "{group} generation {} {:?}/{} leader {} [{}]",
            value.generation,
            value.protocol_type,
            value.protocol_name.as_deref().unwrap_or("-"),
            leader.as_deref().unwrap_or("-"),
            members.join(" ")
        )
    }

    fn response(&mut self, response: &Response) -> String {
        match response {
            Response::JoinGroup(Ok(joined)) => self.joined(joined),
            Response::JoinGroup(Err(failure)) => {
                let code = failure.error.code();
                format!("join {code} me {}", self.name(&failure.member_id))
            }
            Response::SyncGroup(result) => match result {
                Ok(synced) => format!("sync ok {}", text(&synced.assignment)),
                Err(error) => format!("sync {}", error.code()),
            },
            Response::Heartbeat(result) => format!("heartbeat {}", code(result, |e| e.code())),
            Response::LeaveGroup(Err(error)) => format!("leave {}", error.code()),
            Response::LeaveGroup(Ok(left)) => {
                let left = left.iter().map(|member| {
                    let instance = member.group_instance_id.as_deref();
                    let instance = instance.map_or(String::new(), |id| format!("/{id}"));
                    let code = code(&member.result, |e| e.code());
                    format!("{}{instance} {code}", self.name(&member.member_id))
                });
                format!("leave ok [{}]", left.collect::<Vec<_>>().join(", "))
            }
            Response::ListGroups(Err(error)) => format!("list {}", error.code()),
            Response::ListGroups(Ok(groups)) => {
                let groups = groups
                    .iter()
                    .map(|g| format!("{} {:?} {}", g.group_id, g.protocol_type, g.state));
                format!("list [{}]", groups.collect::<Vec<_>>().join(", "))
            }
            Response::DescribeGroups(results) => {
                let results = results.iter().map(|result| match &result.result {
                    Ok(group) => format!("{} {}", result.group_id, self.described(group)),
                    Err(error) => format!("{} {}", result.group_id, error.code()),
                });
                format!("describe {}", results.collect::<Vec<_>>().join("; "))
            }
            Response::DeleteGroups(results) => {
                let results = results
                    .iter()
                    .map(|r| format!("{} {}", r.group_id, code(&r.result, |e| e.code())));
                format!("delete {}", results.collect::<Vec<_>>().join(", "))
            }
            Response::OffsetCommit(_) | Response::OffsetFetch(_) | Response::OffsetDelete(_) => {
                offsets(response)
            }
        }
    }

    fn joined(&mut self, joined: &JoinedGroup) -> String {
        let me = self.name(&joined.member_id);
        let members: Vec<String> = joined
            .members
            .iter()
            .map(|member| {
                let instance = member.group_instance_id.as_deref();
                let instance = instance.map_or(String::new(), |id| format!("/{id}"));
                let id = self.name(&member.member_id);
                format!("{id}{instance}:{}", metadata(&member.metadata))
            })
            .collect();
        format!(
            "join ok generation {} {}/{} leader {} me {me}{} [{}]",
            joined.generation_id,
            joined.protocol_type.as_deref().unwrap_or("-"),
            joined.protocol_name.as_deref().unwrap_or("-"),
            self.name(&joined.leader),
            if joined.skip_assignment { " skip" } else { "" },
            members.join(" ")
        )
    }

    fn described(&mut self, group: &DescribedGroup) -> String {
        let members: Vec<String> = group
            .members
            .iter()
            .map(|member| {
                let instance = member.group_instance_id.as_deref();
                let instance = instance.map_or(String::new(), |id| format!("/{id}"));
                let id = self.name(&member.member_id);
                let metadata = metadata(&member.metadata);
                format!("{id}{instance}:{metadata}:{}", text(&member.assignment))
            })
            .collect();
        format!(
            "{} {:?}/{:?} [{}]",
            group.state,
            group.protocol_type,
            group.protocol_name,
            members.join(" ")
        )
    }
}

fn code<T, E: Copy>(result: &Result<T, E>, code: impl Fn(E) -> ErrorCode) -> ErrorCode {
    match result {
        Ok(_) => ErrorCode::None,
        Err(error) => code(*error),
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A consumer's topics, or whatever the bytes say.
fn metadata(bytes: &Bytes) -> String {
    match subscribed_topics(bytes) {
        Some(topics) => topics.into_iter().collect::<Vec<_>>().join("+"),
        None => text(bytes),
    }
}

fn offsets(response: &Response) -> String {
    let mut parts = Vec::new();
    let name = match response {
        Response::OffsetCommit(Err(error)) => return format!("commit {}", error.code()),
        Response::OffsetFetch(Err(error)) => return format!("fetch {}", error.code()),
        Response::OffsetDelete(Err(error)) => return format!("offset-delete {}", error.code()),
        Response::OffsetCommit(Ok(topics)) => {
            for topic in topics {
                for (partition, result) in &topic.partitions {
                    let code = code(result, |e| e.code());
                    parts.push(format!("{}-{partition} {code}", topic.topic));
                }
            }
            "commit"
        }
        Response::OffsetDelete(Ok(topics)) => {
            for topic in topics {
                for (partition, result) in &topic.partitions {
                    let code = code(result, |e| e.code());
                    parts.push(format!("{}-{partition} {code}", topic.topic));
                }
            }
            "offset-delete"
        }
        Response::OffsetFetch(Ok(topics)) => {
            for topic in topics {
                for fetched in &topic.partitions {
                    let mut part =
                        format!("{}-{} = {}", topic.topic, fetched.partition, fetched.offset);
                    if fetched.leader_epoch >= 0 {
                        write!(part, " epoch {}", fetched.leader_epoch).expect("a string");
                    }
                    if !fetched.metadata.is_empty() {
                        write!(part, " {:?}", fetched.metadata).expect("a string");
                    }
                    parts.push(part);
                }
            }
            "fetch"
        }
        _ => unreachable!("only responses about offsets come here"),
    };
    format!("{name} ok [{}]", parts.join(", "))
}
