//! Stopping: the receiver ends a channel, or some of its lanes, and waits for the outstanding deliveries. Also the steps that a stop and a
//! cancel share.
//!
//! A stop hands out nothing new, and gives up the buffered items at once, unsettled, so that `settled_through` stays below them. Outstanding
//! deliveries can still be settled. The stop ends when none is outstanding any more, or when its caller does not want to wait longer: then the
//! outstanding deliveries are given up as well, and their receipts are stale.
//!
//! Stopping a whole channel:
//!
//! | event                              | running                                                | stopping: deliveries are outstanding | stopped           |
//! |------------------------------------|--------------------------------------------------------|----------------------------------|-----------------------|
//! | `stop`                             | buffered items are given up; stopping, or stopped if nothing is outstanding | waits for the same end | ends at once  |
//! | a delivery is acked or rejected    | it is settled                                          | it is settled; after the last one: stopped | stale if it was given up |
//! | a delivery is nacked, or expires   | it is requeued                                         | it is given up; after the last one: stopped | stale if it was given up |
//! | `give_up`: no time left            | -                                                      | outstanding deliveries are given up; stopped | no change |
//! | `cancel`                           | everything is given up; settling has no effect from then on | outstanding deliveries are given up; stopped | no change |
//! | send, receive                      | as usual                                               | cancelled                        | cancelled             |
//!
//! If the channel has already ended (completed or failed, with nothing buffered or outstanding), it does not change, and a stop ends at once.
//!
//! For senders and receivers a channel that is being stopped as a whole is cancelled. A lane that has been stopped may start again, from 0.

use std::collections::TryReserveError;

use super::buffer::Bale;
use super::channel::Channel;
use super::deliveries::{Deliveries, Handle};
use super::lanes::Lane;
use super::state::State;
use super::types::{Outcome, Phase, Removed, Side, Waiter};
use crate::monitor::MonitorState;
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

/// What is to be stopped, and the progress of the stop.
#[derive(Clone, Debug)]
pub enum Stop {
    All {
        has_begun: bool,
    },
    /// For each lane: the number of stops before this one, and its count at the end of this stop.
    Lanes(Vec<(Lane, Option<u64>, Option<u64>)>),
}

impl Stop {
    pub const fn all() -> Self {
        Self::All { has_begun: false }
    }

    /// A stop of these lanes.
    ///
    /// # Errors
    /// There is no memory for a list of so many.
    pub fn lanes(lanes: impl IntoIterator<Item = Lane>) -> Result<Self, TryReserveError> {
        let mut list = Vec::new();
        for lane in lanes {
            list.try_reserve(1)?;
            list.push((lane, None, None));
        }
        Ok(Self::Lanes(list))
    }
}

impl<T, W: Wake, D: Domain, B: Bale, X> Channel<T, W, D, B, X> {
    /// Begins or continues a stop, and returns whether it has ended. If not, and `waiter` is given, it is in a wait queue and will be woken.
    pub fn stop(
        &self,
        proof: D::Proof<'_>,
        stop: &mut Stop,
        handle: &impl Handle<T>,
        waiter: &mut Waiter,
        waker: Option<&W>,
    ) -> Outcome<T, W, B, bool> {
        let mut outcome = self.visit_all(proof, |state, wakes, removed| {
            let has_ended = state.stop(stop, handle, removed);
            match waker {
                Some(waker) if !has_ended => state.enqueue_or_requeue(Side::Stop, 1, waiter, waker, wakes),
                _ => state.remove_waiter(waiter, wakes),
            }
            has_ended
        });
        if matches!(stop, Stop::All { .. }) {
            outcome.0.append(self.defer_to(proof, None).0);
        }
        outcome
    }

    /// Ends a stop that has begun, even if deliveries are outstanding.
    pub fn give_up(&self, proof: D::Proof<'_>, stop: &mut Stop, handle: &impl Handle<T>) -> Outcome<T, W, B, ()> {
        self.visit_all(proof, |state, _, removed| {
            if state.stop(stop, handle, removed) {
                return;
            }
            match stop {
                Stop::All { .. } => {
                    state.is_late = true;
                    state.give_up_out(removed);
                }
                Stop::Lanes(lanes) => {
                    state.give_up_lanes(lanes, removed);
                }
            }
            state.stop(stop, handle, removed);
        })
    }

    /// The number below which every item is settled, in a lane. (A channel without lanes has lane 0.)
    pub fn settled_through(&self, proof: D::Proof<'_>, lane: Lane) -> Outcome<T, W, B, u64> {
        self.visit_all(proof, |state, _, _| match &state.deliveries {
            Some(deliveries) => deliveries.lanes.through(lane),
            None => state.receives,
        })
    }

    /// The next progress to be reported: a lane and its count. Each is returned once, in order, and to one thread at a time: a thread that gets
    /// one reports it and calls this again, with `again`, until it gets `None`.
    pub fn next_report(&self, proof: D::Proof<'_>, again: bool) -> Option<(Lane, u64)> {
        self.section.with(proof, |state| state.deliveries.as_mut()?.lanes.report(again))
    }
}

/// Appends to a list. If that is empty, it is made in the memory of the list that `items` comes from.
fn collect_into<T>(list: &mut Vec<T>, items: impl Iterator<Item = T>) {
    if list.is_empty() {
        *list = items.collect();
    } else {
        list.extend(items);
    }
}

impl<T, W: Wake, B: Bale, X> State<T, W, B, X> {
    pub(super) fn is_stopping(&self) -> bool {
        self.deliveries.as_ref().is_some_and(Deliveries::is_stopping)
    }

    pub(super) fn settled_through(&self) -> u64 {
        self.deliveries.as_ref().map_or(self.receives, |deliveries| deliveries.lanes.through_together())
    }

    /// Begins a stop, or checks its progress. Returns true once it has ended.
    fn stop(&mut self, stop: &mut Stop, handle: &impl Handle<T>, removed: &mut Removed<T, B>) -> bool {
        match stop {
            Stop::All { has_begun } => {
                if !std::mem::replace(has_begun, true) && self.close_down(removed) {
                    self.is_late = true;
                    self.note_stopped();
                }
                !self.is_stopping()
            }
            Stop::Lanes(lanes) => {
                let begins = lanes.iter().any(|lane| lane.1.is_none());
                if begins {
                    self.stop_lanes(lanes, handle, removed);
                }
                let Some(deliveries) = &self.deliveries else { return true };
                for (lane, before, through) in lanes.iter_mut() {
                    *through = through.or_else(|| deliveries.lanes.stopped_at(*lane, before.unwrap_or_default()));
                }
                lanes.iter().all(|lane| lane.2.is_some())
            }
        }
    }

    fn stop_lanes(
        &mut self,
        lanes: &mut [(Lane, Option<u64>, Option<u64>)],
        handle: &impl Handle<T>,
        removed: &mut Removed<T, B>,
    ) {
        let Some(deliveries) = &mut self.deliveries else { return };
        let is_named = |lane| lanes.iter().any(|named| named.0 == lane);
        let waiting = deliveries.take_waiting(is_named);
        for tracked in waiting {
            self.ledger.consumed(tracked.weight);
            self.discarded += 1;
            removed.dropped.items.push(tracked.item);
        }
        for entry in self.buffer.take_where(|item| is_named(handle.lane(item))) {
            self.ledger.consumed(entry.weight);
            self.discarded += 1;
            removed.dropped.items.push(entry.item);
        }
        let is_closed = self.phase == Phase::Cancelled && !deliveries.is_stopping();
        for (lane, before, through) in lanes {
            if is_closed {
                // Everything has been given up already, and the counts do not change any more.
                (*before, *through) = (Some(0), Some(deliveries.lanes.through(*lane)));
            } else {
                *before = Some(deliveries.lanes.stop(*lane));
            }
        }
    }

    /// Gives up the outstanding deliveries of the lanes whose stop has not ended.
    fn give_up_lanes(&mut self, lanes: &[(Lane, Option<u64>, Option<u64>)], removed: &mut Removed<T, B>) {
        let is_closed = self.phase == Phase::Cancelled;
        let Some(deliveries) = &mut self.deliveries else { return };
        let unfinished = || lanes.iter().filter(|(.., through)| through.is_none()).map(|(lane, ..)| *lane);
        for tracked in deliveries.take_out(|lane| unfinished().any(|other| other == lane)) {
            self.ledger.comes_back(tracked.weight, is_closed);
            removed.settled.push(tracked.item);
        }
        unfinished().for_each(|lane| deliveries.lanes.finish(lane));
        self.note_stopped();
    }

    /// Ends sending and receiving, and gives up the buffered items. Outstanding deliveries stay. False if the channel had ended before.
    pub(super) fn close_down(&mut self, removed: &mut Removed<T, B>) -> bool {
        if self.phase == Phase::Cancelled || self.end().is_some() {
            return false;
        }
        self.phase = Phase::Cancelled;
        let before = removed.dropped.count(); // counted already
        let mut out = 0;
        if let Some(deliveries) = &mut self.deliveries {
            let waiting = deliveries.take_waiting(|_| true);
            collect_into(&mut removed.dropped.items, waiting.into_iter().map(|tracked| tracked.item));
            deliveries.set_stopping(true);
            out = deliveries.weight_out();
        }
        self.buffer.pop_all(&mut removed.dropped);
        self.discarded += (removed.dropped.count() - before) as u64;
        // Control messages are not reported as discarded: their sender learns of the end.
        removed.settled.extend(self.controls.drain(..));
        self.ledger.close(out);
        true
    }

    /// Gives up the outstanding deliveries.
    pub(super) fn give_up_out(&mut self, removed: &mut Removed<T, B>) {
        if let Some(deliveries) = &mut self.deliveries {
            let ledger = &mut self.ledger;
            let out = deliveries.take_out(|_| true).into_iter().map(|tracked| {
                ledger.comes_back(tracked.weight, true);
                tracked.item
            });
            collect_into(&mut removed.settled, out);
            deliveries.set_stopping(false);
        }
    }

    /// Ends a stop of the whole channel if no delivery is outstanding any more.
    pub(super) fn note_stopped(&mut self) {
        if let Some(deliveries) = self.deliveries.as_mut().filter(|deliveries| deliveries.is_stopping()) {
            if deliveries.unacked() == 0 {
                deliveries.set_stopping(false);
            }
        }
    }

    /// Wakes all callers of `stop` that wait, so that each checks whether its stop has ended.
    pub(super) fn tell_stoppers(&mut self, wakes: &mut Wakes<W>) {
        let Some(deliveries) = &mut self.deliveries else { return };
        if std::mem::take(&mut deliveries.lanes.has_stopped) {
            let line = self.wait_queues.queue(Side::Stop);
            line.waiting().for_each(|(ticket, _)| line.prod(ticket, wakes));
        }
    }
}
