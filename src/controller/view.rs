//! What observers see of the controller, and of any metadata image.

use types::NodeId;

use crate::image::{MetadataImage, Provenance};
use crate::records;
use crate::snapshot::snapshot_records;

/// A borrowed look at the controller's state.
#[derive(Clone, Copy, Debug)]
pub struct ControllerView<'a> {
    /// The node it runs on.
    pub node_id: NodeId,
    /// The image after the last complete metadata transaction: what may be published.
    pub image: &'a MetadataImage,
    /// The last record replayed, which may stand in a transaction that is still open.
    pub replayed: Provenance,
    /// Whether a metadata transaction is open.
    pub in_transaction: bool,
}

/// FNV-1a's start and factor for 64 bits.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_FACTOR: u64 = 0x0000_0100_0000_01b3;

impl MetadataImage {
    /// A figure of everything the image says but where in a log it was read and the cluster's id: equal on every node
    /// that has replayed the same records, in every run of every build. It costs writing out the whole image.
    pub fn digest(&self) -> u64 {
        let mut digest = FNV_START;
        for record in snapshot_records(self) {
            let bytes = records::encode(&record).expect("what was replayed can be written");
            // The length parts one record from the next.
            for &byte in (bytes.len() as u64)
                .to_le_bytes()
                .iter()
                .chain(bytes.iter())
            {
                digest = (digest ^ u64::from(byte)).wrapping_mul(FNV_FACTOR);
            }
        }
        digest
    }
}
