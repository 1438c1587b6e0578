//! What every machine gives back: a list of actions, and among them notes of what happened.

use std::fmt;

/// A line for trace, golden transcript and coverage mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note {
    /// What happened: fixed words, the name of its coverage mark.
    pub what: &'static str,
    /// Up to three named figures; unused ones have an empty name.
    pub figures: [(&'static str, i64); 3],
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "note: {}", self.what)?;
        for (name, figure) in self.figures.iter().filter(|(name, _)| !name.is_empty()) {
            write!(f, ", {name} {figure}")?;
        }
        Ok(())
    }
}

/// The actions of one or more steps, in order. The driver keeps one and empties it after each step.
#[derive(Debug)]
pub struct Actions<A> {
    items: Vec<A>,
}

impl<A> Default for Actions<A> {
    fn default() -> Actions<A> {
        Actions { items: Vec::new() }
    }
}

impl<A> Actions<A> {
    /// An empty list.
    pub fn new() -> Actions<A> {
        Actions::default()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes every action out, in order; the room is kept for the next step.
    pub fn drain(&mut self) -> std::vec::Drain<'_, A> {
        self.items.drain(..)
    }

    /// The actions, in order.
    pub fn as_slice(&self) -> &[A] {
        &self.items
    }

    /// Adds one.
    pub fn push(&mut self, action: A) {
        self.items.push(action);
    }

    /// Adds a note with at most three figures.
    pub fn note(&mut self, what: &'static str, figures: &[(&'static str, i64)])
    where
        A: From<Note>,
    {
        assert!(figures.len() <= 3, "a note has at most three figures");
        let mut all = [("", 0); 3];
        all[..figures.len()].copy_from_slice(figures);
        self.push(Note { what, figures: all }.into());
    }
}
