//! The sender's operations: items, batches, permits, the ends, and control messages.

use super::state::{Entry, State};
use super::{Channel, End, Permit, Phase, SendError, Side, Spot};
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

impl<T, W: Wake, D: Domain> Channel<T, W, D> {
    /// Sends without waiting.
    #[inline]
    pub fn try_send(&self, proof: D::Proof<'_>, item: T, weight: u64) -> (Wakes<W>, Result<(), SendError<T>>) {
        self.visit(proof, |state, wakes| {
            if state.phase != Phase::Open || !state.may_send(weight) || state.ledger.has_lease() {
                return state.send_slowly(item, weight, wakes);
            }
            state.ledger.send(weight);
            state.put_in(item, weight);
            state.sent(wakes);
            Ok(())
        })
    }

    /// Sends, or takes (or keeps) a place in line: after `Full` the spot is held, and `waker` will be woken.
    pub fn send_or_wait(
        &self,
        proof: D::Proof<'_>,
        item: T,
        weight: u64,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<(), SendError<T>>) {
        self.visit(proof, |state, wakes| match state.credit_or_wait(weight, spot, waker, wakes) {
            Credit::Here => {
                state.ledger.send(weight);
                state.put_in(item, weight);
                state.settle(wakes);
                Ok(())
            }
            Credit::Wait => Err(SendError::Full(item)),
            Credit::Never => Err(SendError::TooHeavy(item)),
            Credit::Ended(end) => Err(SendError::Ended(item, end)),
        })
    }

    /// Sends as many of `items` as there is credit for, in order: `Full` if some are left. `weights` ends with those of the items
    /// that are left; if it is empty each weighs one.
    pub fn try_send_batch(
        &self,
        proof: D::Proof<'_>,
        items: &mut std::vec::IntoIter<T>,
        weights: &[u64],
    ) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| state.send_batch(items, weights, wakes))
    }

    /// The same; while some are left a place in line is held, for the first of them.
    pub fn send_batch_or_wait(
        &self,
        proof: D::Proof<'_>,
        items: &mut std::vec::IntoIter<T>,
        weights: &[u64],
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| {
            if spot.is_held() {
                let Some(weight) = first_weight(items, weights) else { return Ok(()) };
                match state.credit_or_wait(weight, spot, waker, wakes) {
                    Credit::Here => {}
                    Credit::Wait => return Err(SendError::Full(())),
                    Credit::Never => return Err(SendError::TooHeavy(())),
                    Credit::Ended(end) => return Err(SendError::Ended((), end)),
                }
                if let Some(item) = items.next() {
                    state.ledger.send(weight);
                    state.put_in(item, weight);
                }
            }
            let mut result = state.send_batch(items, weights, wakes);
            if matches!(result, Err(SendError::Full(()))) && state.grant_all() {
                result = state.send_batch(items, weights, wakes);
            }
            if let (Err(SendError::Full(())), Some(weight)) = (&result, first_weight(items, weights)) {
                state.stay(Side::Send, weight, spot, waker);
            }
            state.settle(wakes);
            result
        })
    }

    /// Takes credit for items that do not exist yet. Whoever holds it may send so much, or gives it back.
    pub fn try_permit(&self, proof: D::Proof<'_>, n: u64) -> (Wakes<W>, Result<Permit, SendError<()>>) {
        self.visit(proof, |state, wakes| {
            state.is_ready(n, wakes)?;
            let permit = state.ledger.permit(n);
            state.settle(wakes);
            Ok(permit)
        })
    }

    /// The same, or a place in line.
    pub fn permit_or_wait(
        &self,
        proof: D::Proof<'_>,
        n: u64,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<Permit, SendError<()>>) {
        self.visit(proof, |state, wakes| match state.credit_or_wait(n, spot, waker, wakes) {
            Credit::Here => {
                let permit = state.ledger.permit(n);
                state.settle(wakes);
                Ok(permit)
            }
            Credit::Wait => Err(SendError::Full(())),
            Credit::Never => Err(SendError::TooHeavy(())),
            Credit::Ended(end) => Err(SendError::Ended((), end)),
        })
    }

    /// Sends an item whose weight is part of a permit. A channel that was completed meanwhile still takes it (tokio's `reserve`).
    pub fn send_permitted(
        &self,
        proof: D::Proof<'_>,
        permit: &mut Permit,
        item: T,
        weight: u64,
    ) -> (Wakes<W>, Result<(), SendError<T>>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let end = state.closed().filter(|&end| end != End::Completed).or_else(|| state.end());
            if let Some(end) = end {
                return Err(SendError::Ended(item, end));
            }
            // An item without weight is no part of it: it needs a slot as everywhere.
            if weight > permit.left().min(state.ledger.permits) || (weight == 0 && !state.has_slot()) {
                return Err(SendError::Full(item));
            }
            state.ledger.send_permitted(permit, weight);
            state.put_in(item, weight);
            state.settle(wakes);
            Ok(())
        })
    }

    /// What is left of a permit goes to the next.
    #[must_use = "wake-ups are delivered by `fire`"]
    #[expect(clippy::needless_pass_by_value, reason = "nothing is left of it")]
    pub fn return_permit(&self, proof: D::Proof<'_>, permit: Permit) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            // There is no such permit after a cancel, nor in the child of a fork.
            if permit.left() <= state.ledger.permits {
                state.ledger.return_permit(&permit);
            }
            state.settle(wakes);
        })
        .0
    }

    /// True once `n` could be sent, or never again; takes nothing. While it is false the spot is held.
    pub fn ready_or_wait(
        &self,
        proof: D::Proof<'_>,
        n: u64,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| {
            let outcome = match state.credit_or_wait(n, spot, waker, wakes) {
                Credit::Here => Ok(()),
                Credit::Wait => Err(SendError::Full(())),
                Credit::Never => Err(SendError::TooHeavy(())),
                Credit::Ended(end) => Err(SendError::Ended((), end)),
            };
            state.settle(wakes); // its turn goes to the next
            outcome
        })
    }

    /// Could one who comes now send `n`?
    pub fn is_ready(&self, proof: D::Proof<'_>, n: u64) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| state.is_ready(n, wakes))
    }

    /// What one who comes now may send. [`UNBOUNDED`](super::UNBOUNDED): whatever it likes.
    pub fn credit(&self, proof: D::Proof<'_>) -> (Wakes<W>, u64) {
        self.visit(proof, |state, wakes| {
            state.prepare_to_send(wakes);
            state.credit()
        })
    }

    /// One more sender, that ends by itself.
    pub fn add_sender(&self, proof: D::Proof<'_>) {
        self.section.with(proof, |state| state.senders_left += 1);
    }

    /// One sender has nothing more to send. With the last the channel is complete.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn complete(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.senders_left = state.senders_left.saturating_sub(1);
            if state.senders_left == 0 && state.phase == Phase::Open {
                state.phase = Phase::Completing;
            }
            state.settle(wakes);
        })
        .0
    }

    /// A sender has failed: receivers are told, after what is there. False if the channel had ended before.
    pub fn fail(&self, proof: D::Proof<'_>) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            let open = matches!(state.phase, Phase::Open | Phase::Completing) && state.end().is_none();
            if open {
                state.phase = Phase::Failed;
            }
            state.settle(wakes);
            open
        })
    }

    /// Sends something that needs no credit, for the receiver to take before anything else. `Full` if it does not take them fast enough.
    pub fn send_control(&self, proof: D::Proof<'_>, message: T) -> (Wakes<W>, Result<(), SendError<T>>) {
        self.visit(proof, |state, wakes| {
            if let Some(end) = state.closed() {
                return Err(SendError::Ended(message, end));
            }
            if state.controls.len() >= state.control_capacity {
                return Err(SendError::Full(message));
            }
            state.controls.push_back(message);
            state.settle(wakes);
            Ok(())
        })
    }
}

/// The weight of the first item that is left.
fn first_weight<T>(items: &std::vec::IntoIter<T>, weights: &[u64]) -> Option<u64> {
    let left = items.len();
    (left > 0).then(|| if weights.is_empty() { 1 } else { weights[weights.len() - left] })
}

/// Whether there is credit for something.
enum Credit {
    /// It is there, and the operation waits no longer.
    Here,
    /// The operation stands in line.
    Wait,
    Never,
    Ended(End),
}

impl<T, W: Wake> State<T, W> {
    /// Before anything is said about credit.
    pub(super) fn prepare_to_send(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        if self.ledger.has_lease() {
            let clock = &self.clock;
            self.ledger.expire(|| clock.now());
            self.settle(wakes);
        }
    }

    #[cold]
    #[inline(never)]
    fn send_slowly(&mut self, item: T, weight: u64, wakes: &mut Wakes<W>) -> Result<(), SendError<T>> {
        match self.is_ready(weight, wakes) {
            Ok(()) => {}
            Err(SendError::Full(())) => return Err(SendError::Full(item)),
            Err(SendError::TooHeavy(())) => return Err(SendError::TooHeavy(item)),
            Err(SendError::Ended((), end)) => return Err(SendError::Ended(item, end)),
        }
        self.ledger.send(weight);
        self.put_in(item, weight);
        self.sent(wakes);
        Ok(())
    }

    fn is_ready(&mut self, n: u64, wakes: &mut Wakes<W>) -> Result<(), SendError<()>> {
        self.prepare_to_send(wakes);
        match self.closed() {
            Some(end) => Err(SendError::Ended((), end)),
            None if n > self.ledger.bound => Err(SendError::TooHeavy(())),
            None if self.may_send(n) => Ok(()),
            None => Err(SendError::Full(())),
        }
    }

    fn credit_or_wait(&mut self, n: u64, spot: &mut Spot, waker: &W, wakes: &mut Wakes<W>) -> Credit {
        self.prepare_to_send(wakes);
        let refusal = match self.closed() {
            Some(end) => Some(Credit::Ended(end)),
            None => (n > self.ledger.bound).then_some(Credit::Never),
        };
        if let Some(refusal) = refusal {
            self.vacate(spot, wakes);
            self.settle(wakes);
            return refusal;
        }
        // Before a sender parks all that has been consumed is granted, whatever the step.
        if self.may_go(n, spot) || (self.grant_all() && self.may_go(n, spot)) {
            self.vacate(spot, wakes);
            return Credit::Here;
        }
        self.stay(Side::Send, n, spot, waker);
        self.settle(wakes);
        Credit::Wait
    }

    /// One that has been woken has its credit reserved; one that comes now finds what others leave.
    fn may_go(&mut self, n: u64, spot: &mut Spot) -> bool {
        if spot.is_held() { self.has_turn(Side::Send, spot) && self.is_covered(n, spot) } else { self.may_send(n) }
    }

    fn send_batch(
        &mut self,
        items: &mut std::vec::IntoIter<T>,
        weights: &[u64],
        wakes: &mut Wakes<W>,
    ) -> Result<(), SendError<()>> {
        self.prepare_to_send(wakes);
        if let Some(end) = self.closed() {
            return if items.as_slice().is_empty() { Ok(()) } else { Err(SendError::Ended((), end)) };
        }
        let before = items.len();
        let outcome = if weights.is_empty() { self.send_equals(items) } else { self.send_weighted(items, weights) };
        self.sends += (before - items.len()) as u64;
        self.peak = self.peak.max(self.ledger.occupied);
        self.sent(wakes);
        outcome
    }

    /// Those that weigh one each: they go in one step.
    fn send_equals(&mut self, items: &mut std::vec::IntoIter<T>) -> Result<(), SendError<()>> {
        let count = usize::try_from(self.credit()).unwrap_or(usize::MAX).min(items.len());
        self.ledger.send(count as u64);
        self.buffer.extend(items.take(count).map(|item| Entry { item, weight: 1 }));
        if items.len() == 0 { Ok(()) } else { Err(SendError::Full(())) }
    }

    fn send_weighted(&mut self, items: &mut std::vec::IntoIter<T>, weights: &[u64]) -> Result<(), SendError<()>> {
        while let Some(weight) = first_weight(items, weights) {
            if weight > self.ledger.bound {
                return Err(SendError::TooHeavy(()));
            }
            if !self.may_send(weight) {
                return Err(SendError::Full(()));
            }
            self.ledger.send(weight);
            self.buffer.extend(items.next().map(|item| Entry { item, weight }));
        }
        Ok(())
    }
}
