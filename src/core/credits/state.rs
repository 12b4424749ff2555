//! `State`: everything a credit channel knows. Only ever touched inside its section.

use std::collections::VecDeque;
use std::fmt;

use super::buffer::{Bale, Buffer, Received};
use super::deliveries::{Deliveries, Handed, Nack, Parcel, Receipt, Settled};
use super::ledger::{Ledger, UNBOUNDED};
use super::starvation::Starvation;
use super::types::{Config, End, NO_OWNER, Phase, ReceiveError, Removed, Side, Spot};
use crate::clock::{Clock, Nanos};
use crate::monitor::{self, Lobby, Waits};
use crate::sync::Arc;
use crate::wait::{Line, Ticket, Wake, Wakes};

/// Why grants are held back.
#[derive(Debug)]
pub(super) struct Hold<W> {
    pub(super) paused: bool,
    /// The channel deferred to: grants are held while its sender is starved.
    pub(super) downstream: Option<Arc<Starvation<W>>>,
}

impl<W: Wake> Hold<W> {
    pub(super) fn is_on(&self) -> bool {
        self.paused || self.downstream.as_ref().is_some_and(|downstream| downstream.is_on())
    }
}

/// See the head of this file.
pub struct State<T, W: Wake, B, X> {
    pub(super) ledger: Ledger,
    pub(super) buffer: Buffer<T, B>,
    pub(super) deliveries: Option<Deliveries<T>>,
    pub(super) controls: VecDeque<T>,
    pub(super) control_capacity: usize,
    /// The receiver takes control messages when it is told of them.
    pub(super) listens: bool,
    pub(super) phase: Phase,
    /// Clones of the sender that have not ended.
    pub(super) senders_left: usize,
    /// Bales that stand in the senders' line: their owners sleep while the channel sends what there is credit for.
    pub(super) offers: Vec<(Ticket, B)>,
    pub(super) hold: Hold<W>,
    pub(super) starvation: Arc<Starvation<W>>,
    /// Other channels may defer to this one.
    pub(super) is_observed: bool,
    pub(super) sends: u64,
    pub(super) receives: u64,
    pub(super) discarded: u64,
    pub(super) peak: u64,
    /// The waiter that looks after timed events (`ack_wait`, delays), and the time it has been told.
    timekeeper: Option<(Side, Ticket, Nanos)>,
    /// The owner whose own unsettled deliveries are all that is left, once its waiters have been told.
    self_wait: Option<u64>,
    pub(super) lobby: Lobby<W, 3>,
    /// Data that the binding keeps with the channel.
    pub(super) extras: X,
}

impl<T, W: Wake, B: Bale, X> State<T, W, B, X> {
    pub(super) fn new(config: Config, clock: Clock<W>, extras: X) -> Self {
        let Config { window, step, bound, control_capacity, rules } = config;
        Self {
            ledger: Ledger::new(window, step, bound),
            buffer: Buffer::default(),
            deliveries: rules.map(Deliveries::new),
            controls: VecDeque::new(),
            control_capacity,
            listens: false,
            phase: Phase::Open,
            senders_left: 1,
            offers: Vec::new(),
            hold: Hold { paused: false, downstream: None },
            starvation: Arc::new(Starvation::new()),
            is_observed: false,
            sends: 0,
            receives: 0,
            discarded: 0,
            peak: 0,
            timekeeper: None,
            self_wait: None,
            lobby: Lobby::new(clock),
            extras,
        }
    }

    // ------------------------------------------------------------------------------------------------ what follows from the state

    /// The number of items that can be received now.
    #[inline]
    pub(super) fn receivable(&self) -> usize {
        self.buffer.len() + self.deliveries.as_ref().map_or(0, Deliveries::ready)
    }

    /// The number of items for the receiver, now or after a delay.
    pub(super) fn buffered(&self) -> usize {
        self.receivable() + self.deliveries.as_ref().map_or(0, Deliveries::delayed)
    }

    pub(super) fn unacked(&self) -> usize {
        self.deliveries.as_ref().map_or(0, Deliveries::unacked)
    }

    /// The reason why nothing will ever be received again, if that is so.
    pub(super) fn end(&self) -> Option<End> {
        match self.phase {
            Phase::Open => None,
            Phase::Cancelled => Some(End::Cancelled),
            _ if self.buffered() + self.unacked() > 0 => None,
            // A permit that is out may still be used.
            Phase::Completing => (self.ledger.permits == 0).then_some(End::Completed),
            Phase::Failed => Some(End::Failed),
        }
    }

    /// The reason why nothing can be sent any more, if that is so.
    pub(super) fn closed(&self) -> Option<End> {
        match self.phase {
            Phase::Open => None,
            Phase::Completing => Some(End::Completed),
            Phase::Failed => Some(End::Failed),
            Phase::Cancelled => Some(End::Cancelled),
        }
    }

    /// Whether `want` fits when woken senders have claimed `claimed`. An item of weight 0 needs a slot.
    #[inline]
    pub(super) fn fits(ledger: &Ledger, slots: usize, want: u64, claimed: u64) -> bool {
        if want == 0 { (slots as u64) < ledger.bound } else { claimed.saturating_add(want) <= ledger.sendable() }
    }

    pub(super) fn slots(&self) -> usize {
        self.buffered() + self.unacked()
    }

    /// Whether there is a slot for an item of weight 0.
    pub(super) fn has_slot(&self) -> bool {
        (self.slots() as u64) < self.ledger.bound
    }

    /// May one who comes now send so much? Whoever waits, or has been woken for credit, is before it.
    #[inline]
    pub(super) fn may_send(&self, want: u64) -> bool {
        self.senders().nobody_waits()
            && Self::fits(&self.ledger, if want == 0 { self.slots() } else { 0 }, want, self.senders().claimed())
    }

    /// May one that has been woken still send so much? What was claimed for it, and for those before it, may have been taken back.
    pub(super) fn is_covered(&self, want: u64, spot: &Spot) -> bool {
        let Some((_, ticket)) = spot.place() else { return self.may_send(want) };
        let is_first = self.senders().head().is_none_or(|(head, _)| ticket < head);
        is_first && Self::fits(&self.ledger, self.slots(), want, self.senders().claimed_before(ticket))
    }

    /// What one who comes now may send. [`UNBOUNDED`]: whatever it likes.
    pub(super) fn credit(&self) -> u64 {
        if !self.senders().nobody_waits() || self.phase != Phase::Open {
            return 0;
        }
        self.unclaimed_credit()
    }

    /// The credit that is left when the woken senders have taken theirs.
    pub(super) fn unclaimed_credit(&self) -> u64 {
        match self.ledger.credit() {
            UNBOUNDED => UNBOUNDED,
            credit => credit.saturating_sub(self.senders().claimed()),
        }
    }

    // ------------------------------------------------------------------------------------------------------------------- changes

    /// Handles timed events that have become due: lease ends, expired deliveries, delays.
    pub(super) fn catch_up(&mut self, removed: &mut Removed<T, B>) {
        let clock = &self.lobby.clock;
        self.ledger.expire(|| clock.now());
        let Some(deliveries) = self.deliveries.as_mut().filter(|deliveries| deliveries.next_due().is_some()) else { return };
        let (ledger, discarded) = (&mut self.ledger, &mut self.discarded);
        deliveries.settle_due(clock.now(), |parcel| {
            ledger.consumed(parcel.weight);
            *discarded += 1;
            removed.dropped.items.push(parcel.item);
        });
    }

    /// Grants what is owed, in steps of the threshold; all of it when nothing is left to receive. (A sender that parks gets all of it too, see
    /// `credit_or_wait`. A sender in line is not woken for every single item.)
    #[inline]
    fn replenish(&mut self, nothing_left: bool) -> bool {
        let grants = self.ledger.owed > 0 && (self.ledger.reaches_step() || nothing_left) && !self.hold.is_on();
        if grants {
            self.ledger.grant();
        }
        grants
    }

    /// May a sender in line go because something has been received, without a grant? With a window only for a slot.
    fn has_made_room(&self) -> bool {
        self.ledger.window == 0 || self.slots() as u64 + 1 >= self.ledger.bound
    }

    /// Grants what is due and wakes whom the state allows to go. Call it after every change.
    #[inline(never)]
    pub(super) fn settle(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        // Delayed deliveries do not count: until they come back, sending more is all that can happen.
        self.replenish(self.receivable() == 0);
        let closed = self.phase != Phase::Open;
        if !self.senders().nobody_waits() {
            if self.offers.is_empty() {
                self.wake_senders(usize::MAX, closed, wakes);
            } else {
                self.serve_senders(closed, wakes);
            }
        }
        if !self.receivers().nobody_waits() {
            let ended = self.end().is_some() || (self.listens && !self.controls.is_empty());
            let there = self.receivable() as u64;
            self.lobby.line_mut(Side::Receive).wake_while(wakes, |want, claimed| ended || claimed.saturating_add(want) <= there);
        }
        if closed && !self.lobby.line(Side::Close).is_empty() {
            self.lobby.line_mut(Side::Close).release_all(wakes);
        }
        if self.deliveries.is_some() {
            self.note_due(wakes);
            self.note_self_wait(wakes);
        }
        if self.is_observed {
            self.tell_observers(wakes);
        }
    }

    /// Wakes those at the head of the line that may go, `most` at most.
    pub(super) fn wake_senders(&mut self, most: usize, closed: bool, wakes: &mut Wakes<W>) {
        let (slots, mut left) = (self.slots(), most);
        let Self { lobby, ledger, .. } = self;
        lobby.line_mut(Side::Send).wake_while(wakes, |want, claimed| {
            let goes = left > 0 && (closed || Self::fits(ledger, slots, want, claimed));
            left -= usize::from(goes);
            goes
        });
    }

    /// The first receiver in line, or else the first sender, looks after timed events. It is woken when their time changes, or when it becomes
    /// the first.
    fn note_due(&mut self, wakes: &mut Wakes<W>) {
        let keeper = self.keeper();
        if let Some((side, ticket, due)) = keeper {
            if self.timekeeper.is_none_or(|(of, told, at)| (of, told) != (side, ticket) || due < at) {
                self.lobby.line(side).nudge(ticket, wakes);
            }
        }
        self.timekeeper = keeper;
    }

    fn keeper(&self) -> Option<(Side, Ticket, Nanos)> {
        let receiver = self.receivers().head().map(|(ticket, _)| (Side::Receive, ticket));
        let (side, ticket) = receiver.or_else(|| self.senders().head().map(|(ticket, _)| (Side::Send, ticket)))?;
        Some((side, ticket, self.deliveries.as_ref()?.next_due()?))
    }

    /// Called when the waiter at `spot` is about to ask for the next due time itself, so that it need not be woken for it.
    pub(super) fn keep_time(&mut self, spot: &Spot) {
        let keeper = self.keeper();
        if spot.place() == keeper.map(|(side, ticket, _)| (side, ticket)) {
            self.timekeeper = keeper;
        }
    }

    /// Wakes the receivers in line when all that is left is one owner's unsettled deliveries: the owner, if it is among them, must be told.
    fn note_self_wait(&mut self, wakes: &mut Wakes<W>) {
        if !self.is_left_with_unacked() {
            self.self_wait = None;
        } else if self.self_wait.is_none() {
            self.self_wait = self.deliveries.as_ref().and_then(Deliveries::only_owner);
            if self.self_wait.is_some() {
                self.receivers().waiting().for_each(|(ticket, _)| self.receivers().nudge(ticket, wakes));
            }
        }
    }

    /// True if all that is left is unsettled deliveries.
    fn is_left_with_unacked(&self) -> bool {
        let is_over = match self.phase {
            Phase::Open => false,
            Phase::Completing => self.ledger.permits == 0,
            Phase::Failed | Phase::Cancelled => true,
        };
        is_over && self.buffered() == 0 && self.unacked() > 0
    }

    #[inline]
    pub(super) fn put_in(&mut self, item: T, weight: u64) {
        self.buffer.push(item, weight);
        self.sends += 1;
        self.peak = self.peak.max(self.ledger.occupied);
    }

    /// To be called after a send: receivers may go, and the sender may have become starved.
    #[inline]
    pub(super) fn sent(&mut self, wakes: &mut Wakes<W>) {
        if !self.receivers().nobody_waits() || self.is_observed {
            self.settle(wakes);
        }
    }

    /// The next item, of a channel without deliveries.
    #[inline]
    pub(super) fn take_out(&mut self) -> Option<Received<T, B>> {
        let (received, weight) = self.buffer.pop()?;
        self.receives += 1;
        self.ledger.consumed(weight);
        Some(received)
    }

    /// After something has been taken out, of a channel without deliveries.
    #[inline]
    pub(super) fn received(&mut self, wakes: &mut Wakes<W>) {
        let granted = self.replenish(self.buffer.is_empty());
        if (!self.senders().nobody_waits() && (granted || self.has_made_room())) || self.phase != Phase::Open || self.is_observed
        {
            self.settle(wakes);
        }
    }

    /// The next item, to be settled.
    pub(super) fn hand_out(&mut self, owner: u64, share: impl Fn(&T) -> T) -> Option<Handed<T>> {
        let now = self.lobby.clock.now();
        let deliveries = self.deliveries.as_mut()?;
        let (sequence, parcel) = if let Some(ready) = deliveries.next_ready() {
            ready
        } else {
            // Bales go only into channels without deliveries.
            let (Received::Item(item), weight) = self.buffer.pop()? else { return None };
            (deliveries.first_time(), Parcel { item, weight, attempts: 0 })
        };
        self.receives += 1;
        Some(deliveries.hand_out(sequence, parcel, owner, now, share))
    }

    /// A delivery has been settled. False if the receipt is stale.
    pub(super) fn settle_delivery(&mut self, receipt: Receipt, nack: Option<Nack>, removed: &mut Removed<T, B>) -> bool {
        if self.phase == Phase::Cancelled {
            return true; // the deliveries went with the rest
        }
        let now = self.lobby.clock.now();
        let Some(deliveries) = &mut self.deliveries else { return false };
        let settled = match nack {
            None => deliveries.ack(receipt),
            Some(nack) => deliveries.nack(receipt, nack, now),
        };
        match settled {
            None => return false,
            Some(Settled::Requeued) => {}
            Some(Settled::Done(parcel)) => {
                self.ledger.consumed(parcel.weight);
                removed.settled.push(parcel.item);
            }
            Some(Settled::Discarded(parcel)) => {
                self.ledger.consumed(parcel.weight);
                self.discarded += 1;
                removed.dropped.items.push(parcel.item);
            }
        }
        true
    }

    /// The receiver has cancelled: everything is removed. False if the channel had ended before.
    pub(super) fn cancel(&mut self, removed: &mut Removed<T, B>) -> bool {
        if self.phase == Phase::Cancelled || self.end().is_some() {
            return false;
        }
        self.phase = Phase::Cancelled;
        let before = removed.dropped.count(); // counted already
        if let Some(deliveries) = &mut self.deliveries {
            let (waiting, out) = deliveries.take_all();
            removed.dropped.items.extend(waiting.into_iter().map(|parcel| parcel.item));
            removed.settled.extend(out.into_iter().map(|parcel| parcel.item));
        }
        removed.dropped.append(self.buffer.pop_batch(usize::MAX).0);
        self.discarded += (removed.dropped.count() - before) as u64;
        // Control messages are not reported as discarded: their sender learns of the end.
        removed.settled.extend(self.controls.drain(..));
        self.ledger.close();
        true
    }

    // ------------------------------------------------------------------------------------------------------------------- waiting

    #[inline]
    pub(super) fn senders(&self) -> &Line<W> {
        self.lobby.line(Side::Send)
    }

    #[inline]
    pub(super) fn receivers(&self) -> &Line<W> {
        self.lobby.line(Side::Receive)
    }

    /// Takes a place in line for an operation that has to wait, or keeps the place it has, for `want` from now on.
    pub(super) fn stay(&mut self, side: Side, want: u64, spot: &mut Spot, waker: &W, wakes: &mut Wakes<W>) {
        if let Some(ticket) = self.lobby.keep_or_join(side, want, spot, waker, wakes) {
            self.lobby.line_mut(side).set_want(ticket, want, false);
        }
    }

    /// The answer to a receive that found nothing.
    pub(super) fn nothing_there(&self, owner: u64) -> ReceiveError {
        if let Some(end) = self.end() {
            return ReceiveError::Ended(end);
        }
        let only_owner = || self.deliveries.as_ref().and_then(Deliveries::only_owner);
        if owner != NO_OWNER && self.is_left_with_unacked() && only_owner() == Some(owner) {
            return ReceiveError::SelfWait;
        }
        ReceiveError::Empty
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &T> {
        self.buffer.items().chain(&self.controls).chain(self.deliveries.iter().flat_map(Deliveries::items))
    }
}

impl<T, W: Wake, B, X> fmt::Debug for State<T, W, B, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl monitor::Side for Side {
    #[inline]
    fn index(self) -> usize {
        self as usize
    }
}

impl<T, W: Wake, B: Bale, X> Waits<W, 3> for State<T, W, B, X> {
    type Side = Side;

    #[inline]
    fn lobby(&self) -> &Lobby<W, 3> {
        &self.lobby
    }

    #[inline]
    fn lobby_mut(&mut self) -> &mut Lobby<W, 3> {
        &mut self.lobby
    }

    fn settle_all(&mut self, wakes: &mut Wakes<W>) {
        self.settle(wakes);
    }

    /// A bale that was offered goes with its place.
    fn vacate(&mut self, spot: &mut Spot, wakes: &mut Wakes<W>) {
        if let Some((Side::Send, ticket)) = spot.place() {
            self.offers.retain(|(offered, _)| *offered != ticket);
        }
        self.lobby.vacate(spot, wakes);
    }

    /// The permits are the parent's too.
    fn forget_more(&mut self) {
        self.ledger.forget_permits();
    }
}
