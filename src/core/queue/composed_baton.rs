//! A queue that keeps notes of its items, for the holder of the baton (see `baton`): the notes lie beside the items there, and are
//! counted here. Each is a step of its own, because comparisons of items run between them.

use super::deadline::Note;
use super::parts::Terms;
use super::policy::DropReason;
use super::state::State;
use crate::buffer::Buffer;
use crate::clock::Nanos;
use crate::monitor::{Monitor, MonitorState};
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

/// For the holder of the baton, which keeps the notes beside the items (see `baton`).
impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    /// The time, if the queue keeps notes.
    pub fn now_if_composed(&self, proof: D::Proof<'_>) -> Option<Nanos> {
        self.section.with(proof, |state| state.parts.is_some().then(|| state.wait_queues.clock.now()))
    }

    /// The note of an item that is about to be put, if there is anything to note.
    pub fn note(&self, proof: D::Proof<'_>, terms: Terms) -> Option<Note> {
        self.section.with(proof, |state| {
            if state.parts.is_none() && terms == Terms::NONE {
                return None;
            }
            let now = state.wait_queues.clock.now();
            Some(state.note(now, terms).expect("a buffer that keeps its notes itself needs no memory to begin"))
        })
    }

    /// True if a put that arrives now, and can wait, has to wait behind others because their items may be heavier.
    pub fn is_barred_by_weight(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.room_by_weight().is_some() && state.is_barred_by_weight())
    }

    /// Records that the item with this note has been stored.
    pub fn count_in(&self, proof: D::Proof<'_>, note: &Note) {
        self.section.with(proof, |state| {
            if let Some(parts) = &mut state.parts {
                parts.count_in(note);
            }
        });
    }

    /// Records that the item with this note has left: delivered, or dropped by the policy.
    pub fn count_out(&self, proof: D::Proof<'_>, note: &Note, is_delivered: bool) {
        self.section.with(proof, |state| {
            let now = state.wait_queues.clock.now();
            if let Some(parts) = &mut state.parts {
                parts.weights.remove(note.weight);
                if is_delivered {
                    parts.delivered(note, now);
                }
            }
        });
    }

    /// Records that the item with this note has been dropped, for this reason.
    pub fn count_lost(&self, proof: D::Proof<'_>, note: &Note, reason: DropReason) {
        self.section.with(proof, |state| {
            state.overflow.dropped[reason as usize] += 1;
            state.count_discarded(1);
            if let Some(parts) = &mut state.parts {
                parts.weights.remove(note.weight);
            }
        });
    }

    /// The time, if there is no room for an item of this weight and another item may have expired.
    pub fn now_if_lapsed(&self, proof: D::Proof<'_>, weight: u64) -> Option<Nanos> {
        self.section.with(proof, |state| {
            let parts = state.parts.as_ref().filter(|_| !state.fits(weight))?;
            let now = state.wait_queues.clock.now();
            parts.deadlines.may_have_passed(now).then_some(now)
        })
    }

    /// Records that the holder has dropped every expired item and has put the others back. The room is offered to the waiters first.
    pub fn looked_through(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            let State { buffer, parts, .. } = &mut *state;
            if let Some(parts) = parts {
                parts.deadlines.begin_again(buffer.notes().map(Note::end));
            }
            state.wake_all_eligible(wakes);
        })
        .0
    }
}
