//! What a power loss leaves of what was not synced.

use std::ops::AddAssign;

use types::Prng;

use super::content::{Change, ChangeKind, Content, Fate};

/// What a device writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// What becomes of un-synced changes at a power loss. What a sync that said ok has covered stays in every case,
/// unless a fault says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// All of them survive.
    All,
    /// None of them does.
    None,
    /// Of each file, and of all names together, the changes up to a drawn one.
    Prefix,
    /// Of each file any sectors of 512 bytes; a file may keep a length whose bytes it lost. Any of the names.
    Torn,
    /// Of each file any of the changes, each whole. Any of the names.
    Reordered,
    /// One of these, drawn for each file and for the names.
    Mixed,
}

impl Survival {
    pub(super) fn draw(self, prng: &mut Prng) -> Survival {
        if self != Survival::Mixed {
            return self;
        }
        match prng.below(5) {
            0 => Survival::All,
            1 => Survival::None,
            2 => Survival::Prefix,
            3 => Survival::Torn,
            _ => Survival::Reordered,
        }
    }

    /// Its name in traces.
    pub fn name(self) -> &'static str {
        match self {
            Survival::All => "all",
            Survival::None => "none",
            Survival::Prefix => "prefix",
            Survival::Torn => "torn",
            Survival::Reordered => "reordered",
            Survival::Mixed => "mixed",
        }
    }

    /// Which of `count` changes in a row survive at least in part.
    pub(super) fn survivors(self, count: usize, prng: &mut Prng) -> Vec<bool> {
        let prefix = match self {
            Survival::All => count,
            Survival::None => 0,
            Survival::Prefix => prng.below(count as u64 + 1) as usize,
            Survival::Torn | Survival::Reordered | Survival::Mixed => {
                return (0..count).map(|_| prng.chance(1, 2)).collect();
            }
        };
        (0..count).map(|index| index < prefix).collect()
    }
}

/// What a power loss did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerLoss {
    /// Un-synced writes and lengths that survived whole.
    pub writes_kept: u64,
    /// Those of which a part survived.
    pub writes_torn: u64,
    /// Those that did not.
    pub writes_lost: u64,
    /// Un-synced changes of names that survived.
    pub names_kept: u64,
    /// Those that did not.
    pub names_lost: u64,
}

impl AddAssign for PowerLoss {
    fn add_assign(&mut self, other: PowerLoss) {
        self.writes_kept += other.writes_kept;
        self.writes_torn += other.writes_torn;
        self.writes_lost += other.writes_lost;
        self.names_kept += other.names_kept;
        self.names_lost += other.names_lost;
    }
}

/// Makes `content` what the power loss leaves of it.
pub(super) fn lose_power(content: &mut Content, survival: Survival, prng: &mut Prng) -> PowerLoss {
    let mut loss = PowerLoss::default();
    let survival = survival.draw(prng);
    let changes: Vec<Change> = content.changes.drain(..).collect();
    let survivors = survival.survivors(changes.len(), prng);
    for (change, survives) in changes.iter().zip(survivors) {
        match &change.kind {
            ChangeKind::Write { offset, bytes } if survival == Survival::Torn => {
                let kept = tear(content, *offset, bytes, survives, change.fate, prng);
                match kept {
                    Kept::All => loss.writes_kept += 1,
                    Kept::Some => loss.writes_torn += 1,
                    Kept::None => loss.writes_lost += 1,
                }
            }
            _ if survives => {
                content.land(change, change.fate);
                loss.writes_kept += 1;
            }
            _ => loss.writes_lost += 1,
        }
    }
    content.lose_cache(survival == Survival::All);
    loss
}

enum Kept {
    All,
    Some,
    None,
}

/// Puts some sectors of a write on the device. `lengthens`: it makes the file as long as the whole write would have.
fn tear(
    content: &mut Content,
    offset: u64,
    bytes: &[u8],
    lengthens: bool,
    fate: Fate,
    prng: &mut Prng,
) -> Kept {
    let end = offset + bytes.len() as u64;
    let (mut kept, mut lost) = (0, 0);
    let mut at = offset;
    while at < end {
        let next = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        let next = next.min(end);
        // What a device loses anyway is lost here too.
        if fate == Fate::Kept && prng.chance(1, 2) {
            let sector = &bytes[(at - offset) as usize..(next - offset) as usize];
            content.durable.write(at, sector);
            kept += 1;
        } else {
            lost += 1;
        }
        at = next;
    }
    if lengthens {
        let length = content.durable.length().max(end);
        content.durable.set_length(length);
    }
    match (kept, lost) {
        (_, 0) => Kept::All,
        (0, _) => Kept::None,
        _ => Kept::Some,
    }
}
