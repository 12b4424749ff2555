//! The state of a limiter, and how each step changes it. Only ever touched inside a section; the operations are in `ops`.

use std::collections::BTreeMap;

use super::admission;
pub use super::aimdf::Unmet;
use super::aimdf::{Aimdf, Rules, Sample, nearly_full};
use crate::blocks::Blocks;
use crate::clock::{Clock, LONGEST_RETRY_AFTER, Nanos};
use crate::fork;
use crate::monitor::{MonitorState, WaitQueues};
use crate::semaphore::{self, AcquireError, Overrelease};
use crate::shed::Codel;
use crate::wait::{Ticket, Wake, Wakes};

/// The place of one operation in the wait queue; [`Monitor::leave`](crate::monitor::Monitor::leave) gives it up.
pub type Waiter = semaphore::Waiter;

/// The settings of a limiter.
#[derive(Clone, Debug)]
pub struct Settings {
    pub rules: Rules,
    pub initial: u64,
    /// The places in the wait queue. Zero: a call that cannot begin at once is refused.
    pub max_waiting: u64,
    /// Which waiters have waited too long.
    pub shed: Option<Codel>,
}

/// A call that was admitted. Its result is reported once, by [`Limiter::finish`](super::Limiter::finish).
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    began: Nanos,
    /// The process in which it was admitted.
    process: u64,
}

impl Grant {
    /// False in the child of a fork, where a call of the parent has no slot.
    pub fn is_ours(&self) -> bool {
        self.process == fork::generation()
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// The service could not serve it: it timed out, was reset or was refused.
    Dropped {
        /// What the server asked for. It counts for [`LONGEST_RETRY_AFTER`] at most.
        retry_after: Option<Nanos>,
    },
    /// It says nothing about the service: cancelled, interrupted, an error of another kind.
    Ignored,
}

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All slots are taken, or reserved for more urgent calls, and so are the places in the wait queue.
    Full,
    /// It had waited for too long.
    Shed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub limit: u64,
    /// The rest of the time for which the server has asked; zero if it has not.
    pub retry_after: Nanos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// It may wait; or it is in the wait queue now.
    Busy,
    Refused(Refusal),
}

/// What has been counted since the limiter was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub successes: u64,
    pub dropped: u64,
    pub ignored: u64,
    /// Of the successes, those that took longer than the target.
    pub slow: u64,
    pub refused: u64,
    pub shed: u64,
    pub expired: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    pub limit: u64,
    pub min: u64,
    pub max: u64,
    pub in_flight: u64,
    pub peak_in_flight: u64,
    /// Calls that were admitted.
    pub calls: u64,
    pub totals: Totals,
    pub increases: u64,
    pub decreases: u64,
    pub waiters: usize,
    pub waited: Nanos,
}

/// A waiter of which CoDel has to know.
#[derive(Clone, Copy, Debug)]
struct Place {
    since: Nanos,
    /// It has been taken out of the wait queue, and is woken to be refused.
    is_shed: bool,
}

/// Everything a limiter knows.
#[derive(Debug)]
pub struct State<W> {
    rules: Rules,
    law: Aimdf,
    slots: semaphore::State<W>,
    max_waiting: u64,
    shed: Option<Codel>,
    /// With CoDel, every waiter. In order of arrival, as tickets are.
    places: BTreeMap<Ticket, Place>,
    totals: Totals,
    /// Until when the server has asked not to be called.
    asked_until: Nanos,
}

impl<W: Wake> State<W> {
    pub(super) fn new(settings: &Settings, clock: Clock<W>) -> Self {
        let Settings { rules, initial, max_waiting, shed } = settings.clone();
        Self {
            rules,
            law: Aimdf::new(initial, clock.now()),
            slots: semaphore::State::new(initial, Overrelease::Bounded, clock),
            max_waiting,
            shed,
            places: BTreeMap::new(),
            totals: Totals::default(),
            asked_until: 0,
        }
    }

    fn now(&self) -> Nanos {
        self.slots.wait_queues().clock.now()
    }

    #[inline]
    fn grant(&mut self) -> Grant {
        self.law.admitted(self.slots.held());
        Grant { began: self.now(), process: fork::generation() }
    }

    /// Takes a slot if one is free for this level and nobody waits.
    #[inline]
    fn take(&mut self, priority: u64) -> Result<(), AcquireError> {
        if priority > 0 && self.max_waiting == 0 {
            let limit = self.law.limit();
            let nearly = nearly_full(&self.rules, self.law.exact_limit());
            if self.slots.free() <= admission::reserve(limit, nearly, priority) {
                return Err(AcquireError::Busy);
            }
        }
        self.slots.try_acquire(1)
    }

    /// Admits a call at once, or says whether it may wait.
    #[inline]
    pub(super) fn try_admit(&mut self, priority: u64, may_wait: bool) -> Result<Grant, NotAdmitted> {
        self.forget_after_fork();
        if self.take(priority).is_ok() {
            return Ok(self.grant());
        }
        if may_wait && self.has_place(priority) {
            return Err(NotAdmitted::Busy);
        }
        self.totals.refused += 1;
        Err(NotAdmitted::Refused(self.refusal(Reason::Full)))
    }

    fn has_place(&self, priority: u64) -> bool {
        (self.slots.wait_queues().queue(()).len() as u64) < admission::places(self.max_waiting, priority)
    }

    fn refusal(&self, reason: Reason) -> Refusal {
        Refusal { reason, limit: self.law.limit(), retry_after: self.asked_until.saturating_sub(self.now()) }
    }

    pub(super) fn admit_or_wait(
        &mut self,
        priority: u64,
        waiter: &mut Waiter,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Result<Grant, NotAdmitted> {
        self.forget_after_fork();
        let place = waiter.position().map(|((), ticket)| ticket);
        if place.and_then(|ticket| self.places.get(&ticket)).is_some_and(|place| place.is_shed) {
            self.remove_waiter(waiter, wakes);
            self.totals.shed += 1;
            return Err(NotAdmitted::Refused(self.refusal(Reason::Shed)));
        }
        if place.is_none_or(|ticket| !self.slots.wait_queues().queue(()).contains(ticket)) {
            // An arrival.
            match self.try_admit(priority, true) {
                Err(NotAdmitted::Busy) => {}
                decided => return decided,
            }
        }
        let result = self.slots.take_or_wait(1, waiter, waker, wakes);
        match (result, waiter.position()) {
            (Ok(()), _) => {
                if let Some(ticket) = place {
                    self.places.remove(&ticket);
                }
            }
            (Err(_), Some(((), ticket))) if self.shed.is_some() => {
                let since = self.now();
                self.places.entry(ticket).or_insert(Place { since, is_shed: false });
            }
            _ => {}
        }
        let outcome = result.map(|()| self.grant()).map_err(|_| NotAdmitted::Busy);
        self.wake_all_eligible(wakes);
        outcome
    }

    /// Refuses a waiter whose time is over.
    pub(super) fn expire(&mut self) -> Refusal {
        self.totals.expired += 1;
        self.refusal(Reason::Full)
    }

    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "a result is reported once")]
    pub(super) fn finish(&mut self, grant: Grant, outcome: Outcome, wakes: &mut Wakes<W>) -> Option<Unmet> {
        self.forget_after_fork();
        if !grant.is_ours() {
            return None;
        }
        let _ = self.slots.give_back(1);
        let unmet = self.record(&grant, outcome);
        if !self.slots.wait_queues().queue(()).none_waiting() {
            self.wake_all_eligible(wakes);
        }
        unmet
    }

    #[inline]
    fn record(&mut self, grant: &Grant, outcome: Outcome) -> Option<Unmet> {
        let dropped = match outcome {
            Outcome::Ignored => {
                self.totals.ignored += 1;
                return None;
            }
            Outcome::Success => false,
            Outcome::Dropped { .. } => true,
        };
        let now = self.now();
        let took = now.saturating_sub(grant.began);
        if let Outcome::Dropped { retry_after } = outcome {
            self.totals.dropped += 1;
            self.asked_until = self.asked_until.max(now.saturating_add(retry_after.unwrap_or(0).min(LONGEST_RETRY_AFTER)));
        } else {
            self.totals.successes += 1;
            self.totals.slow += u64::from(self.rules.target.is_some_and(|target| took > target));
        }
        let sample = Sample { began: grant.began, took, dropped };
        let unmet = self.law.record(&self.rules, &sample, now);
        self.slots.set_size(self.law.limit());
        unmet
    }

    pub(super) fn set_limits(&mut self, min: u64, max: u64, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        self.rules.min = min;
        self.rules.max = max;
        self.law.clamp(&self.rules);
        self.slots.set_size(self.law.limit());
        self.wake_all_eligible(wakes);
    }

    pub(super) fn limit(&self) -> u64 {
        self.law.limit()
    }

    pub(super) fn in_flight(&mut self) -> u64 {
        self.forget_after_fork();
        self.slots.held()
    }

    pub(super) fn statistics(&mut self) -> Statistics {
        self.forget_after_fork();
        let seen = self.slots.statistics();
        Statistics {
            limit: self.law.limit(),
            min: self.rules.min,
            max: self.rules.max,
            in_flight: seen.held,
            peak_in_flight: seen.peak_held,
            calls: seen.acquired,
            totals: self.totals,
            increases: self.law.increases(),
            decreases: self.law.decreases(),
            waiters: seen.waiters,
            waited: seen.waited,
        }
    }

    /// Hands slots out as CoDel has it: it judges each waiter when its turn comes.
    fn wake_judged(&mut self, wakes: &mut Wakes<W>) {
        loop {
            let queue = self.slots.wait_queues().queue(());
            if queue.none_waiting() || queue.claimed() >= self.slots.free() {
                return;
            }
            let (now, places) = (self.now(), &self.places);
            let Some(codel) = &mut self.shed else { return };
            let mut waiting = queue.waiting().map(|(ticket, _)| ticket).peekable();
            let mut shed = Blocks::default();
            let mut take = || {
                let ticket = waiting.next()?;
                let waited = places.get(&ticket).map_or(0, |place| now.saturating_sub(place.since));
                Some((ticket, waited, waiting.peek().is_none()))
            };
            let next = codel.next(now, &mut take, &mut |ticket| shed.push(ticket));
            drop(waiting);
            let queue = self.slots.wait_queues_mut().queue_mut(());
            for ticket in shed {
                if let Some(place) = self.places.get_mut(&ticket) {
                    place.is_shed = true;
                }
                queue.leave(ticket).into_iter().for_each(|waker| wakes.push(waker));
            }
            if let Some(ticket) = next {
                queue.wake(ticket, wakes);
            }
        }
    }
}

impl<W: Wake> MonitorState<W, 1> for State<W> {
    type Side = ();

    fn wait_queues(&self) -> &WaitQueues<W, 1> {
        self.slots.wait_queues()
    }

    fn wait_queues_mut(&mut self) -> &mut WaitQueues<W, 1> {
        self.slots.wait_queues_mut()
    }

    fn wake_all_eligible(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        if self.shed.is_some() { self.wake_judged(wakes) } else { self.slots.wake_all_eligible(wakes) }
    }

    fn remove_waiter(&mut self, waiter: &mut Waiter, wakes: &mut Wakes<W>) {
        if let Some(((), ticket)) = waiter.position() {
            self.places.remove(&ticket);
        }
        self.wait_queues_mut().remove_waiter(waiter, wakes);
    }

    fn forget_more(&mut self) {
        self.places.clear();
        self.slots.forget_held(); // the calls go on in the parent, and their end is not reported here
    }
}
