//! Planted bugs: mutants that exist only in the simulation build.

/// The names of the planted bugs, one for each row of the catalogue that has been planted.
///
/// Outside simulation [`planted!`](crate::planted) is the constant `false`, so no trace of a mutant is in a shipped binary.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u16)]
#[non_exhaustive]
pub enum Plant {
    /// An acknowledgement leaves before the flush that it waits for has ended.
    AckBeforeFlush = 1,
    /// A duplicate produce request is appended again instead of being answered with its first offset.
    DuplicateAppended = 2,
    /// Recovery keeps a torn tail instead of cutting it.
    TornTailKept = 3,
}

impl Plant {
    /// Every planted bug.
    pub const ALL: &'static [Plant] = &[
        Plant::AckBeforeFlush,
        Plant::DuplicateAppended,
        Plant::TornTailKept,
    ];
}

#[cfg(madsim)]
mod active {
    use super::Plant;
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<Option<Plant>> = const { Cell::new(None) };
        static ACTIVATIONS: Cell<u64> = const { Cell::new(0) };
    }

    /// Chooses the mutant of this run, or none.
    pub fn choose(plant: Option<Plant>) {
        CHOSEN.with(|chosen| chosen.set(plant));
        ACTIVATIONS.with(|count| count.set(0));
    }

    /// Whether `plant` is chosen; counts an activation if so.
    pub fn is_active(plant: Plant) -> bool {
        let active = CHOSEN.with(|chosen| chosen.get()) == Some(plant);
        if active {
            ACTIVATIONS.with(|count| count.set(count.get() + 1));
        }
        active
    }

    /// How often the chosen mutant acted.
    pub fn activations() -> u64 {
        ACTIVATIONS.with(Cell::get)
    }
}

#[cfg(madsim)]
impl Plant {
    /// Chooses the mutant of this run, or none.
    pub fn choose(plant: Option<Plant>) {
        active::choose(plant);
    }

    /// Whether this mutant is chosen; counts an activation if so.
    pub fn is_active(self) -> bool {
        active::is_active(self)
    }

    /// How often the chosen mutant acted in this run.
    pub fn activations() -> u64 {
        active::activations()
    }
}

/// Whether the named planted bug acts here: `planted!(AckBeforeFlush)`.
///
/// The constant `false` outside simulation.
#[macro_export]
macro_rules! planted {
    ($name:ident) => {{
        #[cfg(madsim)]
        let active = $crate::Plant::$name.is_active();
        #[cfg(not(madsim))]
        let active = false;
        active
    }};
}
