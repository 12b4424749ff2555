//! The receiver's operations: receiving items, batches and deliveries, settling deliveries, control messages, cancelling.

use std::collections::VecDeque;

use super::buffer::{Bale, Batch, Received};
use super::channel::Channel;
use super::deliveries::{Deliveries, Handed, Handle, Nack, Receipt, Settlement, Settling};
use super::state::State;
use super::types::{Outcome, Phase, ReceiveError, Removed, Side, Waiter};
use crate::clock::Nanos;
use crate::leaving::Leaving;
use crate::monitor::MonitorState;
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

impl<T, W: Wake, D: Domain, B: Bale, X> Channel<T, W, D, B, X> {
    /// Receives without waiting.
    #[inline]
    pub fn try_receive(&self, proof: D::Proof<'_>) -> (Wakes<W>, Result<Received<T, B>, ReceiveError>) {
        self.visit(proof, State::receive)
    }

    /// Receives, or waits: after `Empty` and `Control` the waiter is in the wait queue.
    pub fn receive_or_wait(
        &self,
        proof: D::Proof<'_>,
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<Received<T, B>, ReceiveError>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.may_take(waiter) && !state.must_listen() {
                if let Some(received) = state.take_out() {
                    state.remove_waiter(waiter, wakes);
                    state.wake_eligible(wakes);
                    return Ok(received);
                }
            }
            Err(state.wait_to_receive(0, waiter, waker, wakes))
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
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<Batch<T, B>, ReceiveError>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.may_take(waiter) && !state.must_listen() && !state.buffer.is_empty() {
                state.remove_waiter(waiter, wakes);
                let batch = state.take_batch(max.min(state.unclaimed().max(1)));
                state.wake_eligible(wakes);
                return batch;
            }
            Err(state.wait_to_receive(0, waiter, waker, wakes))
        })
    }

    /// Receives a delivery for `owner` (see [`ReceiveError::SelfWait`]). The channel keeps the item; `handle` makes a second reference for the
    /// receiver.
    pub fn try_receive_delivery(
        &self,
        proof: D::Proof<'_>,
        owner: u64,
        handle: &impl Handle<T>,
    ) -> Outcome<T, W, B, Result<Handed<T>, ReceiveError>> {
        self.visit_all(proof, |state, _, removed| {
            if state.must_listen() {
                return Err(ReceiveError::Control);
            }
            if !state.may_take(&mut Waiter::default()) {
                return Err(state.nothing_there(owner));
            }
            state.hand_out(owner, handle, removed)?.ok_or_else(|| state.nothing_there(owner))
        })
    }

    pub fn receive_delivery_or_wait(
        &self,
        proof: D::Proof<'_>,
        owner: u64,
        handle: &impl Handle<T>,
        waiter: &mut Waiter,
        waker: &W,
    ) -> Outcome<T, W, B, Result<Handed<T>, ReceiveError>> {
        self.visit_all(proof, |state, wakes, removed| {
            if state.may_take(waiter) && !state.must_listen() {
                let handed = state.hand_out(owner, handle, removed);
                if let Some(result) = handed.transpose() {
                    state.remove_waiter(waiter, wakes);
                    return result;
                }
            }
            Err(state.wait_to_receive(owner, waiter, waker, wakes))
        })
    }

    /// The time of the next timed event, at which a waiter has to try again.
    pub fn next_due(&self, proof: D::Proof<'_>) -> Option<Nanos> {
        self.section.with(proof, |state| state.deliveries.as_ref().and_then(Deliveries::next_due))
    }

    /// Handles timed events that have become due.
    pub fn catch_up(&self, proof: D::Proof<'_>) -> Leaving<W, Removed<T, B>> {
        self.visit_all(proof, |_, _, _| ()).0
    }

    /// Settles a delivery as done, and drops the item. False if the receipt is stale.
    pub fn ack(&self, proof: D::Proof<'_>, receipt: Receipt) -> Outcome<T, W, B, bool> {
        let (leaving, (outcome, item)) = self.settle(proof, &Settlement::default(), receipt, None);
        drop(item);
        (leaving, outcome != Settling::Stale)
    }

    /// Settles a delivery as failed. False if the receipt is stale.
    pub fn nack(&self, proof: D::Proof<'_>, receipt: Receipt, nack: Nack) -> Outcome<T, W, B, bool> {
        let (leaving, (outcome, _)) = self.settle(proof, &Settlement::default(), receipt, Some(nack));
        (leaving, outcome != Settling::Stale)
    }

    /// Settles a delivery (`None`: as done) unless its holder has settled it already. If several threads try at once, one of them settles it,
    /// and all see the same outcome. The item that has been settled as done is returned, to be dropped.
    pub fn settle(
        &self,
        proof: D::Proof<'_>,
        settlement: &Settlement,
        receipt: Receipt,
        nack: Option<Nack>,
    ) -> Outcome<T, W, B, (Settling, Option<T>)> {
        self.visit_all(proof, |state, _, removed| {
            if let Some(before) = settlement.before() {
                return (before, None);
            }
            let (outcome, item) = state.settle_delivery(receipt, nack, removed);
            settlement.note(outcome);
            (outcome, item)
        })
    }

    /// Gives a delivery's holder at least `time` from now before it is requeued. False if the receipt is stale.
    pub fn extend(&self, proof: D::Proof<'_>, settlement: &Settlement, receipt: Receipt, time: Nanos) -> Outcome<T, W, B, bool> {
        self.visit_all(proof, |state, _, _| match settlement.before() {
            Some(before) => before != Settling::Stale,
            None => state.extend(receipt, time),
        })
    }

    /// Takes the waiting control messages if the receiver listens to them, and calls `look` with the owner's data.
    pub fn take_controls<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&mut X) -> R) -> (VecDeque<T>, R) {
        self.section.with(proof, |state| {
            let messages = if state.listens { std::mem::take(&mut state.controls) } else { VecDeque::new() };
            (messages, look(&mut state.extras))
        })
    }

    /// Sets whether the receiver listens to control messages. `note` is called in the same step.
    pub fn listen<R>(&self, proof: D::Proof<'_>, listens: bool, note: impl FnOnce(&mut X) -> R) -> (Wakes<W>, R) {
        self.visit(proof, |state, wakes| {
            state.listens = listens;
            let noted = note(&mut state.extras);
            state.wake_eligible(wakes);
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
    pub(super) fn must_listen(&self) -> bool {
        self.listens && !self.controls.is_empty()
    }

    /// Whether an arrival may receive now, because no waiter is ahead of it.
    #[inline]
    fn may_receive(&self) -> bool {
        self.receivers().none_waiting() && self.buffer.len() as u64 > self.receivers().claimed()
    }

    /// Whether the receiver may take an item: a woken waiter may; an arrival may if there are more items than woken waiters have claimed.
    pub(super) fn may_take(&mut self, waiter: &mut Waiter) -> bool {
        let woken = self.wait_queues.is_woken(Side::Receive, waiter);
        woken.unwrap_or_else(|| self.receivers().none_waiting() && self.receivable() as u64 > self.receivers().claimed())
    }

    fn extend(&mut self, receipt: Receipt, time: Nanos) -> bool {
        let until = self.wait_queues.clock.now().saturating_add(time);
        let has_gone = self.phase == Phase::Cancelled && !self.is_stopping() && !self.is_late;
        self.deliveries.as_mut().is_some_and(|deliveries| has_gone || deliveries.extend(receipt, until))
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
        self.wake_eligible(wakes);
        batch
    }

    /// The number of buffered items that no woken waiter has claimed.
    fn unclaimed(&self) -> usize {
        self.buffer.len().saturating_sub(usize::try_from(self.receivers().claimed()).unwrap_or(usize::MAX))
    }

    fn take_batch(&mut self, max: usize) -> Result<Batch<T, B>, ReceiveError> {
        let (batch, weight) = self.buffer.pop_batch(max).map_err(|_| ReceiveError::NoMemory)?;
        self.receives += batch.count() as u64;
        self.ledger.consumed(weight);
        Ok(batch)
    }

    /// Called when there was nothing to receive: joins the wait queue, or returns why waiting is useless.
    fn wait_to_receive(&mut self, owner: u64, waiter: &mut Waiter, waker: &W, wakes: &mut Wakes<W>) -> ReceiveError {
        let why = if self.must_listen() { ReceiveError::Control } else { self.nothing_there(owner) };
        if matches!(why, ReceiveError::Empty | ReceiveError::Control) {
            self.enqueue_or_requeue(Side::Receive, 1, waiter, waker, wakes);
            self.keep_time(waiter);
        } else {
            self.remove_waiter(waiter, wakes);
        }
        self.wake_eligible(wakes);
        why
    }
}
