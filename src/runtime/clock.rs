//! A node's two clocks.

use types::{Mono, Now};

use crate::half;

/// A node's clocks, made once when the node starts and given to everything that reads time. Cheap to clone.
///
/// `Now::mono` counts from the clock's making; it never goes back and never steps. `Now::wall` may step both ways.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: half::clock::Origin,
}

impl Clock {
    /// A clock whose monotonic reading begins now, at [`Mono::START`].
    pub fn start() -> Clock {
        Clock {
            origin: half::clock::Origin::now(),
        }
    }

    /// Both clocks, read one right after the other.
    pub fn now(&self) -> Now {
        Now {
            mono: self.mono(),
            wall: self.origin.wall(),
        }
    }

    /// The monotonic clock alone.
    pub fn mono(&self) -> Mono {
        Mono::START + self.origin.passed()
    }

    /// Where the monotonic reading began.
    pub(crate) fn origin(&self) -> &half::clock::Origin {
        &self.origin
    }
}

/// The wall clock of the current node.
#[cfg(madsim)]
pub(crate) fn wall() -> types::Wall {
    half::clock::wall()
}
