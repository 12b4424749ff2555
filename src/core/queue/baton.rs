//! The slow way, for buffers whose order needs foreign code: heaps of items with their own `<`, classes with overridden hooks.
//!
//! Foreign code cannot run inside the section. So the operation takes a *baton*, works outside, and gives the baton back together
//! with the result. Whoever comes meanwhile waits for the baton, in a line of its own; what the foreign code itself puts, on the same
//! thread, goes to an inbox that is merged before the baton is given back (it could wait for nobody but itself), and what it wants to
//! get is refused.
//!
//! | who comes                  | baton free | held by another thread | held by this thread |
//! |----------------------------|------------|------------------------|---------------------|
//! | put                        | takes it   | waits in line          | inbox               |
//! | get, peek, clear, snapshot | takes it   | waits in line          | refused             |
//!
//! While the baton is out, `buffer.len()` is what it was; the holder brings the new state back in [`Monitor::finish`].

use super::batch::{BatchError, Linger};
use super::state::{Side, Spot, State};
use crate::buffer::Buffer;
use crate::monitor::{Monitor, Waits};
use crate::section::Domain;
use crate::sync::this_thread;
use crate::wait::{Wake, Wakes};

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    fn give_back_baton(&mut self, wakes: &mut Wakes<W>) {
        self.baton.holder = None;
        self.settle_baton(wakes);
    }

    /// While nobody has it, one who waits for it is awake.
    pub(super) fn settle_baton(&mut self, wakes: &mut Wakes<W>) {
        let line = self.lobby.line_mut(Side::Baton);
        if self.baton.holder.is_none() && !line.nobody_waits() {
            line.wake_while(wakes, |_, claimed| claimed == 0);
        }
    }
}

/// What came of asking for the baton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// Another thread has it: the spot is held, and the waker will be woken.
    Busy,
    /// This thread has it: it came from foreign code of its own.
    Reentered,
}

/// May the holder put?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Yes, this many; their places are reserved until `finish`.
    Room(usize),
    /// Not now (nor later, if it came with no spot). The baton has been given back.
    Refused,
    ShutDown,
}

impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    /// Takes the baton, or a place in the line for it. `spot` is for this line alone: whoever also waits for room or items keeps
    /// that place in a spot of its own.
    pub fn take_baton(&self, proof: D::Proof<'_>, spot: &mut Spot, waker: &W) -> (Wakes<W>, Taken) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.baton.holder == Some(this_thread()) {
                return Taken::Reentered;
            }
            if state.baton.holder.is_none() && state.lobby.has_turn(Side::Baton, spot) {
                state.lobby.vacate(spot, wakes);
                state.baton.holder = Some(this_thread());
                return Taken::Yes;
            }
            state.lobby.stay(Side::Baton, 1, spot, waker, wakes);
            Taken::Busy
        })
    }

    /// This thread is the holder: whoever asks runs inside the holder's foreign code.
    pub fn baton_is_mine(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.baton.holder == Some(this_thread()))
    }

    /// The holder asks to put `want` items. `look` brings the buffer's size up to date first. With a spot a refusal takes a place in line.
    pub fn admit_put(
        &self,
        proof: D::Proof<'_>,
        want: usize,
        waiting: Option<(&mut Spot, &W)>,
        look: impl FnOnce(&mut B),
    ) -> (Wakes<W>, Admitted) {
        self.visit(proof, |state, wakes| {
            look(&mut state.buffer);
            let room = state.room().min(want);
            let admitted = match waiting {
                _ if state.shut => Admitted::ShutDown,
                None if room > 0 => {
                    state.reserved += room;
                    return Admitted::Room(room);
                }
                None => Admitted::Refused,
                Some((spot, waker)) => {
                    if state.lobby.has_turn(Side::Put, spot) && room > 0 {
                        state.lobby.vacate(spot, wakes);
                        state.reserved += room;
                        return Admitted::Room(room);
                    }
                    state.lobby.stay(Side::Put, 1, spot, waker, wakes);
                    Admitted::Refused
                }
            };
            state.note_full();
            state.give_back_baton(wakes);
            state.settle(wakes);
            admitted
        })
    }

    /// The holder asks to get up to `max` items; otherwise as `admit_put`, and `linger` as in `get_batch_or_wait`.
    pub fn admit_get(
        &self,
        proof: D::Proof<'_>,
        max: usize,
        linger: Linger,
        waiting: Option<(&mut Spot, &W)>,
        look: impl FnOnce(&mut B),
    ) -> (Wakes<W>, Result<usize, BatchError>) {
        self.visit(proof, |state, wakes| {
            look(&mut state.buffer);
            let admitted = match waiting {
                Some((spot, waker)) => state.batch_turn(max, linger, spot, waker, wakes),
                None if !state.buffer.is_empty() => Ok(max.min(state.buffer.len())),
                None if state.is_drained() => Err(BatchError::ShutDown),
                None => Err(BatchError::Empty),
            };
            if admitted.is_err() {
                state.give_back_baton(wakes);
                state.settle(wakes);
            }
            admitted
        })
    }

    /// The holder has put and got so many, and is not done yet.
    pub fn finish_counts(&self, proof: D::Proof<'_>, puts: usize, gets: usize) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.stored(puts);
            state.taken(gets);
            state.settle(wakes);
        })
        .0
    }

    /// The holder is done: `puts` items have gone in, of `admitted`, and `gets` have come out. `bring_back` returns what it worked on and says
    /// whether the inbox is empty; if not the baton stays with the holder, who has to merge it and finish again.
    pub fn finish(
        &self,
        proof: D::Proof<'_>,
        admitted: usize,
        puts: usize,
        gets: usize,
        bring_back: impl FnOnce(&mut B) -> bool,
    ) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            let done = bring_back(&mut state.buffer);
            state.reserved = state.reserved.saturating_sub(admitted);
            state.stored(puts);
            if gets > 0 {
                state.taken(gets);
            }
            if done {
                state.give_back_baton(wakes);
                state.settle(wakes);
            }
            done
        })
    }
}
