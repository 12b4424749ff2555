//! The sender's operations: items, batches, permits, the ends, and control messages.

use super::buffer::{Bale, Buffer, Entry};
use super::channel::Channel;
use super::ledger::Permit;
use super::state::State;
use super::types::{End, Phase, SendError, SenderEnd, Side, Spot};
use crate::monitor::Waits;
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

impl<T, W: Wake, D: Domain, B: Bale, X> Channel<T, W, D, B, X> {
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
        self.visit(proof, |state, wakes| state.send_outgoing(&mut Items { items, weights }, wakes))
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
        self.visit(proof, |state, wakes| state.send_outgoing_or_wait(&mut Items { items, weights }, spot, waker, wakes))
    }

    /// Sends a bale's items as far as there is credit. The rest stays with the channel, in the place in line that `spot` then holds, and
    /// goes as credit comes, without its owner: `waker` is told when nothing is left, or it cannot go on. A spot that is held is given up
    /// first, with what it had offered. Not for a channel with deliveries.
    pub fn offer(&self, proof: D::Proof<'_>, mut bale: B, spot: &mut Spot, waker: &W) -> (Wakes<W>, Offer<B>) {
        self.visit(proof, |state, wakes| {
            assert!(state.deliveries.is_none(), "deliveries are of items");
            state.vacate(spot, wakes);
            let mut result = state.send_outgoing(&mut bale, wakes);
            if matches!(result, Err(SendError::Full(()))) && state.grant_all() {
                result = state.send_outgoing(&mut bale, wakes);
            }
            let offer = match result {
                Ok(()) => Offer::Sent,
                Err(SendError::Full(())) => {
                    state.stay(Side::Send, 0, spot, waker, wakes);
                    state.offers.extend(spot.place().map(|(_, ticket)| (ticket, bale)));
                    Offer::Standing
                }
                Err(SendError::TooHeavy(())) => Offer::TooHeavy(bale),
                Err(SendError::Ended((), end)) => Offer::Ended(bale, end),
            };
            state.settle(wakes);
            offer
        })
    }

    /// What has become of an offer. Unless it stands the spot is given up. (In the child of a fork it stands there for nothing: nobody serves
    /// it. It can still be seen, and taken back.)
    pub fn look_at_offer(&self, proof: D::Proof<'_>, spot: &mut Spot) -> (Wakes<W>, Offer<B>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let Some(bale) = state.offer_of(spot).map(|index| &state.offers[index].1) else {
                state.vacate(spot, wakes);
                return Offer::Sent;
            };
            let is_too_heavy = Outgoing::<T, B>::first_weight(bale).is_some_and(|weight| weight > state.ledger.bound);
            let (count, end) = (bale.count(), state.closed());
            if count > 0 && end.is_none() && !is_too_heavy {
                return Offer::Standing;
            }
            let bale = state.take_back(spot, wakes);
            state.settle(wakes);
            match (bale.filter(|_| count > 0), end) {
                (None, _) => Offer::Sent,
                (Some(bale), Some(end)) => Offer::Ended(bale, end),
                (Some(bale), None) => Offer::TooHeavy(bale),
            }
        })
    }

    /// Takes back what is left of an offer, and gives the spot up.
    pub fn take_back(&self, proof: D::Proof<'_>, spot: &mut Spot) -> (Wakes<W>, Option<B>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let bale = state.take_back(spot, wakes);
            state.settle(wakes);
            bale
        })
    }

    /// Looks at what is left of an offer.
    pub fn with_offer<R>(&self, proof: D::Proof<'_>, spot: &Spot, look: impl FnOnce(&B) -> R) -> Option<R> {
        self.section.with(proof, |state| state.offer_of(spot).map(|index| look(&state.offers[index].1)))
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
            // An item of weight 0 uses no credit of the permit; it needs a slot.
            if weight > permit.left().min(state.ledger.permits) || (weight == 0 && !state.has_slot()) {
                return Err(SendError::Full(item));
            }
            state.ledger.send_permitted(permit, weight);
            state.put_in(item, weight);
            state.settle(wakes);
            Ok(())
        })
    }

    /// Gives back what is left of a permit, to the next in line.
    #[must_use = "wake-ups are delivered by `fire`"]
    #[expect(clippy::needless_pass_by_value, reason = "nothing is left of it")]
    pub fn return_permit(&self, proof: D::Proof<'_>, permit: Permit) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            // After a cancel, and in the child of a fork, the permit is not in the ledger any more.
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
            state.settle(wakes); // the turn goes to the next in line
            outcome
        })
    }

    /// Whether an arrival could send `n` now.
    pub fn is_ready(&self, proof: D::Proof<'_>, n: u64) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| state.is_ready(n, wakes))
    }

    /// What an arrival may send now; [`UNBOUNDED`](super::UNBOUNDED) if there is no limit.
    pub fn credit(&self, proof: D::Proof<'_>) -> (Wakes<W>, u64) {
        self.visit(proof, |state, wakes| {
            state.prepare_to_send(wakes);
            state.credit()
        })
    }

    /// One more sender, which ends independently of the others, made from one that has not ended.
    ///
    /// # Errors
    /// How that sender has ended. (After another end of the channel there can still be one more sender, which has nothing to do.)
    pub fn add_sender(&self, proof: D::Proof<'_>, from: &SenderEnd) -> Result<SenderEnd, End> {
        self.section.with(proof, |state| {
            if from.has_ended() {
                return Err(state.closed().unwrap_or(End::Completed));
            }
            state.senders_left += 1;
            Ok(SenderEnd::default())
        })
    }

    /// A sender has nothing more to send. With the last one the channel is complete. No effect on one that has ended.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn complete(&self, proof: D::Proof<'_>, sender: &SenderEnd) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            if sender.end() {
                state.senders_left = state.senders_left.saturating_sub(1);
                if state.senders_left == 0 && state.phase == Phase::Open {
                    state.phase = Phase::Completing;
                }
                state.settle(wakes);
            }
        })
        .0
    }

    /// A sender has failed: receivers are told, after what is buffered. `note` is called if that is the end of the channel, inside the
    /// section: whoever finds the channel failed finds what it wrote. False, and no effect, if the channel or this sender had ended.
    pub fn fail(&self, proof: D::Proof<'_>, sender: &SenderEnd, note: impl FnOnce(&mut X)) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            let ends = sender.end() && matches!(state.phase, Phase::Open | Phase::Completing) && state.end().is_none();
            if ends {
                state.phase = Phase::Failed;
                note(&mut state.extras);
            }
            state.settle(wakes);
            ends
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

/// Several items to be sent in one step, as far as there is credit.
trait Outgoing<T, B> {
    /// How many items are left.
    fn left(&self) -> usize;
    fn weighs_one_each(&self) -> bool;
    /// The weight of one of the items that are left.
    fn weight(&self, index: usize) -> u64;
    fn put_in(&mut self, count: usize, buffer: &mut Buffer<T, B>);

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

    fn put_in(&mut self, count: usize, buffer: &mut Buffer<T, B>) {
        buffer.push_bale(self.take(count));
    }
}

/// The state of an offered bale. A bale that cannot be sent comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<B> {
    Sent,
    /// It is waiting in line.
    Standing,
    /// The first item that is left is heavier than the channel's bound.
    TooHeavy(B),
    Ended(B, End),
}

/// The answer to a request for credit.
enum Credit {
    /// There is credit; the operation has left the line.
    Here,
    /// The operation stands in line.
    Wait,
    Never,
    Ended(End),
}

impl<T, W: Wake, B: Bale, X> State<T, W, B, X> {
    /// Called before credit is looked at: ends a lease whose time is over.
    pub(super) fn prepare_to_send(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        if self.ledger.has_lease() {
            let clock = &self.lobby.clock;
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
        // Before a sender parks, all consumed credit is granted, whatever the step.
        if self.may_go(n, spot) || (self.grant_all() && self.may_go(n, spot)) {
            self.vacate(spot, wakes);
            return Credit::Here;
        }
        self.stay(Side::Send, n, spot, waker, wakes);
        self.settle(wakes);
        Credit::Wait
    }

    /// A woken sender has credit reserved; an arrival finds what the others leave.
    fn may_go(&mut self, n: u64, spot: &mut Spot) -> bool {
        match self.lobby.is_woken(Side::Send, spot) {
            Some(woken) => woken && self.is_covered(n, spot),
            None => self.may_send(n),
        }
    }

    fn send_outgoing_or_wait(
        &mut self,
        outgoing: &mut impl Outgoing<T, B>,
        spot: &mut Spot,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Result<(), SendError<()>> {
        if spot.is_held() {
            let Some(weight) = outgoing.first_weight() else { return Ok(()) };
            match self.credit_or_wait(weight, spot, waker, wakes) {
                Credit::Here => {}
                Credit::Wait => return Err(SendError::Full(())),
                Credit::Never => return Err(SendError::TooHeavy(())),
                Credit::Ended(end) => return Err(SendError::Ended((), end)),
            }
            // The turn was for this item; credit for the rest may belong to senders that came meanwhile.
            self.ledger.send(weight);
            self.put_outgoing(outgoing, 1);
        }
        let mut result = self.send_outgoing(outgoing, wakes);
        if matches!(result, Err(SendError::Full(()))) && self.grant_all() {
            result = self.send_outgoing(outgoing, wakes);
        }
        if let (Err(SendError::Full(())), Some(weight)) = (&result, outgoing.first_weight()) {
            self.stay(Side::Send, weight, spot, waker, wakes);
        }
        self.settle(wakes);
        result
    }

    fn send_outgoing(&mut self, outgoing: &mut impl Outgoing<T, B>, wakes: &mut Wakes<W>) -> Result<(), SendError<()>> {
        self.prepare_to_send(wakes);
        if let Some(end) = self.closed() {
            return if outgoing.left() == 0 { Ok(()) } else { Err(SendError::Ended((), end)) };
        }
        let outcome = if self.senders().nobody_waits() { self.send_covered(outgoing) } else { self.send_none(outgoing) };
        self.sent(wakes);
        outcome
    }

    /// The answer while other senders are ahead in line.
    fn send_none(&self, outgoing: &impl Outgoing<T, B>) -> Result<(), SendError<()>> {
        match outgoing.first_weight() {
            None => Ok(()),
            Some(weight) if weight > self.ledger.bound => Err(SendError::TooHeavy(())),
            Some(_) => Err(SendError::Full(())),
        }
    }

    /// Sends as much as there is credit for, apart from what woken senders have claimed.
    fn send_covered(&mut self, outgoing: &mut impl Outgoing<T, B>) -> Result<(), SendError<()>> {
        let (count, outcome) =
            if outgoing.weighs_one_each() { self.take_equals(outgoing.left()) } else { self.take_weights(outgoing) };
        self.put_outgoing(outgoing, count);
        outcome
    }

    /// Takes credit for up to `left` items of weight one; returns the number of items it covers.
    fn take_equals(&mut self, left: usize) -> (usize, Result<(), SendError<()>>) {
        let count = usize::try_from(self.unclaimed_credit()).unwrap_or(usize::MAX).min(left);
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

    // ----------------------------------------------------------------------------------------------------------- bales in the line

    fn offer_of(&self, spot: &Spot) -> Option<usize> {
        let (_, ticket) = spot.place()?;
        self.offers.iter().position(|(offered, _)| *offered == ticket)
    }

    fn take_back(&mut self, spot: &mut Spot, wakes: &mut Wakes<W>) -> Option<B> {
        let bale = self.offer_of(spot).map(|index| self.offers.swap_remove(index).1);
        self.vacate(spot, wakes);
        bale
    }

    /// Serves the line in order: a bale is sent as far as there is credit, other senders that may go are woken.
    #[cold]
    #[inline(never)]
    pub(super) fn serve_senders(&mut self, closed: bool, wakes: &mut Wakes<W>) {
        let clock = &self.lobby.clock;
        self.ledger.expire(|| clock.now());
        while let Some((ticket, _)) = self.senders().head() {
            if let Some(index) = self.offers.iter().position(|(offered, _)| *offered == ticket) {
                let (_, mut bale) = self.offers.swap_remove(index);
                let outcome = if closed { Ok(()) } else { self.send_covered(&mut bale) };
                self.offers.push((ticket, bale));
                if matches!(outcome, Err(SendError::Full(()))) {
                    return;
                }
                // All of it was sent, or no more can be: its owner is woken to see that, and claims no credit.
                self.lobby.line_mut(Side::Send).wake(ticket, wakes);
            } else {
                self.wake_senders(1, closed, wakes);
                if self.senders().head().is_some_and(|(head, _)| head == ticket) {
                    return;
                }
            }
        }
    }
}
