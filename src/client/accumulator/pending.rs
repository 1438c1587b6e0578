//! One batch on its way: it grows, is built when it is attempted, and may be unbuilt if it never left.

use protocol::records::{Batch, BatchBuilder, CompressionSpec};
use runtime::sync::oneshot;
use types::{Mono, ProducerEpoch, ProducerId};

use crate::error::{DeliveryError, Error};
use crate::producer::RecordMetadata;

/// Who waits for a record's delivery.
pub(crate) type DeliverySender = oneshot::Sender<Result<RecordMetadata, DeliveryError>>;

/// A batch on its way.
#[derive(Debug)]
pub(crate) struct PendingBatch {
    pub(super) content: Content,
    /// Of the first record, once attempted.
    pub(crate) sequence: Option<i32>,
    /// Attempts that left, or may have left, this process.
    pub(super) attempts: u32,
    /// Whether an attempt ended without the broker's word.
    pub(super) is_uncertain: bool,
    pub(super) created: Mono,
    pub(super) buffered_bytes: usize,
    /// Timestamp and waiter of each record.
    pub(super) deliveries: Vec<(i64, DeliverySender)>,
    /// What the last attempt ended with.
    pub(super) last_error: Option<Error>,
}

/// Its records.
#[derive(Debug)]
pub(super) enum Content {
    Open(BatchBuilder),
    Built(Batch),
    /// In the middle of a conversion.
    Taken,
}

impl PendingBatch {
    pub(super) fn record_count(&self) -> i32 {
        self.deliveries.len() as i32
    }

    pub(super) fn is_attempted(&self) -> bool {
        matches!(self.content, Content::Built(_))
    }

    pub(super) fn size_bytes(&self) -> usize {
        match &self.content {
            Content::Open(builder) => builder.size_bytes(),
            Content::Built(batch) => batch.size_bytes(),
            Content::Taken => 0,
        }
    }

    /// The bytes to send; only of a batch that [`super::Accumulator::drain`] gave.
    pub(crate) fn batch(&self) -> &Batch {
        match &self.content {
            Content::Built(batch) => batch,
            Content::Open(_) | Content::Taken => panic!("a drained batch is built"),
        }
    }

    pub(super) fn build(&mut self, identity: Option<(ProducerId, ProducerEpoch)>, sequence: i32) {
        let Content::Open(mut builder) = std::mem::replace(&mut self.content, Content::Taken)
        else {
            panic!("a batch is built once");
        };
        if let Some((id, epoch)) = identity {
            builder = builder.producer(id, epoch, sequence);
            self.sequence = Some(sequence);
        }
        self.content = Content::Built(builder.build());
    }

    /// Makes it as if it had never been attempted.
    ///
    /// # Errors
    /// If its own records cannot be read, which is a defect of the builder.
    pub(super) fn unbuild(&mut self, compression: CompressionSpec) -> Result<(), Error> {
        let mut builder = BatchBuilder::new(0).compression(compression);
        for record in self.batch().records() {
            builder.append_record(&record?);
        }
        self.content = Content::Open(builder);
        self.sequence = None;
        Ok(())
    }
}
