//! Manual credit control: requests, leases, drains, pauses.

use super::buffer::Bale;
use super::channel::Channel;
use super::state::State;
use super::types::Phase;
use crate::clock::Nanos;
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

impl<T, W: Wake, D: Domain, B: Bale, X> Channel<T, W, D, B, X> {
    /// Requests `n` more. False if the channel has ended.
    pub fn request(&self, proof: D::Proof<'_>, n: u64) -> (Wakes<W>, bool) {
        self.grant(proof, |state| {
            state.ledger.ask(n);
            true
        })
    }

    /// Requests the amount that brings the total ever granted to `sequence`; false if the total has reached that already.
    pub fn request_up_to(&self, proof: D::Proof<'_>, sequence: u64) -> (Wakes<W>, bool) {
        self.grant(proof, |state| state.ledger.ask_up_to(sequence))
    }

    /// Grants `n` for the time `ttl`, replacing what an earlier lease has left. False while grants are held.
    pub fn lease(&self, proof: D::Proof<'_>, n: u64, ttl: Nanos) -> (Wakes<W>, bool) {
        self.grant(proof, |state| {
            let free = !state.hold.is_on();
            if free {
                state.ledger.lease(n, state.wait_queues.clock.now().saturating_add(ttl));
            }
            free
        })
    }

    fn grant(&self, proof: D::Proof<'_>, more: impl FnOnce(&mut State<T, W, B, X>) -> bool) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            state.prepare_to_send(wakes);
            let granted = state.phase == Phase::Open && more(state);
            state.wake_eligible(wakes);
            granted
        })
    }

    /// Takes back unused credit; returns the amount. A window is granted again by [`Channel::resume`].
    pub fn drain(&self, proof: D::Proof<'_>) -> (Wakes<W>, u64) {
        self.visit(proof, |state, wakes| {
            state.prepare_to_send(wakes);
            if state.phase != Phase::Open {
                return 0;
            }
            let unused = state.ledger.drain();
            state.hold.paused |= state.ledger.window > 0;
            state.wake_eligible(wakes);
            unused
        })
    }

    /// Holds grants back; buffered items can still be received.
    pub fn pause(&self, proof: D::Proof<'_>) {
        self.section.with(proof, |state| state.hold.paused |= state.end().is_none());
    }

    /// Grants what has been held back.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn resume(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            if state.end().is_none() {
                state.hold.paused = false;
                state.grant_all();
                state.wake_eligible(wakes);
            }
        })
        .0
    }
}

impl<T, W: Wake, B: Bale, X> State<T, W, B, X> {
    /// Grants everything that is owed, unless grants are held. True if that was more than nothing.
    pub(super) fn grant_all(&mut self) -> bool {
        let due = self.ledger.owed > 0 && !self.hold.is_on();
        if due {
            let clock = &self.wait_queues.clock;
            self.ledger.expire(|| clock.now()); // otherwise the rest of an expired lease would take room
            self.ledger.grant();
        }
        due
    }
}
