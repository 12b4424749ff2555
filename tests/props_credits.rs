//! Random operations on credit channels against a plain model: no credit lost or doubled, items in order, nobody asleep beside its turn.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use sluicegate_core::clock::{Clock, Manual, Nanos};
use sluicegate_core::credits::{
    Bale, Batch, Channel, Config, End, Nack, Offer, Permit, Phase, Receipt, ReceiveError, Received, Removed, Rules, SendError,
    SenderEnd, Spot, UNBOUNDED,
};
use sluicegate_core::leaving::Leaving;
use sluicegate_core::section::Threads;
use sluicegate_core::wait::{Parker, Wakes};

type Waker = Arc<Parker>;
type Chan = Channel<u32, Waker, Threads, Wares>;

const WAITERS: usize = 3;
/// Behind the other senders: those that offer bales.
const BALERS: std::ops::Range<usize> = WAITERS..WAITERS + 2;

/// Items to come, and what each weighs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wares {
    goods: VecDeque<(u32, u64)>,
}

impl Bale for Wares {
    fn count(&self) -> usize {
        self.goods.len()
    }

    fn weighs_one_each(&self) -> bool {
        self.goods.iter().all(|good| good.1 == 1)
    }

    fn weight(&self, index: usize) -> u64 {
        self.goods[index].1
    }

    fn take(&mut self, count: usize) -> Self {
        Self { goods: self.goods.drain(..count).collect() }
    }

    /// If the numbers go on: often, but not always.
    fn join(&mut self, mut next: Self) -> Result<(), Self> {
        let (Some(last), Some(first)) = (self.goods.back(), next.goods.front()) else { return Err(next) };
        if first.0 != last.0 + 1 {
            return Err(next);
        }
        self.goods.append(&mut next.goods);
        Ok(())
    }
}

/// What a sender came for.
#[derive(Clone, Copy, Debug)]
enum Aim {
    Send,
    Permit,
    Ready,
}

#[derive(Clone, Debug)]
enum Step {
    Send(u64),
    SendBatch(Vec<u64>),
    /// Somebody comes with a bale, or comes back to look.
    Offer(usize, Vec<u64>),
    TakeBack(usize),
    /// A sender comes, or comes back to look: then it wants what it wanted.
    WaitToSend(usize, Aim, u64),
    LeaveSend(usize),
    Permit(u64),
    /// Of all permits that are held, from the last.
    SendPermitted(usize, u64),
    ReturnPermit(usize),
    Receive(usize),
    ReceiveBatch(usize),
    WaitToReceive(usize),
    LeaveReceive(usize),
    /// Of all deliveries there ever were, from the last.
    Ack(usize),
    Nack(usize, Nack),
    Request(u64),
    RequestUpTo(u64),
    Drain,
    Lease(u64, Nanos),
    Pause,
    Resume,
    Advance(Nanos),
    Complete,
    Fail,
    Cancel,
}

fn step() -> impl Strategy<Value = Step> {
    let aim = prop_oneof![3 => Just(Aim::Send), 1 => Just(Aim::Permit), 1 => Just(Aim::Ready)];
    let nack = (any::<bool>(), 0..3u64, any::<bool>()).prop_map(|(now, delay, counts)| Nack {
        requeue: delay < 2 || now,
        delay: if now { 0 } else { delay },
        counts,
    });
    let much = prop_oneof![8 => 1..6u64, 1 => Just(UNBOUNDED - 1), 1 => Just(u64::MAX)];
    let leased = much.clone();
    let bale = prop_oneof![vec(Just(1), 0..7), vec(0..4u64, 0..7)];
    prop_oneof![
        8 => (0..6u64).prop_map(Step::Send),
        3 => vec(0..4u64, 0..5).prop_map(Step::SendBatch),
        8 => (BALERS, bale).prop_map(|(n, weights)| Step::Offer(n, weights)),
        4 => BALERS.prop_map(Step::TakeBack),
        8 => (0..WAITERS, aim, 0..6u64).prop_map(|(n, aim, weight)| Step::WaitToSend(n, aim, weight)),
        2 => (0..BALERS.end).prop_map(Step::LeaveSend),
        2 => (1..4u64).prop_map(Step::Permit),
        3 => (0..3usize, 0..3u64).prop_map(|(n, weight)| Step::SendPermitted(n, weight)),
        2 => (0..3usize).prop_map(Step::ReturnPermit),
        8 => (0..WAITERS).prop_map(Step::Receive),
        3 => (1..4usize).prop_map(Step::ReceiveBatch),
        8 => (0..WAITERS).prop_map(Step::WaitToReceive),
        2 => (0..WAITERS).prop_map(Step::LeaveReceive),
        6 => (0..5usize).prop_map(Step::Ack),
        6 => (0..5usize, nack).prop_map(|(n, nack)| Step::Nack(n, nack)),
        4 => much.prop_map(Step::Request),
        2 => (0..40u64).prop_map(Step::RequestUpTo),
        2 => Just(Step::Drain),
        2 => (leased, 1..4u64).prop_map(|(n, ttl)| Step::Lease(n, ttl)),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        4 => (1..3u64).prop_map(Step::Advance),
        1 => prop_oneof![3 => Just(Step::Complete), 1 => Just(Step::Fail), 1 => Just(Step::Cancel)],
    ]
}

/// What goes in and what comes out, and hardly anything that keeps it from doing so.
fn flow() -> impl Strategy<Value = Step> {
    let weight = || prop_oneof![6 => Just(1), 1 => 0..4u64];
    let bale = prop_oneof![vec(Just(1), 0..9), vec(weight(), 0..9)];
    prop_oneof![
        16 => weight().prop_map(Step::Send),
        8 => vec(weight(), 0..5).prop_map(Step::SendBatch),
        32 => (BALERS, bale).prop_map(|(n, weights)| Step::Offer(n, weights)),
        8 => BALERS.prop_map(Step::TakeBack),
        8 => (0..WAITERS, weight()).prop_map(|(n, weight)| Step::WaitToSend(n, Aim::Send, weight)),
        16 => (0..WAITERS).prop_map(Step::Receive),
        24 => (1..12usize).prop_map(Step::ReceiveBatch),
        16 => (0..WAITERS).prop_map(Step::WaitToReceive),
        1 => Just(Step::Cancel),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    let rules = prop_oneof![Just(None), (0..4u64, 1..4u32).prop_map(Some)];
    let size = prop_oneof![
        (1..9u64, 1..9u64).prop_map(|(window, step)| (window, step.min(window), window)),
        (1..9u64).prop_map(|bound| (0, 0, bound)),
        Just((0, 0, UNBOUNDED)),
    ];
    (size, rules).prop_map(|((window, step, bound), rules)| Config {
        window,
        step,
        bound,
        control_capacity: 1,
        rules: rules.map(|(wait, max_deliver)| Rules { ack_wait: (wait > 0).then_some(wait), max_deliver }),
    })
}

// -------------------------------------------------------------------------------------------------------------------------- the model

#[derive(Clone, Copy, PartialEq, Debug)]
enum Where {
    Ready,
    Delayed(Nanos),
    Out { number: usize, owner: usize, expires: Nanos },
}

/// An item that has been handed out and is not settled.
struct Parcel {
    sequence: u64,
    item: u32,
    weight: u64,
    attempts: u32,
    place: Where,
}

/// One in line.
struct Place {
    who: usize,
    want: u64,
    woken: bool,
    /// What it has offered, and is left.
    offered: Option<VecDeque<(u32, u64)>>,
}

/// A permit, and how much of it came from which lease.
struct Held {
    left: u64,
    leased: u64,
    lease: u32,
}

/// Everything said plainly, and worked out anew each time.
struct Model {
    config: Config,
    now: Nanos,
    phase: Phase,
    available: u64,
    permits: Vec<Held>,
    lease: Option<(Nanos, u64)>,
    leases: u32,
    sent: u64,
    voided: u64,
    owed: u64,
    paused: bool,
    buffer: Vec<(u32, u64)>,
    parcels: Vec<Parcel>,
    /// For each time an item was handed out: its sequence number.
    handed: Vec<u64>,
    next_sequence: u64,
    settled_at_cancel: Option<u64>,
    senders: Vec<Place>,
    receivers: Vec<Place>,
    items_sent: u64,
    received: u64,
    discarded: Vec<u32>,
    requeued: u64,
    stale: u64,
}

fn claimed(line: &[Place]) -> u64 {
    line.iter().filter(|place| place.woken).map(|place| place.want).sum()
}

fn all_woken(line: &[Place]) -> bool {
    line.iter().all(|place| place.woken)
}

impl Model {
    fn new(config: Config) -> Self {
        Self {
            config,
            now: 0,
            phase: Phase::Open,
            available: config.window,
            permits: Vec::new(),
            lease: None,
            leases: 0,
            sent: 0,
            voided: 0,
            owed: 0,
            paused: false,
            buffer: Vec::new(),
            parcels: Vec::new(),
            handed: Vec::new(),
            next_sequence: 0,
            settled_at_cancel: None,
            senders: Vec::new(),
            receivers: Vec::new(),
            items_sent: 0,
            received: 0,
            discarded: Vec::new(),
            requeued: 0,
            stale: 0,
        }
    }

    fn out(&self) -> usize {
        self.parcels.iter().filter(|parcel| matches!(parcel.place, Where::Out { .. })).count()
    }

    fn buffered(&self) -> usize {
        self.buffer.len() + self.parcels.len() - self.out()
    }

    fn receivable(&self) -> u64 {
        (self.buffer.len() + self.parcels.iter().filter(|parcel| parcel.place == Where::Ready).count()) as u64
    }

    fn occupied(&self) -> u64 {
        self.buffer.iter().map(|entry| entry.1).chain(self.parcels.iter().map(|parcel| parcel.weight)).sum()
    }

    fn permitted(&self) -> u64 {
        if self.phase == Phase::Cancelled { 0 } else { self.permits.iter().map(|permit| permit.left).sum() }
    }

    fn granted(&self) -> u64 {
        let used = [self.permitted(), self.sent, self.voided];
        used.into_iter().fold(self.available, |sum, n| sum.saturating_add(n).min(UNBOUNDED))
    }

    fn sendable(&self) -> u64 {
        self.available.min(self.config.bound - self.occupied() - self.permitted())
    }

    fn fits(&self, want: u64, claimed: u64) -> bool {
        if want == 0 {
            ((self.buffer.len() + self.parcels.len()) as u64) < self.config.bound
        } else {
            claimed + want <= self.sendable()
        }
    }

    fn may_send(&self, want: u64) -> bool {
        all_woken(&self.senders) && self.fits(want, claimed(&self.senders))
    }

    fn refusal(&self, want: u64) -> Option<SendError<()>> {
        match self.phase {
            Phase::Open => (want > self.config.bound).then_some(SendError::TooHeavy(())),
            Phase::Completing => Some(SendError::Ended((), End::Completed)),
            Phase::Failed => Some(SendError::Ended((), End::Failed)),
            Phase::Cancelled => Some(SendError::Ended((), End::Cancelled)),
        }
    }

    fn end(&self) -> Option<End> {
        let over = self.buffered() + self.out() == 0;
        match self.phase {
            Phase::Completing if over && self.permitted() == 0 => Some(End::Completed),
            Phase::Failed if over => Some(End::Failed),
            Phase::Cancelled => Some(End::Cancelled),
            _ => None,
        }
    }

    fn grant(&mut self) {
        if self.paused {
            return;
        }
        let owed = std::mem::take(&mut self.owed);
        self.add(owed, 0);
    }

    /// Credit comes, or comes back. What is leased takes what room the rest leaves: it never makes credit endless.
    fn add(&mut self, lasting: u64, leased: u64) {
        let left = self.lease.map_or(0, |(_, left)| left);
        let lasting = (self.available - left).saturating_add(lasting).min(UNBOUNDED);
        let leased = (left + leased).min((UNBOUNDED - 1).saturating_sub(lasting));
        self.available = lasting + leased;
        self.lease = self.lease.filter(|_| lasting < UNBOUNDED).map(|(until, _)| (until, leased));
    }

    /// What happens by itself.
    fn settle(&mut self) {
        if self.lease.is_some_and(|(until, _)| self.now >= until) {
            self.end_lease();
        }
        for n in (0..self.parcels.len()).rev() {
            match self.parcels[n].place {
                Where::Delayed(at) if at <= self.now => self.parcels[n].place = Where::Ready,
                Where::Out { expires, .. } if expires <= self.now => self.come_back(n, 0),
                _ => {}
            }
        }
        let Config { window, step, .. } = self.config;
        if window == 0 || self.owed >= step || self.receivable() == 0 {
            self.grant();
        }
        while let Some(n) = self.senders.iter().position(|place| !place.woken) {
            let offers = self.senders[n].offered.is_some();
            let may_go = if offers { self.send_offered(n) } else { self.fits(self.senders[n].want, claimed(&self.senders)) };
            if self.phase == Phase::Open && !may_go {
                break;
            }
            self.senders[n].woken = true;
        }
        while let Some(n) = self.receivers.iter().position(|place| !place.woken) {
            if self.end().is_none() && claimed(&self.receivers) >= self.receivable() {
                break;
            }
            self.receivers[n].woken = true;
        }
    }

    // Sending.

    /// Credit is used: how much of it was leased.
    fn take(&mut self, n: u64) -> u64 {
        if self.available == UNBOUNDED {
            return 0;
        }
        self.available -= n;
        let leased = self.lease.map_or(0, |(_, left)| left.min(n));
        self.lease = self.lease.map(|(until, left)| (until, left - leased));
        leased
    }

    fn put(&mut self, item: u32, weight: u64) {
        self.sent += weight;
        self.items_sent += 1;
        self.buffer.push((item, weight));
    }

    fn permit(&mut self, n: u64) {
        let leased = self.take(n);
        self.permits.push(Held { left: n, leased, lease: self.leases });
    }

    fn return_permit(&mut self, n: usize) {
        let Held { left, leased, lease } = self.permits.remove(n);
        if self.phase == Phase::Cancelled || self.available == UNBOUNDED {
            return;
        }
        if self.lease.is_some() && lease == self.leases {
            self.add(left - leased, leased);
        } else {
            self.add(left - leased, 0);
            self.voided = (self.voided + leased).min(UNBOUNDED);
        }
    }

    fn end_lease(&mut self) {
        if let Some((_, left)) = self.lease.take() {
            self.available -= left;
            self.voided = self.voided.saturating_add(left).min(UNBOUNDED);
        }
    }

    fn drain(&mut self) -> u64 {
        self.lease = None;
        let unused = std::mem::take(&mut self.available);
        if unused != UNBOUNDED {
            self.voided = self.voided.saturating_add(unused).min(UNBOUNDED);
        }
        if self.config.window > 0 {
            self.owed += unused;
            self.paused = true;
        }
        unused
    }

    /// True if it may go: then it is not in line any more.
    fn look_to_send(&mut self, who: usize, want: u64) -> Result<(), SendError<()>> {
        let may_go = |model: &Self| match model.senders.iter().position(|place| place.who == who) {
            Some(n) => all_woken(&model.senders[..=n]) && model.fits(want, claimed(&model.senders[..n])),
            None => model.may_send(want),
        };
        let mut result = self.refusal(want).map_or(Ok(()), Err);
        if result.is_ok() && !may_go(self) {
            self.grant();
            if !may_go(self) {
                result = Err(SendError::Full(()));
            }
        }
        stand(&mut self.senders, who, want, result == Err(SendError::Full(())));
        result
    }

    /// One item after the other, as somebody who would wait for each.
    fn offer(&mut self, who: usize, mut goods: VecDeque<(u32, u64)>) -> Offer<Wares> {
        while let Some(&(item, weight)) = goods.front() {
            let Err(refusal) = self.look_to_send(who, weight) else {
                self.take(weight);
                self.put(item, weight);
                goods.pop_front();
                continue;
            };
            let Some(place) = self.senders.iter_mut().find(|place| place.who == who) else { return refused(&refusal, goods) };
            place.offered = Some(goods);
            return Offer::Standing;
        }
        Offer::Sent
    }

    /// Of what the `n`th in line offers goes what can. True if nothing more will: of that its owner is told.
    fn send_offered(&mut self, n: usize) -> bool {
        while let Some(&(item, weight)) = self.senders[n].offered.as_ref().and_then(VecDeque::front) {
            if self.refusal(weight).is_some() {
                break;
            }
            if !self.fits(weight, claimed(&self.senders)) {
                return false;
            }
            self.take(weight);
            self.put(item, weight);
            self.senders[n].offered.as_mut().map(VecDeque::pop_front);
        }
        self.senders[n].want = 0;
        true
    }

    fn look_at_offer(&mut self, who: usize) -> Offer<Wares> {
        if self.senders.iter().any(|place| place.who == who && !place.woken) {
            return Offer::Standing;
        }
        let goods = self.take_back(who).unwrap_or_default();
        let refusal = goods.front().and_then(|&(_, weight)| self.refusal(weight));
        refusal.map_or(Offer::Sent, |refusal| refused(&refusal, goods))
    }

    fn take_back(&mut self, who: usize) -> Option<VecDeque<(u32, u64)>> {
        let n = self.senders.iter().position(|place| place.who == who)?;
        self.senders.remove(n).offered
    }

    // Receiving.

    fn take_out(&mut self, owner: usize) -> u32 {
        let back =
            (0..self.parcels.len()).filter(|&n| self.parcels[n].place == Where::Ready).min_by_key(|&n| self.parcels[n].sequence);
        self.received += 1;
        let Some(rules) = self.config.rules else {
            let (item, weight) = self.buffer.remove(0);
            self.consumed(weight);
            return item;
        };
        let n = back.unwrap_or_else(|| {
            let (item, weight) = self.buffer.remove(0);
            self.next_sequence += 1;
            self.parcels.push(Parcel { sequence: self.next_sequence - 1, item, weight, attempts: 0, place: Where::Ready });
            self.parcels.len() - 1
        });
        let expires = rules.ack_wait.map_or(Nanos::MAX, |wait| self.now + wait);
        let parcel = &mut self.parcels[n];
        parcel.attempts += 1;
        parcel.place = Where::Out { number: self.handed.len(), owner, expires };
        self.handed.push(parcel.sequence);
        parcel.item
    }

    fn consumed(&mut self, weight: u64) {
        if self.config.window > 0 {
            self.owed += weight;
        }
    }

    fn nothing_there(&self, owner: usize) -> ReceiveError {
        if let Some(end) = self.end() {
            return ReceiveError::Ended(end);
        }
        if self.only_owner() == Some(owner) { ReceiveError::SelfWait } else { ReceiveError::Empty }
    }

    /// Who has all that will ever be there.
    fn only_owner(&self) -> Option<usize> {
        let over = self.phase == Phase::Failed || (self.phase == Phase::Completing && self.permitted() == 0);
        let mut owners = self.parcels.iter().filter_map(|parcel| match parcel.place {
            Where::Out { owner, .. } => Some(owner),
            _ => None,
        });
        let first = owners.next()?;
        (over && self.buffered() == 0 && owners.all(|owner| owner == first)).then_some(first)
    }

    /// Comes back, or is given up.
    fn come_back(&mut self, n: usize, delay: Nanos) {
        if self.parcels[n].attempts >= self.config.rules.expect("it is a delivery").max_deliver {
            let parcel = self.parcels.remove(n);
            self.consumed(parcel.weight);
            self.discarded.push(parcel.item);
        } else {
            self.requeued += 1;
            self.parcels[n].place = if delay == 0 { Where::Ready } else { Where::Delayed(self.now + delay) };
        }
    }

    /// The delivery that was the `number`th, if it is out.
    fn find(&mut self, number: usize) -> Option<usize> {
        let is_it = |parcel: &Parcel| matches!(parcel.place, Where::Out { number: its, .. } if its == number);
        let found = self.parcels.iter().position(is_it);
        self.stale += u64::from(found.is_none() && self.phase != Phase::Cancelled);
        found
    }

    fn settle_delivery(&mut self, number: usize, nack: Option<Nack>) -> bool {
        let Some(n) = self.find(number) else { return self.phase == Phase::Cancelled };
        if let Some(nack) = nack {
            self.parcels[n].attempts -= u32::from(!nack.counts);
            if nack.requeue {
                self.come_back(n, nack.delay);
                return true;
            }
            self.discarded.push(self.parcels[n].item);
        }
        let parcel = self.parcels.remove(n);
        self.consumed(parcel.weight);
        true
    }

    fn settled_through(&self) -> u64 {
        if self.config.rules.is_none() {
            return self.received;
        }
        let open = self.parcels.iter().map(|parcel| parcel.sequence).min();
        self.settled_at_cancel.or(open).unwrap_or(self.next_sequence)
    }

    fn next_due(&self) -> Option<Nanos> {
        let due = self.parcels.iter().filter_map(|parcel| match parcel.place {
            Where::Delayed(at) => Some(at),
            Where::Out { expires, .. } => Some(expires).filter(|&at| at != Nanos::MAX),
            Where::Ready => None,
        });
        due.min()
    }

    fn cancel(&mut self) {
        if self.end().is_some() {
            return;
        }
        self.settled_at_cancel = Some(self.settled_through());
        let permitted = self.permitted();
        self.phase = Phase::Cancelled;
        let unused = permitted + if self.available == UNBOUNDED { 0 } else { self.available };
        self.voided = self.voided.saturating_add(unused).min(UNBOUNDED);
        (self.available, self.owed, self.lease) = (0, 0, None);
        self.parcels.retain(|parcel| !matches!(parcel.place, Where::Out { .. }));
        self.parcels.sort_by_key(|parcel| parcel.sequence);
        self.discarded.extend(self.parcels.drain(..).map(|parcel| parcel.item));
        self.discarded.extend(self.buffer.drain(..).map(|entry| entry.0));
    }
}

/// One that does not stand in line.
fn refused(refusal: &SendError<()>, goods: VecDeque<(u32, u64)>) -> Offer<Wares> {
    let rest = Wares { goods };
    match *refusal {
        SendError::Full(()) => unreachable!("it stands in line"),
        SendError::TooHeavy(()) => Offer::TooHeavy(rest),
        SendError::Ended((), end) => Offer::Ended(rest, end),
    }
}

/// In line, waiting to be woken, or not in line.
fn stand(line: &mut Vec<Place>, who: usize, want: u64, stays: bool) {
    match line.iter().position(|place| place.who == who) {
        Some(n) if stays => line[n].woken = false,
        Some(n) => drop(line.remove(n)),
        None if stays => line.push(Place { who, want, woken: false, offered: None }),
        None => {}
    }
}

// --------------------------------------------------------------------------------------------------------------------------- the test

#[derive(Default)]
struct Waiter {
    parker: Waker,
    spot: Spot,
    aim: Option<(Aim, u64)>,
    /// When it saw that something would be due.
    due: Option<Nanos>,
}

struct Bench {
    channel: Chan,
    clock: Arc<Manual<Waker>>,
    model: Model,
    senders: Vec<Waiter>,
    receivers: Vec<Waiter>,
    receipts: Vec<Receipt>,
    permits: Vec<Permit>,
    discarded: Vec<u32>,
    next: u32,
}

impl Bench {
    fn new(config: Config) -> Self {
        let clock = Arc::new(Manual::new(0));
        let waiters = |count| (0..count).map(|_| Waiter::default()).collect();
        Self {
            channel: Channel::new(config, Clock::Manual(Arc::clone(&clock))),
            clock,
            model: Model::new(config),
            senders: waiters(BALERS.end),
            receivers: waiters(WAITERS),
            receipts: Vec::new(),
            permits: Vec::new(),
            discarded: Vec::new(),
            next: 0,
        }
    }

    fn keep(&mut self, leaving: Leaving<Arc<Parker>, Removed<u32, Wares>>) {
        let left = leaving.fire_and_keep();
        self.discarded.extend(unpack_all(left.dropped));
    }

    fn item(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each operation")]
    fn perform(&mut self, step: Step) -> Result<(), TestCaseError> {
        let has_window = self.model.config.window > 0;
        let is_acking = self.model.config.rules.is_some();
        match step {
            Step::Send(weight) => {
                let item = self.item();
                let (wakes, result) = self.channel.try_send((), item, weight);
                wakes.fire();
                let expected = match self.model.refusal(weight) {
                    None if self.model.may_send(weight) => {
                        self.model.take(weight);
                        self.model.put(item, weight);
                        Ok(())
                    }
                    None => Err(SendError::Full(item)),
                    Some(refusal) => Err(with_item(&refusal, item)),
                };
                prop_assert_eq!(result, expected);
            }
            Step::SendBatch(weights) => {
                let items: Vec<_> = weights.iter().map(|_| self.item()).collect();
                let mut left = items.clone().into_iter();
                let (wakes, result) = self.channel.try_send_batch((), &mut left, &weights);
                wakes.fire();
                let mut expected = Ok(());
                let mut sent = 0;
                for (&item, &weight) in items.iter().zip(&weights) {
                    if let Some(refusal) = self.model.refusal(weight) {
                        expected = Err(refusal);
                    } else if !self.model.may_send(weight) {
                        expected = Err(SendError::Full(()));
                    }
                    if expected.is_err() {
                        break;
                    }
                    self.model.take(weight);
                    self.model.put(item, weight);
                    sent += 1;
                }
                prop_assert_eq!((result, left.as_slice()), (expected, &items[sent..]));
            }
            Step::Offer(n, weights) if !is_acking => {
                let goods: VecDeque<_> = weights.iter().map(|&weight| (self.item(), weight)).collect();
                let Waiter { spot, parker, .. } = &mut self.senders[n];
                parker.reset();
                let ((wakes, offer), expected) = if spot.is_held() {
                    (self.channel.look_at_offer((), spot), self.model.look_at_offer(n))
                } else {
                    let bale = Wares { goods: goods.clone() };
                    (self.channel.offer((), bale, spot, parker), self.model.offer(n, goods))
                };
                wakes.fire();
                prop_assert_eq!(self.senders[n].spot.is_held(), offer == Offer::Standing);
                prop_assert_eq!(offer, expected);
            }
            Step::TakeBack(n) => {
                let (wakes, rest) = self.channel.take_back((), &mut self.senders[n].spot);
                wakes.fire();
                prop_assert_eq!(rest.map(|bale| bale.goods), self.model.take_back(n));
                prop_assert!(!self.senders[n].spot.is_held());
            }
            Step::WaitToSend(n, aim, weight) => {
                let item = self.item();
                let waiter = &mut self.senders[n];
                let (aim, weight) = *waiter.aim.get_or_insert((aim, weight));
                waiter.parker.reset();
                let (wakes, result) = match aim {
                    Aim::Send => {
                        let (wakes, result) = self.channel.send_or_wait((), item, weight, &mut waiter.spot, &waiter.parker);
                        (wakes, result.map_err(|error| without_item(&error)))
                    }
                    Aim::Permit => {
                        let (wakes, result) = self.channel.permit_or_wait((), weight, &mut waiter.spot, &waiter.parker);
                        (wakes, result.map(|permit| self.permits.push(permit)))
                    }
                    Aim::Ready => self.channel.ready_or_wait((), weight, &mut waiter.spot, &waiter.parker),
                };
                wakes.fire();
                let waits = result == Err(SendError::Full(()));
                prop_assert_eq!(waiter.spot.is_held(), waits);
                if !waits {
                    waiter.aim = None;
                }
                let expected = self.model.look_to_send(n, weight);
                match aim {
                    _ if expected.is_err() => {}
                    Aim::Send => {
                        self.model.take(weight);
                        self.model.put(item, weight);
                    }
                    Aim::Permit => self.model.permit(weight),
                    Aim::Ready => {}
                }
                prop_assert_eq!(result, expected);
            }
            Step::LeaveSend(n) => {
                self.channel.leave((), &mut self.senders[n].spot).fire();
                self.senders[n].aim = None;
                stand(&mut self.model.senders, n, 0, false);
            }
            Step::Permit(n) => {
                let (wakes, result) = self.channel.try_permit((), n);
                wakes.fire();
                let result = result.map(|permit| self.permits.push(permit));
                let expected = match self.model.refusal(n) {
                    None if self.model.may_send(n) => {
                        self.model.permit(n);
                        Ok(())
                    }
                    None => Err(SendError::Full(())),
                    Some(refusal) => Err(refusal),
                };
                prop_assert_eq!(result, expected);
            }
            Step::SendPermitted(back, weight) if back < self.permits.len() => {
                let item = self.item();
                let n = self.permits.len() - 1 - back;
                let (wakes, result) = self.channel.send_permitted((), &mut self.permits[n], item, weight);
                wakes.fire();
                let expected = match (self.model.phase, self.model.end()) {
                    (Phase::Failed, _) => Err(SendError::Ended(item, End::Failed)),
                    (_, Some(end)) => Err(SendError::Ended(item, end)),
                    _ if weight > self.model.permits[n].left => Err(SendError::Full(item)),
                    _ if weight == 0 && !self.model.fits(0, 0) => Err(SendError::Full(item)),
                    _ => {
                        let permit = &mut self.model.permits[n];
                        permit.left -= weight;
                        permit.leased = permit.leased.saturating_sub(weight);
                        self.model.put(item, weight);
                        Ok(())
                    }
                };
                prop_assert_eq!((result, self.permits[n].left()), (expected, self.model.permits[n].left));
            }
            Step::ReturnPermit(back) if back < self.permits.len() => {
                let n = self.permits.len() - 1 - back;
                self.channel.return_permit((), self.permits.remove(n)).fire();
                self.model.return_permit(n);
            }
            Step::Receive(owner) => {
                let (wakes, result) = if is_acking {
                    let (leaving, result) = self.channel.try_receive_delivery((), owner as u64, |&item| item);
                    self.keep(leaving);
                    (Wakes::none(), result.map(|handed| self.note(handed.item, handed.receipt)))
                } else {
                    let (wakes, result) = self.channel.try_receive(());
                    (wakes, result.map(unpack))
                };
                wakes.fire();
                let may = all_woken(&self.model.receivers) && self.model.receivable() > claimed(&self.model.receivers);
                let expected = if may { Ok(self.model.take_out(owner)) } else { Err(self.model.nothing_there(owner)) };
                prop_assert_eq!(result, expected);
            }
            Step::ReceiveBatch(max) if !is_acking => {
                let (wakes, result) = self.channel.try_receive_batch((), max);
                let result = result.map(unpack_all);
                wakes.fire();
                let free = self.model.receivable().saturating_sub(claimed(&self.model.receivers));
                let expected = if all_woken(&self.model.receivers) && free > 0 {
                    Ok((0..free.min(max as u64)).map(|_| self.model.take_out(0)).collect())
                } else {
                    Err(self.model.nothing_there(usize::MAX))
                };
                prop_assert_eq!(result, expected);
            }
            Step::WaitToReceive(n) => {
                let waiter = &mut self.receivers[n];
                waiter.parker.reset();
                let (wakes, result) = if is_acking {
                    let (leaving, result) =
                        self.channel.receive_delivery_or_wait((), n as u64, |&item| item, &mut waiter.spot, &waiter.parker);
                    waiter.due = self.channel.next_due(());
                    self.keep(leaving);
                    (Wakes::none(), result.map(|handed| self.note(handed.item, handed.receipt)))
                } else {
                    let (wakes, result) = self.channel.receive_or_wait((), &mut waiter.spot, &waiter.parker);
                    (wakes, result.map(unpack))
                };
                wakes.fire();
                let line = &self.model.receivers;
                let may = match line.iter().find(|place| place.who == n) {
                    Some(place) => place.woken && self.model.receivable() > 0,
                    None => all_woken(line) && self.model.receivable() > claimed(line),
                };
                let expected = if may { Ok(self.model.take_out(n)) } else { Err(self.model.nothing_there(n)) };
                let waits = expected == Err(ReceiveError::Empty);
                stand(&mut self.model.receivers, n, 1, waits);
                prop_assert_eq!(result, expected);
                prop_assert_eq!(self.receivers[n].spot.is_held(), waits);
            }
            Step::LeaveReceive(n) => {
                self.channel.leave((), &mut self.receivers[n].spot).fire();
                stand(&mut self.model.receivers, n, 0, false);
            }
            Step::Ack(back) if back < self.receipts.len() => {
                let number = self.receipts.len() - 1 - back;
                let (leaving, settled) = self.channel.ack((), self.receipts[number]);
                self.keep(leaving);
                prop_assert_eq!(settled, self.model.settle_delivery(number, None));
            }
            Step::Nack(back, nack) if back < self.receipts.len() => {
                let number = self.receipts.len() - 1 - back;
                let (leaving, settled) = self.channel.nack((), self.receipts[number], nack);
                self.keep(leaving);
                prop_assert_eq!(settled, self.model.settle_delivery(number, Some(nack)));
            }
            Step::Request(n) if !has_window => {
                let (wakes, granted) = self.channel.request((), n);
                wakes.fire();
                prop_assert_eq!(granted, self.model.phase == Phase::Open);
                if granted {
                    self.model.owed = self.model.owed.saturating_add(n).min(UNBOUNDED);
                }
            }
            Step::RequestUpTo(sequence) if !has_window => {
                let (wakes, granted) = self.channel.request_up_to((), sequence);
                wakes.fire();
                let more = sequence.saturating_sub(self.model.granted().saturating_add(self.model.owed));
                prop_assert_eq!(granted, self.model.phase == Phase::Open && more > 0);
                if granted {
                    self.model.owed += more;
                }
            }
            Step::Drain => {
                let (wakes, unused) = self.channel.drain(());
                wakes.fire();
                let expected = if self.model.phase == Phase::Open { self.model.drain() } else { 0 };
                prop_assert_eq!(unused, expected);
            }
            Step::Lease(n, ttl) if !has_window => {
                let (wakes, granted) = self.channel.lease((), n, ttl);
                wakes.fire();
                prop_assert_eq!(granted, self.model.phase == Phase::Open && !self.model.paused);
                if granted {
                    self.model.end_lease();
                    if self.model.available != UNBOUNDED {
                        self.model.leases += 1;
                        self.model.lease = Some((self.model.now + ttl, 0));
                        self.model.add(0, n.min(UNBOUNDED));
                    }
                }
            }
            Step::Pause => {
                self.channel.pause(());
                self.model.paused |= self.model.end().is_none();
            }
            Step::Resume => {
                self.channel.resume(()).fire();
                if self.model.end().is_none() {
                    self.model.paused = false;
                    self.model.grant();
                }
            }
            Step::Advance(by) => {
                self.clock.advance(by);
                self.model.now += by;
            }
            Step::Complete => {
                self.channel.complete((), &SenderEnd::default()).fire();
                if self.model.phase == Phase::Open {
                    self.model.phase = Phase::Completing;
                }
            }
            Step::Fail => {
                let (wakes, failed) = self.channel.fail((), &SenderEnd::default(), |()| ());
                wakes.fire();
                let may = matches!(self.model.phase, Phase::Open | Phase::Completing) && self.model.end().is_none();
                prop_assert_eq!(failed, may);
                if may {
                    self.model.phase = Phase::Failed;
                }
            }
            Step::Cancel => {
                let leaving = self.channel.cancel((), |()| ());
                self.keep(leaving);
                self.model.cancel();
            }
            _ => {} // not on this kind of channel
        }
        Ok(())
    }

    fn note(&mut self, item: u32, receipt: Receipt) -> u32 {
        self.receipts.push(receipt);
        item
    }

    fn compare(&mut self) -> Result<(), TestCaseError> {
        let (leaving, seen) = self.channel.statistics(());
        self.keep(leaving);
        self.model.settle();
        let model = &self.model;
        prop_assert_eq!((seen.phase, seen.ended), (model.phase, model.end().is_some()));
        prop_assert_eq!((seen.granted, seen.sent, seen.voided), (model.granted(), model.sent, model.voided));
        prop_assert_eq!((seen.permits, seen.occupied, seen.owed), (model.permitted(), model.occupied(), model.owed));
        prop_assert_eq!((seen.items_sent, seen.items_received), (model.items_sent, model.received));
        prop_assert_eq!((seen.items_buffered, seen.items_unacked), (model.buffered(), model.out()));
        prop_assert_eq!((seen.redelivered, seen.stale), (model.requeued, model.stale));
        prop_assert_eq!((seen.settled_through, seen.held), (model.settled_through(), model.paused));
        prop_assert_eq!((seen.waiting_senders, seen.waiting_receivers), (model.senders.len(), model.receivers.len()));
        prop_assert_eq!(seen.items_discarded, model.discarded.len() as u64);
        let endless = model.available == UNBOUNDED && model.config.bound == UNBOUNDED;
        let credit = |claimed| if endless { UNBOUNDED } else { model.sendable().saturating_sub(claimed) };
        prop_assert_eq!(seen.credit, if model.phase == Phase::Cancelled { 0 } else { credit(0) });
        let free = all_woken(&model.senders) && model.phase == Phase::Open;
        prop_assert_eq!(self.channel.credit(()).1, if free { credit(claimed(&model.senders)) } else { 0 });
        for n in BALERS {
            let place = model.senders.iter().find(|place| place.who == n);
            let left = self.channel.with_offer((), &self.senders[n].spot, |bale| bale.goods.clone());
            prop_assert_eq!(left, place.and_then(|place| place.offered.clone()));
        }
        // What several due at once are given up in, is not said.
        prop_assert_eq!(sorted(&self.discarded), sorted(&model.discarded));
        // Whatever the model says.
        prop_assert!(seen.sent <= seen.granted && seen.occupied + seen.permits <= model.config.bound);
        if seen.window > 0 && seen.phase != Phase::Cancelled {
            prop_assert_eq!(seen.credit + seen.permits + seen.occupied + seen.owed, seen.window);
        }
        if model.config.rules.is_none() {
            prop_assert_eq!(seen.items_sent, seen.items_received + seen.items_discarded + seen.items_buffered as u64);
            prop_assert_eq!(&self.discarded, &model.discarded);
        }
        self.check_told()
    }

    /// Whoever may go has been told since it last looked.
    fn check_told(&self) -> Result<(), TestCaseError> {
        let model = &self.model;
        for place in &model.senders {
            let told = self.senders[place.who].parker.is_notified();
            prop_assert!(told || !place.woken, "sender {} sleeps", place.who);
            prop_assert!(!told || place.woken || place.offered.is_none(), "sender {} is told of each part", place.who);
        }
        for place in &model.receivers {
            let told = self.receivers[place.who].parker.is_notified();
            prop_assert!(told || !place.woken, "receiver {} sleeps", place.who);
            prop_assert!(told || model.only_owner() != Some(place.who), "receiver {} waits for itself", place.who);
        }
        let asleep = model.receivers.iter().any(|place| !place.woken);
        if let Some(due) = model.next_due().filter(|_| asleep) {
            let keeps_time = |place: &Place| {
                let waiter = &self.receivers[place.who];
                waiter.parker.is_notified() || waiter.due.is_some_and(|at| at <= due)
            };
            prop_assert!(model.receivers.iter().any(keeps_time), "nobody comes at {}", due);
        }
        Ok(())
    }
}

/// The one item that was received.
fn unpack(received: Received<u32, Wares>) -> u32 {
    match received {
        Received::Item(item) => item,
        Received::Bale(Wares { goods }) => {
            assert_eq!(goods.len(), 1);
            goods[0].0
        }
    }
}

fn unpack_all(batch: Batch<u32, Wares>) -> Vec<u32> {
    let count = batch.count();
    let mut items = Vec::new();
    for received in batch.into_parts() {
        match received {
            Received::Item(item) => items.push(item),
            Received::Bale(Wares { goods }) => items.extend(goods.into_iter().map(|good| good.0)),
        }
    }
    assert_eq!(items.len(), count);
    items
}

fn sorted(items: &[u32]) -> Vec<u32> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items
}

fn with_item(error: &SendError<()>, item: u32) -> SendError<u32> {
    match *error {
        SendError::Full(()) => SendError::Full(item),
        SendError::TooHeavy(()) => SendError::TooHeavy(item),
        SendError::Ended((), end) => SendError::Ended(item, end),
    }
}

fn without_item(error: &SendError<u32>) -> SendError<()> {
    match *error {
        SendError::Full(_) => SendError::Full(()),
        SendError::TooHeavy(_) => SendError::TooHeavy(()),
        SendError::Ended(_, end) => SendError::Ended((), end),
    }
}

fn play(config: Config, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut bench = Bench::new(config);
    bench.compare()?;
    for step in steps {
        let is_time = matches!(step, Step::Advance(_));
        bench.perform(step)?;
        // What time has done is seen when somebody looks; of what a step has done others are told with it.
        if !is_time {
            bench.model.settle();
            bench.check_told()?;
        }
        bench.compare()?;
    }
    for waiter in bench.senders.iter_mut().chain(&mut bench.receivers) {
        bench.channel.leave((), &mut waiter.spot).fire();
    }
    let (leaving, seen) = bench.channel.statistics(());
    leaving.fire();
    prop_assert_eq!((seen.waiting_senders, seen.waiting_receivers), (0, 0));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_channel_is_its_model(config in config(), steps in vec(step(), 0..100)) {
        play(config, steps)?;
    }

    /// Items one by one and in bales, through a channel that mostly has room for them.
    #[test]
    fn what_flows_is_as_its_model((window, step) in (1..40u64, 1..9u64), steps in vec(flow(), 0..100)) {
        play(Config { window, step: step.min(window), bound: window, control_capacity: 1, rules: None }, steps)?;
    }
}
