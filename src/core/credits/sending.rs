//! The sender's operations: items, batches, permits, the ends, and control messages.

use super::buffer::{Bale, Buffer, Entry};
use super::channel::Channel;
use super::ledger::Permit;
use super::state::State;
use super::types::{End, Phase, SendError, SenderEnd, Side, Waiter};
use crate::monitor::MonitorState;
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

/// The number of weighed items for which memory is reserved at a time.
const RESERVED: usize = 64;

impl<T, W: Wake, D: Domain, B: Bale, X> Channel<T, W, D, B, X> {
    /// Sends without waiting.
    #[inline]
    pub fn try_send(&self, proof: D::Proof<'_>, item: T, weight: u64) -> (Wakes<W>, Result<(), SendError<T>>) {
        self.visit(proof, |state, wakes| {
            if state.phase != Phase::Open || !state.may_send(weight) || state.ledger.has_lease() || !state.buffer.has_slot() {
                return state.send_slowly(item, weight, wakes);
            }
            state.ledger.send(weight);
            state.put_in(item, weight);
            state.sent(wakes);
            Ok(())
        })
    }

    /// Sends, or waits: after `Full` the waiter is in the wait queue, and `waker` will be woken.
    pub fn send_or_wait(
        &self,
        proof: D::Proof<'_>,
        item: T,
        weight: u64,
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<(), SendError<T>>) {
        self.visit(proof, |state, wakes| match state.credit_or_wait(weight, waiter, waker, wakes) {
            Credit::Here => {
                let sent = state.send_granted(item, weight);
                state.wake_eligible(wakes);
                sent
            }
            Credit::Wait => Err(SendError::Full(item)),
            Credit::Never => Err(SendError::TooHeavy(item)),
            Credit::Ended(end) => Err(SendError::Ended(item, end)),
        })
    }

    /// Sends as many of `items` as there is credit for, in order; `Full` if items are left. The last elements of `weights` are the weights of
    /// `items`; if `weights` is empty, each item weighs one.
    pub fn try_send_batch(
        &self,
        proof: D::Proof<'_>,
        items: &mut std::vec::IntoIter<T>,
        weights: &[u64],
    ) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| state.send_outgoing(&mut Items { items, weights }, wakes))
    }

    /// As `try_send_batch`, but if items are left, the waiter is in the wait queue for the first of them.
    pub fn send_batch_or_wait(
        &self,
        proof: D::Proof<'_>,
        items: &mut std::vec::IntoIter<T>,
        weights: &[u64],
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| state.send_outgoing_or_wait(&mut Items { items, weights }, waiter, waker, wakes))
    }

    /// Sends a bale's items as far as there is credit. The rest stays with the channel, at the waiter's place in the wait queue, and is sent as
    /// credit is granted, without the owner. `waker` is woken when nothing is left, or when no more can be sent. If the waiter is in the wait
    /// queue already, it leaves it first, together with what it had offered. Not for a channel with deliveries.
    pub fn offer(&self, proof: D::Proof<'_>, mut bale: B, waiter: &mut Waiter, waker: &W) -> (Wakes<W>, Offer<B>) {
        self.visit(proof, |state, wakes| {
            assert!(state.deliveries.is_none(), "deliveries are of items");
            state.remove_waiter(waiter, wakes);
            let mut result = state.send_outgoing(&mut bale, wakes);
            if matches!(result, Err(SendError::Full(()))) && state.grant_all() {
                result = state.send_outgoing(&mut bale, wakes);
            }
            let offer = match result {
                Ok(()) => Offer::Sent,
                Err(SendError::Full(())) => {
                    state.enqueue_or_requeue(Side::Send, 0, waiter, waker, wakes);
                    state.offers.extend(waiter.position().map(|(_, ticket)| (ticket, bale)));
                    Offer::Waiting
                }
                Err(SendError::TooHeavy(())) => Offer::TooHeavy(bale),
                Err(SendError::Ended((), end)) => Offer::Ended(bale, end),
                Err(SendError::NoMemory(())) => unreachable!("a bale brings its own"),
            };
            state.wake_eligible(wakes);
            offer
        })
    }

    /// The state of an offer. Unless that is `Waiting`, the waiter leaves the wait queue. (In the child of a fork an offer of the parent is never
    /// served, but can still be looked at and taken back.)
    pub fn look_at_offer(&self, proof: D::Proof<'_>, waiter: &mut Waiter) -> (Wakes<W>, Offer<B>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let Some(bale) = state.offer_of(waiter).map(|index| &state.offers[index].1) else {
                state.remove_waiter(waiter, wakes);
                return Offer::Sent;
            };
            let is_too_heavy = Outgoing::<T, B>::first_weight(bale).is_some_and(|weight| weight > state.ledger.bound);
            let (count, end) = (bale.count(), state.closed());
            if count > 0 && end.is_none() && !is_too_heavy {
                return Offer::Waiting;
            }
            let bale = state.take_back(waiter, wakes);
            state.wake_eligible(wakes);
            match (bale.filter(|_| count > 0), end) {
                (None, _) => Offer::Sent,
                (Some(bale), Some(end)) => Offer::Ended(bale, end),
                (Some(bale), None) => Offer::TooHeavy(bale),
            }
        })
    }

    /// Takes back what is left of an offer; the waiter leaves the wait queue.
    pub fn take_back(&self, proof: D::Proof<'_>, waiter: &mut Waiter) -> (Wakes<W>, Option<B>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let bale = state.take_back(waiter, wakes);
            state.wake_eligible(wakes);
            bale
        })
    }

    /// Calls `look` with what is left of an offer.
    pub fn with_offer<R>(&self, proof: D::Proof<'_>, waiter: &Waiter, look: impl FnOnce(&B) -> R) -> Option<R> {
        self.section.with(proof, |state| state.offer_of(waiter).map(|index| look(&state.offers[index].1)))
    }

    /// Takes credit for items that do not exist yet. The holder of the permit may send that amount, and gives back the rest.
    pub fn try_permit(&self, proof: D::Proof<'_>, n: u64) -> (Wakes<W>, Result<Permit, SendError<()>>) {
        self.visit(proof, |state, wakes| {
            state.is_ready(n, wakes)?;
            let permit = state.ledger.permit(n);
            state.wake_eligible(wakes);
            Ok(permit)
        })
    }

    /// As `try_permit`, but if there is not enough credit, the waiter is in the wait queue.
    pub fn permit_or_wait(
        &self,
        proof: D::Proof<'_>,
        n: u64,
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<Permit, SendError<()>>) {
        self.visit(proof, |state, wakes| match state.credit_or_wait(n, waiter, waker, wakes) {
            Credit::Here => {
                let permit = state.ledger.permit(n);
                state.wake_eligible(wakes);
                Ok(permit)
            }
            Credit::Wait => Err(SendError::Full(())),
            Credit::Never => Err(SendError::TooHeavy(())),
            Credit::Ended(end) => Err(SendError::Ended((), end)),
        })
    }

    /// Sends an item whose weight is part of a permit. A channel that has been completed meanwhile still accepts it, as with tokio's `reserve`.
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
            // An item of weight 0 uses no credit of the permit; it needs a slot.
            if weight > permit.left().min(state.ledger.permits) || (weight == 0 && !state.has_slot()) {
                return Err(SendError::Full(item));
            }
            if !state.buffer.reserve(1) {
                return Err(SendError::NoMemory(item));
            }
            state.ledger.send_permitted(permit, weight);
            state.put_in(item, weight);
            state.wake_eligible(wakes);
            Ok(())
        })
    }

    /// Gives back what is left of a permit, and wakes senders that can now proceed.
    #[must_use = "wake-ups are delivered by `fire`"]
    #[expect(clippy::needless_pass_by_value, reason = "nothing is left of it")]
    pub fn return_permit(&self, proof: D::Proof<'_>, permit: Permit) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            // After a cancel, and in the child of a fork, the permit is not in the ledger any more.
            if permit.left() <= state.ledger.permits {
                state.ledger.return_permit(&permit);
            }
            state.wake_eligible(wakes);
        })
        .0
    }

    /// Returns true if `n` could be sent now, or never again, without taking credit. If it returns false, the waiter is in the wait queue.
    pub fn ready_or_wait(
        &self,
        proof: D::Proof<'_>,
        n: u64,
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| {
            let outcome = match state.credit_or_wait(n, waiter, waker, wakes) {
                Credit::Here => Ok(()),
                Credit::Wait => Err(SendError::Full(())),
                Credit::Never => Err(SendError::TooHeavy(())),
                Credit::Ended(end) => Err(SendError::Ended((), end)),
            };
            state.wake_eligible(wakes); // it takes no credit, so the next waiter may proceed
            outcome
        })
    }

    /// Returns whether an arrival could send `n` now.
    pub fn is_ready(&self, proof: D::Proof<'_>, n: u64) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| state.is_ready(n, wakes))
    }

    /// The amount that an arrival may send now; [`UNBOUNDED`](super::UNBOUNDED) if there is no limit.
    pub fn credit(&self, proof: D::Proof<'_>) -> (Wakes<W>, u64) {
        self.visit(proof, |state, wakes| {
            state.prepare_to_send(wakes);
            state.credit()
        })
    }

    /// Adds a sender, which ends independently of the others. `from` is a sender that has not ended.
    ///
    /// # Errors
    /// How `from` has ended. (If the channel has ended in another way, a sender can still be added; it cannot send anything.)
    pub fn add_sender(&self, proof: D::Proof<'_>, from: &SenderEnd) -> Result<SenderEnd, End> {
        self.section.with(proof, |state| {
            if from.has_ended() {
                return Err(state.closed().unwrap_or(End::Completed));
            }
            state.senders_left += 1;
            Ok(SenderEnd::default())
        })
    }

    /// Completes a sender: it sends nothing more. When the last sender has completed, the channel is complete. No effect on a sender that has
    /// ended.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn complete(&self, proof: D::Proof<'_>, sender: &SenderEnd) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            if sender.end() {
                state.senders_left = state.senders_left.saturating_sub(1);
                if state.senders_left == 0 && state.phase == Phase::Open {
                    state.phase = Phase::Completing;
                }
                state.wake_eligible(wakes);
            }
        })
        .0
    }

    /// Fails the channel: receivers get the error after the buffered items. `note` is called inside the section if this ends the channel, so
    /// that every operation that finds the channel failed also sees what `note` wrote. Returns false, without effect, if the channel or this
    /// sender had ended.
    pub fn fail(&self, proof: D::Proof<'_>, sender: &SenderEnd, note: impl FnOnce(&mut X)) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            let ends = sender.end() && matches!(state.phase, Phase::Open | Phase::Completing) && state.end().is_none();
            if ends {
                state.phase = Phase::Failed;
                note(&mut state.extras);
            }
            state.wake_eligible(wakes);
            ends
        })
    }

    /// Sends a control message, which needs no credit and which the receiver takes before any item. `Full` if too many are waiting already.
    pub fn send_control(&self, proof: D::Proof<'_>, message: T) -> (Wakes<W>, Result<(), SendError<T>>) {
        self.visit(proof, |state, wakes| {
            if let Some(end) = state.closed() {
                return Err(SendError::Ended(message, end));
            }
            match state.controls.len() {
                n if n >= state.control_capacity => return Err(SendError::Full(message)),
                _ if state.controls.try_reserve(1).is_err() => return Err(SendError::NoMemory(message)),
                _ => state.controls.push_back(message),
            }
            state.wake_eligible(wakes);
            Ok(())
        })
    }
}

/// A number of items to be sent in one step, as far as there is credit.
trait Outgoing<T, B> {
    /// The number of items that are left.
    fn left(&self) -> usize;
    fn weighs_one_each(&self) -> bool;
    /// The weight of one of the items that are left.
    fn weight(&self, index: usize) -> u64;
    fn put_in(&mut self, count: usize, buffer: &mut Buffer<T, B>);
    /// Reserves memory for this many of them. False if there is none.
    fn reserve(&self, count: usize, buffer: &mut Buffer<T, B>) -> bool;

    fn first_weight(&self) -> Option<u64> {
        (self.left() > 0).then(|| if self.weighs_one_each() { 1 } else { self.weight(0) })
    }
}

struct Items<'a, T> {
    items: &'a mut std::vec::IntoIter<T>,
    weights: &'a [u64],
}

impl<T, B: Bale> Outgoing<T, B> for Items<'_, T> {
    fn left(&self) -> usize {
        self.items.len()
    }

    fn weighs_one_each(&self) -> bool {
        self.weights.is_empty()
    }

    fn weight(&self, index: usize) -> u64 {
        self.weights[self.weights.len() - self.items.len() + index]
    }

    fn reserve(&self, count: usize, buffer: &mut Buffer<T, B>) -> bool {
        buffer.reserve(count)
    }

    fn put_in(&mut self, count: usize, buffer: &mut Buffer<T, B>) {
        if self.weights.is_empty() {
            buffer.extend(self.items.take(count).map(|item| Entry { item, weight: 1 }));
        } else {
            let weights = &self.weights[self.weights.len() - self.items.len()..];
            buffer.extend(self.items.take(count).zip(weights).map(|(item, &weight)| Entry { item, weight }));
        }
    }
}

impl<T, B: Bale> Outgoing<T, B> for B {
    fn left(&self) -> usize {
        self.count()
    }

    fn weighs_one_each(&self) -> bool {
        Bale::weighs_one_each(self)
    }

    fn weight(&self, index: usize) -> u64 {
        Bale::weight(self, index)
    }

    fn reserve(&self, _count: usize, _buffer: &mut Buffer<T, B>) -> bool {
        true
    }

    fn put_in(&mut self, count: usize, buffer: &mut Buffer<T, B>) {
        buffer.push_bale(self.take(count));
    }
}

/// The state of an offered bale. Contains the bale if it cannot be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<B> {
    Sent,
    /// It is in the wait queue.
    Waiting,
    /// The first item that is left is heavier than the channel's bound.
    TooHeavy(B),
    Ended(B, End),
}

/// The answer to a request for credit.
enum Credit {
    /// There is credit; the operation has left the wait queue.
    Here,
    /// The operation is in the wait queue.
    Wait,
    Never,
    Ended(End),
}

impl<T, W: Wake, B: Bale, X> State<T, W, B, X> {
    /// Ends an expired lease. Called before the credit is checked.
    pub(super) fn prepare_to_send(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        if self.ledger.has_lease() {
            let clock = &self.wait_queues.clock;
            self.ledger.expire(|| clock.now());
            self.wake_eligible(wakes);
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
            Err(SendError::NoMemory(())) => return Err(SendError::NoMemory(item)),
        }
        self.send_granted(item, weight)?;
        self.sent(wakes);
        Ok(())
    }

    /// Sends an item for which there is credit.
    fn send_granted(&mut self, item: T, weight: u64) -> Result<(), SendError<T>> {
        if !self.buffer.reserve(1) {
            return Err(SendError::NoMemory(item));
        }
        self.ledger.send(weight);
        self.put_in(item, weight);
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

    fn credit_or_wait(&mut self, n: u64, waiter: &mut Waiter, waker: &W, wakes: &mut Wakes<W>) -> Credit {
        self.prepare_to_send(wakes);
        let refusal = match self.closed() {
            Some(end) => Some(Credit::Ended(end)),
            None => (n > self.ledger.bound).then_some(Credit::Never),
        };
        if let Some(refusal) = refusal {
            self.remove_waiter(waiter, wakes);
            self.wake_eligible(wakes);
            return refusal;
        }
        // Before a sender waits, all consumed credit is granted, even if it is less than the step.
        if self.may_go(n, waiter) || (self.grant_all() && self.may_go(n, waiter)) {
            self.remove_waiter(waiter, wakes);
            return Credit::Here;
        }
        self.enqueue_or_requeue(Side::Send, n, waiter, waker, wakes);
        self.wake_eligible(wakes);
        Credit::Wait
    }

    /// Whether the sender may proceed: credit is reserved for a woken sender; an arrival gets what the others leave.
    fn may_go(&mut self, n: u64, waiter: &mut Waiter) -> bool {
        match self.wait_queues.is_woken(Side::Send, waiter) {
            Some(woken) => woken && self.is_covered(n, waiter),
            None => self.may_send(n),
        }
    }

    fn send_outgoing_or_wait(
        &mut self,
        outgoing: &mut impl Outgoing<T, B>,
        waiter: &mut Waiter,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Result<(), SendError<()>> {
        if waiter.is_enqueued() {
            let Some(weight) = outgoing.first_weight() else { return Ok(()) };
            match self.credit_or_wait(weight, waiter, waker, wakes) {
                Credit::Here => {}
                Credit::Wait => return Err(SendError::Full(())),
                Credit::Never => return Err(SendError::TooHeavy(())),
                Credit::Ended(end) => return Err(SendError::Ended((), end)),
            }
            if !outgoing.reserve(1, &mut self.buffer) {
                self.wake_eligible(wakes);
                return Err(SendError::NoMemory(()));
            }
            // The sender was woken for this item only; credit for the rest may belong to senders that came meanwhile.
            self.ledger.send(weight);
            self.put_outgoing(outgoing, 1);
        }
        let mut result = self.send_outgoing(outgoing, wakes);
        if matches!(result, Err(SendError::Full(()))) && self.grant_all() {
            result = self.send_outgoing(outgoing, wakes);
        }
        if let (Err(SendError::Full(())), Some(weight)) = (&result, outgoing.first_weight()) {
            self.enqueue_or_requeue(Side::Send, weight, waiter, waker, wakes);
        }
        self.wake_eligible(wakes);
        result
    }

    fn send_outgoing(&mut self, outgoing: &mut impl Outgoing<T, B>, wakes: &mut Wakes<W>) -> Result<(), SendError<()>> {
        self.prepare_to_send(wakes);
        if let Some(end) = self.closed() {
            return if outgoing.left() == 0 { Ok(()) } else { Err(SendError::Ended((), end)) };
        }
        let outcome = if self.senders().none_waiting() { self.send_covered(outgoing) } else { self.send_none(outgoing) };
        self.sent(wakes);
        outcome
    }

    /// The result if other senders are ahead in the wait queue: nothing is sent.
    fn send_none(&self, outgoing: &impl Outgoing<T, B>) -> Result<(), SendError<()>> {
        match outgoing.first_weight() {
            None => Ok(()),
            Some(weight) if weight > self.ledger.bound => Err(SendError::TooHeavy(())),
            Some(_) => Err(SendError::Full(())),
        }
    }

    /// Sends the items for which there is credit that no woken sender has claimed.
    fn send_covered(&mut self, outgoing: &mut impl Outgoing<T, B>) -> Result<(), SendError<()>> {
        let (count, outcome) = if outgoing.weighs_one_each() { self.take_equals(outgoing) } else { self.take_weights(outgoing) };
        self.put_outgoing(outgoing, count);
        outcome
    }

    /// Takes credit for items of weight one; returns the number of items it covers.
    fn take_equals(&mut self, outgoing: &impl Outgoing<T, B>) -> (usize, Result<(), SendError<()>>) {
        let left = outgoing.left();
        let count = usize::try_from(self.unclaimed_credit()).unwrap_or(usize::MAX).min(left);
        if !outgoing.reserve(count, &mut self.buffer) {
            return (0, Err(SendError::NoMemory(())));
        }
        self.ledger.send(count as u64);
        (count, if count == left { Ok(()) } else { Err(SendError::Full(())) })
    }

    fn take_weights(&mut self, outgoing: &impl Outgoing<T, B>) -> (usize, Result<(), SendError<()>>) {
        let (slots, claimed) = (self.slots(), self.senders().claimed());
        for index in 0..outgoing.left() {
            let weight = outgoing.weight(index);
            if weight > self.ledger.bound {
                return (index, Err(SendError::TooHeavy(())));
            }
            if !Self::fits(&self.ledger, slots + index, weight, claimed) {
                return (index, Err(SendError::Full(())));
            }
            // Reserved in steps, because the number of items that the credit covers is not known yet.
            if index % RESERVED == 0 && !outgoing.reserve(index + RESERVED, &mut self.buffer) {
                return (index, Err(SendError::NoMemory(())));
            }
            self.ledger.send(weight);
        }
        (outgoing.left(), Ok(()))
    }

    /// Buffers the first `count` items, whose weight has been taken from the ledger.
    fn put_outgoing(&mut self, outgoing: &mut impl Outgoing<T, B>, count: usize) {
        outgoing.put_in(count, &mut self.buffer);
        self.sends += count as u64;
        self.peak = self.peak.max(self.ledger.occupied);
    }

    // ---------------------------------------------------------------------------------------------------- bales in the wait queue

    fn offer_of(&self, waiter: &Waiter) -> Option<usize> {
        let (_, ticket) = waiter.position()?;
        self.offers.iter().position(|(offered, _)| *offered == ticket)
    }

    fn take_back(&mut self, waiter: &mut Waiter, wakes: &mut Wakes<W>) -> Option<B> {
        let bale = self.offer_of(waiter).map(|index| self.offers.swap_remove(index).1);
        self.remove_waiter(waiter, wakes);
        bale
    }

    /// Serves the wait queue in order: sends bales as far as there is credit, and wakes other senders that may proceed.
    #[cold]
    #[inline(never)]
    pub(super) fn serve_senders(&mut self, closed: bool, wakes: &mut Wakes<W>) {
        let clock = &self.wait_queues.clock;
        self.ledger.expire(|| clock.now());
        while let Some((ticket, _)) = self.senders().head() {
            if let Some(index) = self.offers.iter().position(|(offered, _)| *offered == ticket) {
                let (_, mut bale) = self.offers.swap_remove(index);
                let outcome = if closed { Ok(()) } else { self.send_covered(&mut bale) };
                self.offers.push((ticket, bale));
                if matches!(outcome, Err(SendError::Full(()))) {
                    return;
                }
                // All of it was sent, or no more can be sent: its owner is woken to see that, and claims no credit.
                self.wait_queues.queue_mut(Side::Send).wake(ticket, wakes);
            } else {
                self.wake_senders(1, closed, wakes);
                if self.senders().head().is_some_and(|(head, _)| head == ticket) {
                    return;
                }
            }
        }
    }
}
