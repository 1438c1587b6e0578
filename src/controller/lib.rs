//! The controller: what a cluster's metadata is, and who may change it how.
//!
//! Pure and event-sourced. [`Controller::decide`] reads the state and yields records and an answer; the driver appends the
//! records to `__cluster_metadata`, feeds them to [`Controller::replay`], and gives the answer once they are committed.
//! The same replay builds the state after a restart, and in every broker: [`MetadataImage`] is what the log says.

mod alter_configs;
mod apply;
mod brokers;
pub mod configs;
mod controller;
pub mod error;
pub mod features;
pub mod image;
mod placement;
pub mod records;
pub mod replay;
pub mod request;
pub mod snapshot;
mod topics;
mod view;

#[cfg(test)]
mod facts_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod test_support;

pub use controller::{Controller, ControllerConfig, Decision};
pub use features::SUPPORTED_FEATURES;
pub use image::{
    BrokerImage, ConfigResource, ConfigResourceType, DIRECTORY_LOST, DIRECTORY_UNASSIGNED,
    Endpoint, FeatureRange, MetadataImage, NO_LEADER, PartitionImage, TopicImage,
};
pub use records::MetadataRecord;
pub use replay::{BatchPosition, Change, ReplayError, Replayer};
pub use request::{CreatableTopic, CreateTopicReply, Request, Response};
pub use topics::{METADATA_TOPIC, TOPIC_NAME_LENGTH_MAX, check_topic_name, is_valid_topic_name};
pub use view::ControllerView;
