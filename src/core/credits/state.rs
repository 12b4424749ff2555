//! `State`: the state of a credit channel. Only accessed inside its section.

use std::collections::VecDeque;
use std::fmt;

use super::buffer::{Bale, Buffer, Received};
use super::deliveries::{Deliveries, DiscardReason, Handed, Handle, Nack, Receipt, Settled, Settling};
use super::ledger::{Ledger, UNBOUNDED};
use super::starvation::Starvation;
use super::types::{Config, End, NO_OWNER, Phase, ReceiveError, Removed, Side, Waiter};
use crate::clock::{Clock, Nanos};
use crate::monitor::{self, MonitorState, WaitQueues, wait_queues};
use crate::sync::Arc;
use crate::wait::{Ticket, WaitQueue, Wake, Wakes};

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
    /// True if the receiver listens to control messages.
    pub(super) listens: bool,
    pub(super) phase: Phase,
    /// The number of senders that have not ended.
    pub(super) senders_left: usize,
    /// Bales in the senders' wait queue: their owners sleep while the channel sends the items for which there is credit.
    pub(super) offers: Vec<(Ticket, B)>,
    pub(super) hold: Hold<W>,
    pub(super) starvation: Arc<Starvation<W>>,
    /// True if other channels may defer to this one.
    pub(super) is_observed: bool,
    pub(super) sends: u64,
    pub(super) receives: u64,
    pub(super) discarded: u64,
    pub(super) peak: u64,
    /// The waiter that handles timed events (`ack_wait`, delays), and the time of the next event that it knows.
    timekeeper: Option<(Side, Ticket, Nanos)>,
    /// The owner whose own unsettled deliveries are all that is left; set once waiting receivers have been woken to check for that.
    self_wait: Option<u64>,
    /// True if it was stopped: later settlements are stale. (After a cancel they have no effect.)
    pub(super) is_late: bool,
    pub(super) wait_queues: WaitQueues<W, 4>,
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
            is_late: false,
            wait_queues: WaitQueues::new(clock),
            extras,
        }
    }

    // ------------------------------------------------------------------------------------------------------------------ questions

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
            // A permit that is held may still be used.
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

    /// Whether there is credit for `want` in addition to the `claimed` of woken senders. An item of weight 0 needs a slot.
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

    /// Whether an arrival may send this amount. Senders that are waiting, or have been woken for credit, come first.
    #[inline]
    pub(super) fn may_send(&self, want: u64) -> bool {
        self.senders().none_waiting()
            && Self::fits(&self.ledger, if want == 0 { self.slots() } else { 0 }, want, self.senders().claimed())
    }

    /// Whether a woken sender may still send this amount: credit claimed for it, or for senders before it, may have been taken back.
    pub(super) fn is_covered(&self, want: u64, waiter: &Waiter) -> bool {
        let Some((_, ticket)) = waiter.position() else { return self.may_send(want) };
        let is_first = self.senders().head().is_none_or(|(head, _)| ticket < head);
        is_first && Self::fits(&self.ledger, self.slots(), want, self.senders().claimed_before(ticket))
    }

    /// The amount that an arrival may send; [`UNBOUNDED`] if there is no limit.
    pub(super) fn credit(&self) -> u64 {
        if !self.senders().none_waiting() || self.phase != Phase::Open {
            return 0;
        }
        self.unclaimed_credit()
    }

    /// The credit that no woken sender has claimed.
    pub(super) fn unclaimed_credit(&self) -> u64 {
        match self.ledger.credit() {
            UNBOUNDED => UNBOUNDED,
            credit => credit.saturating_sub(self.senders().claimed()),
        }
    }

    // ------------------------------------------------------------------------------------------------------------------- changes

    /// Handles timed events that have become due: lease ends, expired deliveries, delays.
    pub(super) fn catch_up(&mut self, removed: &mut Removed<T, B>) {
        let clock = &self.wait_queues.clock;
        self.ledger.expire(|| clock.now());
        let is_due = |deliveries: &&mut Deliveries<T>| deliveries.next_due().is_some_and(|due| due <= clock.now());
        let Some(deliveries) = self.deliveries.as_mut().filter(is_due) else { return };
        let now = clock.now();
        while let Some(reason) = deliveries.settle_due(now) {
            if !removed.has_room(reason) {
                deliveries.try_later(now);
                break;
            }
            let Some(tracked) = deliveries.give_up_expired(reason) else { break };
            self.ledger.comes_back(tracked.weight, self.phase == Phase::Cancelled);
            self.discarded += 1;
            removed.discard(tracked.item, reason);
        }
        self.note_stopped();
    }

    /// Grants what is owed, in steps of the threshold; all of it when nothing is left to receive. (All of it is granted, too, before a sender
    /// waits, see `credit_or_wait`. A waiting sender is not woken for every single item.)
    #[inline]
    fn replenish(&mut self, nothing_left: bool) -> bool {
        let grants = self.ledger.owed > 0 && (self.ledger.reaches_step() || nothing_left) && !self.hold.is_on();
        if grants {
            self.ledger.grant();
        }
        grants
    }

    /// Whether a waiting sender may proceed because something has been received, without a grant. With a window only for a slot.
    fn has_made_room(&self) -> bool {
        self.ledger.window == 0 || self.slots() as u64 + 1 >= self.ledger.bound
    }

    /// Grants what is due, and wakes the waiters that may proceed. Has to be called after every change.
    #[inline(never)]
    pub(super) fn wake_eligible(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        // Delayed deliveries do not count as receivable: until they are requeued, only sending can make progress.
        self.replenish(self.receivable() == 0);
        let closed = self.phase != Phase::Open;
        if !self.senders().none_waiting() {
            if self.offers.is_empty() {
                self.wake_senders(usize::MAX, closed, wakes);
            } else {
                self.serve_senders(closed, wakes);
            }
        }
        if !self.receivers().none_waiting() {
            let ended = self.end().is_some() || (self.listens && !self.controls.is_empty());
            let there = self.receivable() as u64;
            self.wait_queues
                .queue_mut(Side::Receive)
                .wake_while(wakes, |want, claimed| ended || claimed.saturating_add(want) <= there);
        }
        if closed && !self.wait_queues.queue(Side::Close).is_empty() {
            self.wait_queues.queue_mut(Side::Close).release_all(wakes);
        }
        if self.deliveries.is_some() {
            self.note_due(wakes);
            self.note_self_wait(wakes);
            self.tell_stoppers(wakes);
        }
        if self.is_observed {
            self.tell_observers(wakes);
        }
    }

    /// Wakes at most `most` senders at the head of the wait queue that may proceed.
    pub(super) fn wake_senders(&mut self, most: usize, closed: bool, wakes: &mut Wakes<W>) {
        let (slots, mut left) = (self.slots(), most);
        let Self { wait_queues, ledger, .. } = self;
        wait_queues.queue_mut(Side::Send).wake_while(wakes, |want, claimed| {
            let goes = left > 0 && (closed || Self::fits(ledger, slots, want, claimed));
            left -= usize::from(goes);
            goes
        });
    }

    /// The first waiting receiver, or else the first waiting sender, handles timed events. It is woken when the time of the next event changes,
    /// or when it becomes the first.
    fn note_due(&mut self, wakes: &mut Wakes<W>) {
        let keeper = self.keeper();
        if let Some((side, ticket, due)) = keeper {
            if self.timekeeper.is_none_or(|(of, told, at)| (of, told) != (side, ticket) || due < at) {
                self.wait_queues.queue(side).prod(ticket, wakes);
            }
        }
        self.timekeeper = keeper;
    }

    fn keeper(&self) -> Option<(Side, Ticket, Nanos)> {
        let receiver = self.receivers().head().map(|(ticket, _)| (Side::Receive, ticket));
        let (side, ticket) = receiver.or_else(|| self.senders().head().map(|(ticket, _)| (Side::Send, ticket)))?;
        Some((side, ticket, self.deliveries.as_ref()?.next_due()?))
    }

    /// Called when `waiter` is about to ask for the next due time itself, so that it need not be woken for it.
    pub(super) fn keep_time(&mut self, waiter: &Waiter) {
        let keeper = self.keeper();
        if waiter.position() == keeper.map(|(side, ticket, _)| (side, ticket)) {
            self.timekeeper = keeper;
        }
    }

    /// Wakes the waiting receivers if all that is left is one owner's unsettled deliveries: if the owner is among them, it must get an error.
    fn note_self_wait(&mut self, wakes: &mut Wakes<W>) {
        if !self.is_left_with_unacked() {
            self.self_wait = None;
        } else if self.self_wait.is_none() {
            self.self_wait = self.deliveries.as_ref().and_then(Deliveries::only_owner);
            if self.self_wait.is_some() {
                self.receivers().waiting().for_each(|(ticket, _)| self.receivers().prod(ticket, wakes));
            }
        }
    }

    /// True if all that is left is unsettled deliveries.
    pub(super) fn is_left_with_unacked(&self) -> bool {
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

    /// Has to be called after a send: receivers may proceed, and the sender may have become starved.
    #[inline]
    pub(super) fn sent(&mut self, wakes: &mut Wakes<W>) {
        if !self.receivers().none_waiting() || self.is_observed {
            self.wake_eligible(wakes);
        }
    }

    /// Takes the next item of a channel without deliveries.
    #[inline]
    pub(super) fn take_out(&mut self) -> Option<Received<T, B>> {
        let (received, weight) = self.buffer.pop()?;
        self.receives += 1;
        self.ledger.consumed(weight);
        Some(received)
    }

    /// Has to be called after items have been taken from a channel without deliveries.
    #[inline]
    pub(super) fn received(&mut self, wakes: &mut Wakes<W>) {
        let granted = self.replenish(self.buffer.is_empty());
        if (!self.senders().none_waiting() && (granted || self.has_made_room())) || self.phase != Phase::Open || self.is_observed
        {
            self.wake_eligible(wakes);
        }
    }

    /// Hands out the next item, to be settled. Items of a lane that is being stopped are given up on the way. `None`: there is no item.
    ///
    /// # Errors
    /// There is no memory for it. It stays where it is.
    pub(super) fn hand_out(
        &mut self,
        owner: u64,
        handle: &impl Handle<T>,
        removed: &mut Removed<T, B>,
    ) -> Result<Option<Handed<T>>, ReceiveError> {
        let clock = &self.wait_queues.clock;
        let now = || clock.now();
        let Some(deliveries) = &mut self.deliveries else { return Ok(None) };
        if let Some(handed) = deliveries.once_more(owner, now, handle) {
            self.receives += 1;
            return Ok(Some(handed));
        }
        while let Some(lane) = self.buffer.peek().map(|item| handle.lane(item)) {
            let is_stopping = deliveries.lanes.is_stopping(lane);
            let has_room =
                if is_stopping { removed.has_room(DiscardReason::Cancelled) } else { deliveries.try_reserve(lane).is_ok() };
            if !has_room {
                return Err(ReceiveError::NoMemory);
            }
            // Only channels without deliveries have bales.
            let Some((Received::Item(item), weight)) = self.buffer.pop() else { break };
            if !is_stopping {
                self.receives += 1;
                return Ok(Some(deliveries.first_time(item, weight, lane, owner, now, handle)));
            }
            self.ledger.consumed(weight);
            self.discarded += 1;
            removed.discard(item, DiscardReason::Cancelled);
        }
        Ok(None)
    }

    /// Settles a delivery. Also returns the item if it has been acked.
    pub(super) fn settle_delivery(
        &mut self,
        receipt: Receipt,
        nack: Option<Nack>,
        removed: &mut Removed<T, B>,
    ) -> (Settling, Option<T>) {
        let is_closed = self.phase == Phase::Cancelled;
        let clock = &self.wait_queues.clock;
        let Some(deliveries) = &mut self.deliveries else { return (Settling::Stale, None) };
        if is_closed && !deliveries.is_stopping() && !self.is_late {
            return (Settling::Again, None); // the deliveries were removed when the channel was cancelled
        }
        let settled = match nack {
            None => deliveries.ack(receipt),
            Some(nack) => deliveries.nack(receipt, nack, || clock.now()),
        };
        let (outcome, item) = match settled {
            None => return (Settling::Stale, None),
            Some(Settled::Requeued) => return (Settling::Requeued, None),
            Some(Settled::Done(tracked)) => {
                self.ledger.comes_back(tracked.weight, is_closed);
                (Settling::Done, Some(tracked.item))
            }
            Some(Settled::Discarded(tracked, reason)) => {
                self.ledger.comes_back(tracked.weight, is_closed);
                self.discarded += 1;
                removed.discard(tracked.item, reason);
                (Settling::Discarded(reason), None)
            }
        };
        self.note_stopped();
        (outcome, item)
    }

    /// Cancels the channel and removes everything. False if the channel had ended before.
    pub(super) fn cancel(&mut self, removed: &mut Removed<T, B>) -> bool {
        let ends = self.close_down(removed);
        if ends || self.is_stopping() {
            self.give_up_out(removed);
        }
        ends
    }

    // ------------------------------------------------------------------------------------------------------------------- waiting

    #[inline]
    pub(super) fn senders(&self) -> &WaitQueue<W> {
        self.wait_queues.queue(Side::Send)
    }

    #[inline]
    pub(super) fn receivers(&self) -> &WaitQueue<W> {
        self.wait_queues.queue(Side::Receive)
    }

    /// Adds an operation to a wait queue, or keeps the place it has, for `want` from now on.
    pub(super) fn enqueue_or_requeue(&mut self, side: Side, want: u64, waiter: &mut Waiter, waker: &W, wakes: &mut Wakes<W>) {
        if let Some(ticket) = self.wait_queues.keep_or_enqueue(side, want, waiter, waker, wakes) {
            self.wait_queues.queue_mut(side).set_want(ticket, want, false);
        }
    }

    /// The error of a receive that found nothing.
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

impl<T, W: Wake, B: Bale, X> MonitorState<W, 4> for State<T, W, B, X> {
    type Side = Side;

    wait_queues!(wait_queues, 4);

    fn wake_all_eligible(&mut self, wakes: &mut Wakes<W>) {
        self.wake_eligible(wakes);
    }

    /// Removes an offered bale together with its place.
    fn remove_waiter(&mut self, waiter: &mut Waiter, wakes: &mut Wakes<W>) {
        if let Some((Side::Send, ticket)) = waiter.position() {
            self.offers.retain(|(offered, _)| *offered != ticket);
        }
        self.wait_queues.remove_waiter(waiter, wakes);
    }

    /// Permits are held by threads of the parent too.
    fn forget_more(&mut self) {
        self.ledger.forget_permits();
        if let Some(deliveries) = &mut self.deliveries {
            deliveries.lanes.forget_reporter();
        }
    }
}
