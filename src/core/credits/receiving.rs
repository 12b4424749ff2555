//! The receiver's operations: items, batches, deliveries and how they are settled, control messages, the end.

use super::buffer::{Bale, Batch, Received};
use super::channel::Channel;
use super::deliveries::{Deliveries, Handed, Nack, Receipt};
use super::state::State;
use super::types::{Outcome, ReceiveError, Removed, Side, Spot};
use crate::clock::Nanos;
use crate::leaving::Leaving;
use crate::monitor::Waits;
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

impl<T, W: Wake, D: Domain, B: Bale, X> Channel<T, W, D, B, X> {
    /// Receives without waiting.
    #[inline]
    pub fn try_receive(&self, proof: D::Proof<'_>) -> (Wakes<W>, Result<Received<T, B>, ReceiveError>) {
        self.visit(proof, State::receive)
    }

    /// Receives, or takes (or keeps) a place in line: after `Empty` and `Control` the spot is held.
    pub fn receive_or_wait(
        &self,
        proof: D::Proof<'_>,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<Received<T, B>, ReceiveError>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.may_take(spot) && !state.must_listen() {
                if let Some(received) = state.take_out() {
                    state.vacate(spot, wakes);
                    state.settle(wakes);
                    return Ok(received);
                }
            }
            Err(state.wait_to_receive(0, spot, waker, wakes))
        })
    }

    /// Receives up to `max` items, if there is one.
    pub fn try_receive_batch(&self, proof: D::Proof<'_>, max: usize) -> (Wakes<W>, Result<Batch<T, B>, ReceiveError>) {
        self.visit(proof, |state, wakes| state.receive_batch(max, wakes))
    }

    pub fn receive_batch_or_wait(
        &self,
        proof: D::Proof<'_>,
        max: usize,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<Batch<T, B>, ReceiveError>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.may_take(spot) && !state.must_listen() && !state.buffer.is_empty() {
                state.vacate(spot, wakes);
                let batch = state.take_batch(max.min(state.unclaimed().max(1)));
                state.settle(wakes);
                return Ok(batch);
            }
            Err(state.wait_to_receive(0, spot, waker, wakes))
        })
    }

    /// Receives a delivery for `owner` (see [`ReceiveError::SelfWait`]). The channel keeps the item; `share` makes the receiver's reference.
    pub fn try_receive_delivery(
        &self,
        proof: D::Proof<'_>,
        owner: u64,
        share: impl Fn(&T) -> T,
    ) -> Outcome<T, W, B, Result<Handed<T>, ReceiveError>> {
        self.visit_all(proof, |state, _, _| {
            if state.must_listen() {
                return Err(ReceiveError::Control);
            }
            if !state.may_take(&mut Spot::default()) {
                return Err(state.nothing_there(owner));
            }
            state.hand_out(owner, share).ok_or_else(|| state.nothing_there(owner))
        })
    }

    pub fn receive_delivery_or_wait(
        &self,
        proof: D::Proof<'_>,
        owner: u64,
        share: impl Fn(&T) -> T,
        spot: &mut Spot,
        waker: &W,
    ) -> Outcome<T, W, B, Result<Handed<T>, ReceiveError>> {
        self.visit_all(proof, |state, wakes, _| {
            if state.may_take(spot) && !state.must_listen() {
                if let Some(handed) = state.hand_out(owner, share) {
                    state.vacate(spot, wakes);
                    return Ok(handed);
                }
            }
            Err(state.wait_to_receive(owner, spot, waker, wakes))
        })
    }

    /// The time of the next timed event: a waiter has to look again then.
    pub fn next_due(&self, proof: D::Proof<'_>) -> Option<Nanos> {
        self.section.with(proof, |state| state.deliveries.as_ref().and_then(Deliveries::next_due))
    }

    /// Handles timed events that have become due.
    pub fn catch_up(&self, proof: D::Proof<'_>) -> Leaving<W, Removed<T, B>> {
        self.visit_all(proof, |_, _, _| ()).0
    }

    /// Settles a delivery as done. False if the receipt is stale.
    pub fn ack(&self, proof: D::Proof<'_>, receipt: Receipt) -> Outcome<T, W, B, bool> {
        self.visit_all(proof, |state, _, removed| state.settle_delivery(receipt, None, removed))
    }

    /// Settles a delivery as failed. False if the receipt is stale.
    pub fn nack(&self, proof: D::Proof<'_>, receipt: Receipt, nack: Nack) -> Outcome<T, W, B, bool> {
        self.visit_all(proof, |state, _, removed| state.settle_delivery(receipt, Some(nack), removed))
    }

    /// Takes the control messages that are there, if the receiver takes any, and looks at what the owner keeps.
    pub fn take_controls<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&mut X) -> R) -> (Vec<T>, R) {
        self.section.with(proof, |state| {
            let messages = if state.listens { state.controls.drain(..).collect() } else { Vec::new() };
            (messages, look(&mut state.extras))
        })
    }

    /// Sets whether the receiver takes control messages. `note` is called in the same step.
    pub fn listen<R>(&self, proof: D::Proof<'_>, listens: bool, note: impl FnOnce(&mut X) -> R) -> (Wakes<W>, R) {
        self.visit(proof, |state, wakes| {
            state.listens = listens;
            let noted = note(&mut state.extras);
            state.settle(wakes);
            noted
        })
    }

    /// Ends the channel from the receiver's side. Idempotent. `note` is called in the same step if the channel had not ended before.
    pub fn cancel(&self, proof: D::Proof<'_>, note: impl FnOnce(&mut X)) -> Leaving<W, Removed<T, B>> {
        let (mut leaving, ()) = self.visit_all(proof, |state, _, removed| {
            if state.cancel(removed) {
                note(&mut state.extras);
            }
        });
        leaving.append(self.defer_to(proof, None).0);
        leaving
    }
}

impl<T, W: Wake, B: Bale, X> State<T, W, B, X> {
    #[inline]
    fn must_listen(&self) -> bool {
        self.listens && !self.controls.is_empty()
    }

    /// Whether an arrival may receive now: nobody is in line ahead of it.
    #[inline]
    fn may_receive(&self) -> bool {
        self.receivers().nobody_waits() && self.buffer.len() as u64 > self.receivers().claimed()
    }

    /// A woken waiter may take; an arrival may if there is more than woken waiters have claimed.
    fn may_take(&mut self, spot: &mut Spot) -> bool {
        let woken = self.lobby.is_woken(Side::Receive, spot);
        woken.unwrap_or_else(|| self.receivers().nobody_waits() && self.receivable() as u64 > self.receivers().claimed())
    }

    #[inline]
    fn receive(&mut self, wakes: &mut Wakes<W>) -> Result<Received<T, B>, ReceiveError> {
        if self.must_listen() {
            return Err(ReceiveError::Control);
        }
        if !self.may_receive() {
            self.forget_after_fork();
            if !self.may_receive() {
                return Err(self.nothing_there(0));
            }
        }
        let Some(received) = self.take_out() else { return Err(ReceiveError::Empty) };
        self.received(wakes);
        Ok(received)
    }

    fn receive_batch(&mut self, max: usize, wakes: &mut Wakes<W>) -> Result<Batch<T, B>, ReceiveError> {
        self.forget_after_fork();
        if self.must_listen() {
            return Err(ReceiveError::Control);
        }
        if !self.may_receive() {
            return Err(self.nothing_there(0));
        }
        let batch = self.take_batch(max.min(self.unclaimed()));
        self.settle(wakes);
        Ok(batch)
    }

    /// The number of buffered items that no woken waiter has claimed.
    fn unclaimed(&self) -> usize {
        self.buffer.len().saturating_sub(usize::try_from(self.receivers().claimed()).unwrap_or(usize::MAX))
    }

    fn take_batch(&mut self, max: usize) -> Batch<T, B> {
        let (batch, weight) = self.buffer.pop_batch(max);
        self.receives += batch.count() as u64;
        self.ledger.consumed(weight);
        batch
    }

    /// There was nothing to receive: takes a place in line, or says why waiting is useless.
    fn wait_to_receive(&mut self, owner: u64, spot: &mut Spot, waker: &W, wakes: &mut Wakes<W>) -> ReceiveError {
        let why = if self.must_listen() { ReceiveError::Control } else { self.nothing_there(owner) };
        if matches!(why, ReceiveError::Empty | ReceiveError::Control) {
            self.stay(Side::Receive, 1, spot, waker, wakes);
            self.keep_time(spot);
        } else {
            self.vacate(spot, wakes);
        }
        self.settle(wakes);
        why
    }
}
