//! `Parts`: the state that a composed queue keeps beside its buffer, and its options. `composed` describes how a queue uses them.

use super::deadline::{Deadlines, NEVER, Note};
use super::weight::Weights;
use crate::buffer::Fifo;
use crate::clock::Nanos;
use crate::histogram::Histogram;
use crate::shed::Shed;

/// The options of a composed queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct Composition {
    /// The bound on the weight of all items.
    pub max_weight: Option<u64>,
    pub shed: Option<Shed>,
    /// Whether the time that items wait is recorded.
    pub latency: bool,
}

impl Composition {
    pub(super) fn is_plain(&self) -> bool {
        self.max_weight.is_none() && self.shed.is_none() && !self.latency
    }
}

/// The attributes that a put gives its item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub weight: u64,
    pub due: Due,
}

impl Terms {
    /// Those of an item without attributes.
    pub const NONE: Self = Self { weight: 0, due: Due::Never };
}

/// When an item expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Never,
    /// So long after now.
    In(Nanos),
    At(Nanos),
}

/// What a composed queue has beside its buffer.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Of a buffer that does not keep them itself: in the order of arrival.
    pub(super) notes: Fifo<Note>,
    pub(super) deadlines: Deadlines,
    /// The putters that wait look again at this time at the latest, because an item may end then; 0 if none waits.
    pub(super) awaited_end: Nanos,
    /// An item has come that ends earlier, so they have to look earlier.
    pub(super) ends_sooner: bool,
    pub(super) weights: Weights,
    /// A batch of gets lingers until the items weigh so much together.
    pub(super) awaited_weight: Option<u64>,
    pub(super) shed: Option<Shed>,
    pub(super) latency: Option<Box<Histogram>>,
    /// The queue is not shut, and nothing but the notes is asked: what the fast paths ask (see `uncontended`).
    pub(super) is_everyday: bool,
}

impl Parts {
    pub(super) fn new(composition: &Composition) -> Self {
        Self {
            weights: Weights::new(composition.max_weight.unwrap_or(u64::MAX)),
            shed: composition.shed,
            latency: composition.latency.then(Box::default),
            ..Self::default()
        }
    }

    /// Items have notes, and nothing else is asked about them than whether their time has passed.
    pub(super) fn only_notes(&self) -> bool {
        self.shed.is_none() && !self.weights.is_bounded()
    }

    /// The note of an item that comes now.
    pub(super) fn note(&mut self, now: Nanos, terms: Terms, is_empty: bool) -> Note {
        let deadline = match terms.due {
            Due::Never => NEVER,
            Due::In(ttl) => now.saturating_add(ttl),
            Due::At(deadline) => deadline,
        };
        let mut note = Note::new(now, terms.weight).until(deadline);
        if let Some(Shed::AdaptiveLifo(rule)) = &mut self.shed {
            if is_empty {
                rule.empty_at(now);
            }
            note.shed_at = rule.patience(now);
        }
        note
    }

    /// An item has come in.
    #[inline]
    pub(super) fn count_in(&mut self, note: &Note) {
        self.deadlines.add(note.end());
        if note.end() < self.awaited_end {
            self.ends_sooner = true;
        }
        self.weights.add(note.weight);
    }

    /// An item with this note has been delivered.
    pub(super) fn delivered(&self, note: &Note, now: Nanos) {
        if let Some(latency) = &self.latency {
            latency.record_alone(note.waited(now));
        }
    }

    /// Nothing is left.
    pub(super) fn clear(&mut self) {
        self.notes = Fifo::default();
        self.deadlines = Deadlines::default();
        self.weights.clear();
    }
}
