//! The controller: what a cluster's metadata is, and who may change it how.
//!
//! Pure and event-sourced. `Controller::decide` reads the state and yields records and an answer; the driver appends the
//! records to `__cluster_metadata`, feeds them to `Controller::replay`, and gives the answer once they are committed.
//! The same replay builds the state after a restart, and in every broker: [`MetadataImage`] is what the log says.

pub mod configs;
pub mod error;
pub mod image;
pub mod records;
pub mod request;

pub use image::MetadataImage;
pub use records::MetadataRecord;
