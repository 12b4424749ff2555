//! Random operations on credit channels against a plain model: no credit lost or doubled, items in order, nobody asleep beside its turn.
#![cfg(not(loom))]

mod cases;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cases::cases;
use proptest::collection::vec;
use proptest::prelude::*;
use sluicegate_core::clock::{Clock, Manual, Nanos};
use sluicegate_core::credits::{
    Bale, Batch, Channel, Config, End, Handle, Lane, Nack, Offer, Permit, Phase, Receipt, ReceiveError, Received, Removed, Rules,
    SendError, SenderEnd, Settlement, Stop, UNBOUNDED, Waiter,
};
use sluicegate_core::leaving::Leaving;
use sluicegate_core::section::Threads;
use sluicegate_core::wait::{Parker, Wakes};

type Waker = Arc<Parker>;
type Chan = Channel<u32, Waker, Threads, Wares>;

const WAITERS: usize = 3;
const STOPPERS: usize = 2;
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

/// Items belong to one of two lanes by their number.
struct ByNumber;

const LANES: u32 = 2;

fn lane_of(item: u32) -> usize {
    (item % LANES) as usize
}

impl Handle<u32> for ByNumber {
    fn share(&self, item: &u32) -> u32 {
        *item
    }

    fn lane(&self, item: &u32) -> Lane {
        *item % LANES
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
    Extend(usize, Nanos),
    /// Somebody comes to stop all of it or one lane, or comes back to look.
    Stop(usize, Option<usize>),
    GiveUp(usize),
    LeaveStop(usize),
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
        3 => (0..5usize, 0..6u64).prop_map(|(n, time)| Step::Extend(n, time)),
        3 => (0..STOPPERS, prop_oneof![1 => Just(None), 8 => (0..LANES as usize).prop_map(Some)]).prop_map(|(n, lane)| Step::Stop(n, lane)),
        1 => (0..STOPPERS).prop_map(Step::GiveUp),
        1 => (0..STOPPERS).prop_map(Step::LeaveStop),
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
        rules: rules.map(|(wait, max_deliver)| Rules { ack_wait: (wait > 0).then_some(wait), max_deliver, reports: true }),
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
struct ModelItem {
    sequence: u64,
    item: u32,
    weight: u64,
    attempts: u32,
    place: Where,
    /// Its number in its lane.
    number: u64,
}

/// What has been handed out of a lane, and what of that is settled.
#[derive(Default)]
struct Count {
    next: u64,
    settled: BTreeSet<u64>,
    stopping: bool,
    stops: u64,
}

impl Count {
    fn through(&self) -> u64 {
        (0..=self.next).find(|n| !self.settled.contains(n)).expect("the next one is not settled")
    }
}

/// A waiter.
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
    entries: Vec<ModelItem>,
    /// For each time an item was handed out: its sequence number.
    handed: Vec<u64>,
    next_sequence: u64,
    lanes: [Count; LANES as usize],
    /// All of it is being stopped; it was stopped at some time.
    stopping: bool,
    late: bool,
    told: BTreeMap<usize, u64>,
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
            entries: Vec::new(),
            handed: Vec::new(),
            next_sequence: 0,
            lanes: [Count::default(), Count::default()],
            stopping: false,
            late: false,
            told: BTreeMap::new(),
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
        self.entries.iter().filter(|entry| matches!(entry.place, Where::Out { .. })).count()
    }

    fn buffered(&self) -> usize {
        self.buffer.len() + self.entries.len() - self.out()
    }

    fn receivable(&self) -> u64 {
        (self.buffer.len() + self.entries.iter().filter(|entry| entry.place == Where::Ready).count()) as u64
    }

    fn occupied(&self) -> u64 {
        self.buffer.iter().map(|entry| entry.1).chain(self.entries.iter().map(|entry| entry.weight)).sum()
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
            ((self.buffer.len() + self.entries.len()) as u64) < self.config.bound
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
        for n in (0..self.entries.len()).rev() {
            match self.entries[n].place {
                Where::Delayed(at) if at <= self.now => self.entries[n].place = Where::Ready,
                Where::Out { expires, .. } if expires <= self.now => self.come_back(n, 0),
                _ => {}
            }
        }
        self.note_stopped();
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

    /// True if it may go: then it is not in the wait queue any more.
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
            return Offer::Waiting;
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
            return Offer::Waiting;
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

    fn take_out(&mut self, owner: usize) -> Option<u32> {
        let back =
            (0..self.entries.len()).filter(|&n| self.entries[n].place == Where::Ready).min_by_key(|&n| self.entries[n].sequence);
        self.received += 1;
        let Some(rules) = self.config.rules else {
            let (item, weight) = self.buffer.remove(0);
            self.consumed(weight);
            return Some(item);
        };
        let n = if let Some(n) = back {
            n
        } else {
            let Some((item, weight)) = self.next_of_open_lane() else {
                self.received -= 1;
                return None;
            };
            let lane = &mut self.lanes[lane_of(item)];
            (lane.next, self.next_sequence) = (lane.next + 1, self.next_sequence + 1);
            let (sequence, number) = (self.next_sequence - 1, lane.next - 1);
            self.entries.push(ModelItem { sequence, item, weight, attempts: 0, place: Where::Ready, number });
            self.entries.len() - 1
        };
        let expires = rules.ack_wait.map_or(Nanos::MAX, |wait| self.now + wait);
        let entry = &mut self.entries[n];
        entry.attempts += 1;
        entry.place = Where::Out { number: self.handed.len(), owner, expires };
        self.handed.push(entry.sequence);
        Some(entry.item)
    }

    /// What is met on the way, of a lane that is being stopped, is given up.
    fn next_of_open_lane(&mut self) -> Option<(u32, u64)> {
        while !self.buffer.is_empty() {
            let (item, weight) = self.buffer.remove(0);
            if !self.lanes[lane_of(item)].stopping {
                return Some((item, weight));
            }
            self.consumed(weight);
            self.discarded.push(item);
        }
        None
    }

    fn consumed(&mut self, weight: u64) {
        if self.config.window > 0 && self.phase != Phase::Cancelled {
            self.owed += weight;
        }
    }

    fn settled(&mut self, item: u32, number: u64) {
        let lane = &mut self.lanes[lane_of(item)];
        let before = lane.through();
        lane.settled.insert(number);
        if lane.through() > before {
            self.told.insert(lane_of(item), lane.through());
        }
    }

    fn out_of(&self, lane: usize) -> bool {
        self.entries.iter().any(|entry| matches!(entry.place, Where::Out { .. }) && lane_of(entry.item) == lane)
    }

    /// Ends the stops of what is not out any more.
    fn note_stopped(&mut self) {
        self.stopping &= self.out() > 0;
        for lane in 0..LANES as usize {
            if self.lanes[lane].stopping && !self.out_of(lane) {
                self.finish(lane);
            }
        }
    }

    fn finish(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        let stops = lane.stops + 1;
        if self.phase != Phase::Cancelled {
            *lane = Count::default();
        }
        (lane.stops, lane.stopping) = (stops, false);
    }

    /// The number that says how often it had been stopped.
    fn stop_lane(&mut self, lane: usize) -> u64 {
        let stops = self.lanes[lane].stops;
        if self.phase == Phase::Cancelled && !self.stopping {
            return u64::MAX; // there is nothing to stop
        }
        let given_up = |entry: &ModelItem| !matches!(entry.place, Where::Out { .. }) && lane_of(entry.item) == lane;
        let waiting: Vec<_> =
            self.entries.iter().filter(|entry| given_up(entry)).map(|entry| (entry.item, entry.weight)).collect();
        self.entries.retain(|entry| !given_up(entry));
        let buffered: Vec<_> = self.buffer.iter().copied().filter(|entry| lane_of(entry.0) == lane).collect();
        self.buffer.retain(|entry| lane_of(entry.0) != lane);
        for (item, weight) in waiting.into_iter().chain(buffered) {
            self.consumed(weight);
            self.discarded.push(item);
        }
        self.lanes[lane].stopping = true;
        self.note_stopped();
        stops
    }

    fn give_up(&mut self, lane: Option<usize>) {
        let meant =
            |entry: &ModelItem| matches!(entry.place, Where::Out { .. }) && lane.is_none_or(|lane| lane_of(entry.item) == lane);
        let weight: u64 = self.entries.iter().filter(|entry| meant(entry)).map(|entry| entry.weight).sum();
        self.entries.retain(|entry| !meant(entry));
        self.consumed(weight);
        self.note_stopped();
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
        let mut owners = self.entries.iter().filter_map(|entry| match entry.place {
            Where::Out { owner, .. } => Some(owner),
            _ => None,
        });
        let first = owners.next()?;
        (over && self.buffered() == 0 && owners.all(|owner| owner == first)).then_some(first)
    }

    /// Comes back, or is given up.
    fn come_back(&mut self, n: usize, delay: Nanos) {
        if self.entries[n].attempts >= self.config.rules.expect("it is a delivery").max_deliver {
            let entry = self.entries.remove(n);
            self.consumed(entry.weight);
            self.discarded.push(entry.item);
            self.settled(entry.item, entry.number);
        } else if self.stopping || self.lanes[lane_of(self.entries[n].item)].stopping {
            let entry = self.entries.remove(n);
            self.consumed(entry.weight);
            self.discarded.push(entry.item);
        } else {
            self.requeued += 1;
            self.entries[n].place = if delay == 0 { Where::Ready } else { Where::Delayed(self.now + delay) };
        }
    }

    /// The delivery that was the `number`th, if it is out.
    fn find(&mut self, number: usize) -> Option<usize> {
        let is_it = |entry: &ModelItem| matches!(entry.place, Where::Out { number: its, .. } if its == number);
        let found = self.entries.iter().position(is_it);
        self.stale += u64::from(found.is_none() && !self.has_gone());
        found
    }

    /// It was cancelled, and not stopped.
    fn has_gone(&self) -> bool {
        self.phase == Phase::Cancelled && !self.late
    }

    fn settle_delivery(&mut self, number: usize, nack: Option<Nack>) -> bool {
        let Some(n) = self.find(number) else { return self.has_gone() };
        if let Some(nack) = nack {
            self.entries[n].attempts -= u32::from(!nack.counts);
            if nack.requeue {
                self.come_back(n, nack.delay);
                self.note_stopped();
                return true;
            }
            self.discarded.push(self.entries[n].item);
        }
        let entry = self.entries.remove(n);
        self.consumed(entry.weight);
        self.settled(entry.item, entry.number);
        self.note_stopped();
        true
    }

    fn settled_through(&self) -> u64 {
        if self.config.rules.is_none() {
            return self.received;
        }
        self.lanes.iter().map(Count::through).sum()
    }

    fn has_stopped(&self, begun: Option<(usize, u64)>) -> bool {
        match begun {
            None => !self.stopping,
            Some((lane, stops)) => self.lanes[lane].stops != stops,
        }
    }

    fn next_due(&self) -> Option<Nanos> {
        let due = self.entries.iter().filter_map(|entry| match entry.place {
            Where::Delayed(at) => Some(at),
            Where::Out { expires, .. } => Some(expires).filter(|&at| at != Nanos::MAX),
            Where::Ready => None,
        });
        due.min()
    }

    fn cancel(&mut self) {
        if self.close_down() || self.stopping {
            self.stopping = false;
            self.give_up(None);
        }
    }

    /// What is out stays out.
    fn close_down(&mut self) -> bool {
        if self.end().is_some() {
            return false;
        }
        let permitted = self.permitted();
        self.phase = Phase::Cancelled;
        let unused = permitted + if self.available == UNBOUNDED { 0 } else { self.available };
        self.voided = self.voided.saturating_add(unused).min(UNBOUNDED);
        (self.available, self.owed, self.lease) = (0, 0, None);
        self.entries.sort_by_key(|entry| entry.sequence);
        let (out, waiting): (Vec<_>, Vec<_>) = self.entries.drain(..).partition(|entry| matches!(entry.place, Where::Out { .. }));
        self.entries = out;
        self.discarded.extend(waiting.into_iter().map(|entry| entry.item));
        self.discarded.extend(self.buffer.drain(..).map(|entry| entry.0));
        self.stopping = true;
        true
    }
}

/// One that is not in the wait queue.
fn refused(refusal: &SendError<()>, goods: VecDeque<(u32, u64)>) -> Offer<Wares> {
    let rest = Wares { goods };
    match *refusal {
        SendError::Full(()) => unreachable!("it stands in line"),
        SendError::NoMemory(()) => unreachable!("there is enough"),
        SendError::TooHeavy(()) => Offer::TooHeavy(rest),
        SendError::Ended((), end) => Offer::Ended(rest, end),
    }
}

/// In the wait queue, waiting to be woken, or not in it.
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
struct Caller {
    parker: Waker,
    waiter: Waiter,
    aim: Option<(Aim, u64)>,
    /// When it saw that something would be due.
    due: Option<Nanos>,
}

/// Somebody who stops: what, and how often that had been stopped before.
#[derive(Default)]
struct Stopper {
    parker: Waker,
    waiter: Waiter,
    stop: Option<(Stop, Option<(usize, u64)>)>,
}

struct Bench {
    stoppers: Vec<Stopper>,
    told: BTreeMap<usize, u64>,
    channel: Chan,
    clock: Arc<Manual<Waker>>,
    model: Model,
    senders: Vec<Caller>,
    receivers: Vec<Caller>,
    receipts: Vec<Receipt>,
    permits: Vec<Permit>,
    discarded: Vec<u32>,
    next: u32,
}

impl Bench {
    fn new(config: Config) -> Self {
        let clock = Arc::new(Manual::new(0));
        let callers = |count| (0..count).map(|_| Caller::default()).collect();
        Self {
            stoppers: (0..STOPPERS).map(|_| Stopper::default()).collect(),
            told: BTreeMap::new(),
            channel: Channel::new(config, Clock::Manual(Arc::clone(&clock))),
            clock,
            model: Model::new(config),
            senders: callers(BALERS.end),
            receivers: callers(WAITERS),
            receipts: Vec::new(),
            permits: Vec::new(),
            discarded: Vec::new(),
            next: 0,
        }
    }

    fn keep(&mut self, leaving: Leaving<Arc<Parker>, Removed<u32, Wares>>) {
        let left = leaving.fire_and_keep();
        self.discarded.extend(left.poison.iter().chain(&left.rejected));
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
                let Caller { waiter, parker, .. } = &mut self.senders[n];
                parker.reset();
                let ((wakes, offer), expected) = if waiter.is_enqueued() {
                    (self.channel.look_at_offer((), waiter), self.model.look_at_offer(n))
                } else {
                    let bale = Wares { goods: goods.clone() };
                    (self.channel.offer((), bale, waiter, parker), self.model.offer(n, goods))
                };
                wakes.fire();
                prop_assert_eq!(self.senders[n].waiter.is_enqueued(), offer == Offer::Waiting);
                prop_assert_eq!(offer, expected);
            }
            Step::TakeBack(n) => {
                let (wakes, rest) = self.channel.take_back((), &mut self.senders[n].waiter);
                wakes.fire();
                prop_assert_eq!(rest.map(|bale| bale.goods), self.model.take_back(n));
                prop_assert!(!self.senders[n].waiter.is_enqueued());
            }
            Step::WaitToSend(n, aim, weight) => {
                let item = self.item();
                let caller = &mut self.senders[n];
                let (aim, weight) = *caller.aim.get_or_insert((aim, weight));
                caller.parker.reset();
                let (wakes, result) = match aim {
                    Aim::Send => {
                        let (wakes, result) = self.channel.send_or_wait((), item, weight, &mut caller.waiter, &caller.parker);
                        (wakes, result.map_err(|error| without_item(&error)))
                    }
                    Aim::Permit => {
                        let (wakes, result) = self.channel.permit_or_wait((), weight, &mut caller.waiter, &caller.parker);
                        (wakes, result.map(|permit| self.permits.push(permit)))
                    }
                    Aim::Ready => self.channel.ready_or_wait((), weight, &mut caller.waiter, &caller.parker),
                };
                wakes.fire();
                let waits = result == Err(SendError::Full(()));
                prop_assert_eq!(caller.waiter.is_enqueued(), waits);
                if !waits {
                    caller.aim = None;
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
                self.channel.leave((), &mut self.senders[n].waiter).fire();
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
                    let (leaving, result) = self.channel.try_receive_delivery((), owner as u64, &ByNumber);
                    self.keep(leaving);
                    (Wakes::none(), result.map(|handed| self.note(handed.item, handed.receipt)))
                } else {
                    let (wakes, result) = self.channel.try_receive(());
                    (wakes, result.map(unpack))
                };
                wakes.fire();
                let may = all_woken(&self.model.receivers) && self.model.receivable() > claimed(&self.model.receivers);
                let taken = if may { self.model.take_out(owner) } else { None };
                let expected = taken.ok_or_else(|| self.model.nothing_there(owner));
                prop_assert_eq!(result, expected);
            }
            Step::ReceiveBatch(max) if !is_acking => {
                let (wakes, result) = self.channel.try_receive_batch((), max);
                let result = result.map(unpack_all);
                wakes.fire();
                let free = self.model.receivable().saturating_sub(claimed(&self.model.receivers));
                let expected = if all_woken(&self.model.receivers) && free > 0 {
                    Ok((0..free.min(max as u64)).filter_map(|_| self.model.take_out(0)).collect())
                } else {
                    Err(self.model.nothing_there(usize::MAX))
                };
                prop_assert_eq!(result, expected);
            }
            Step::WaitToReceive(n) => {
                let caller = &mut self.receivers[n];
                caller.parker.reset();
                let (wakes, result) = if is_acking {
                    let (leaving, result) =
                        self.channel.receive_delivery_or_wait((), n as u64, &ByNumber, &mut caller.waiter, &caller.parker);
                    caller.due = self.channel.next_due(());
                    self.keep(leaving);
                    (Wakes::none(), result.map(|handed| self.note(handed.item, handed.receipt)))
                } else {
                    let (wakes, result) = self.channel.receive_or_wait((), &mut caller.waiter, &caller.parker);
                    (wakes, result.map(unpack))
                };
                wakes.fire();
                let line = &self.model.receivers;
                let may = match line.iter().find(|place| place.who == n) {
                    Some(place) => place.woken && self.model.receivable() > 0,
                    None => all_woken(line) && self.model.receivable() > claimed(line),
                };
                let taken = if may { self.model.take_out(n) } else { None };
                let expected = taken.ok_or_else(|| self.model.nothing_there(n));
                let waits = expected == Err(ReceiveError::Empty);
                stand(&mut self.model.receivers, n, 1, waits);
                prop_assert_eq!(result, expected);
                prop_assert_eq!(self.receivers[n].waiter.is_enqueued(), waits);
            }
            Step::LeaveReceive(n) => {
                self.channel.leave((), &mut self.receivers[n].waiter).fire();
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
            Step::Extend(back, time) if back < self.receipts.len() => {
                let number = self.receipts.len() - 1 - back;
                let (leaving, is_out) = self.channel.extend((), &Settlement::default(), self.receipts[number], time);
                self.keep(leaving);
                let (until, has_gone) = (self.model.now + time, self.model.has_gone());
                let out = self.model.entries.iter_mut().find_map(|entry| match &mut entry.place {
                    Where::Out { number: its, expires, .. } if *its == number => Some(expires),
                    _ => None,
                });
                prop_assert_eq!(is_out, out.is_some() || has_gone);
                if let Some(expires) = out {
                    *expires = until.max(*expires);
                }
            }
            Step::Stop(n, lane) if is_acking => {
                let Stopper { parker, waiter, stop } = &mut self.stoppers[n];
                parker.reset();
                let begins = stop.is_none();
                let whole = || (Stop::all(), None);
                let (stop, begun) = stop.get_or_insert_with(|| match lane {
                    Some(lane) => (Stop::lanes([Lane::try_from(lane).unwrap()]).unwrap(), Some((lane, 0))),
                    None => whole(),
                });
                let (leaving, has_ended) = self.channel.stop((), stop, &ByNumber, waiter, Some(parker));
                match begun {
                    Some((lane, stops)) if begins => *stops = self.model.stop_lane(*lane),
                    None if begins && self.model.close_down() => {
                        self.model.late = true;
                        self.model.note_stopped();
                    }
                    _ => {}
                }
                let expected = self.model.has_stopped(*begun);
                let is_held = waiter.is_enqueued();
                if has_ended {
                    self.stoppers[n].stop = None;
                }
                self.keep(leaving);
                prop_assert_eq!((has_ended, is_held), (expected, !expected));
            }
            Step::GiveUp(n) => {
                self.channel.leave((), &mut self.stoppers[n].waiter).fire();
                if let Some((mut stop, begun)) = self.stoppers[n].stop.take() {
                    let (leaving, ()) = self.channel.give_up((), &mut stop, &ByNumber);
                    self.keep(leaving);
                    if !self.model.has_stopped(begun) {
                        if begun.is_none() {
                            self.model.stopping = false;
                        }
                        self.model.give_up(begun.map(|begun| begun.0));
                    }
                }
            }
            Step::LeaveStop(n) => {
                self.channel.leave((), &mut self.stoppers[n].waiter).fire();
                self.stoppers[n].stop = None;
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
        let is_acking = self.model.config.rules.is_some();
        let (leaving, seen) = self.channel.statistics(());
        self.keep(leaving);
        self.model.settle();
        let mut again = false;
        while let Some((lane, through)) = self.channel.next_report((), again) {
            again = true;
            self.told.insert(lane as usize, through);
        }
        prop_assert_eq!(&self.told, &self.model.told);
        for lane in 0..LANES as usize {
            let through = if is_acking { self.model.lanes[lane].through() } else { self.model.received };
            prop_assert_eq!(self.channel.settled_through((), Lane::try_from(lane).unwrap()).1, through);
        }
        for stopper in &self.stoppers {
            if let Some((_, begun)) = &stopper.stop {
                prop_assert!(
                    !self.model.has_stopped(*begun) || stopper.parker.is_notified(),
                    "nobody said that the stop has ended"
                );
            }
        }
        let model = &self.model;
        prop_assert_eq!(seen.stopping, model.stopping);
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
            let left = self.channel.with_offer((), &self.senders[n].waiter, |bale| bale.goods.clone());
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

    /// Waiters that may go have been woken since they last looked.
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
                let caller = &self.receivers[place.who];
                caller.parker.is_notified() || caller.due.is_some_and(|at| at <= due)
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
        SendError::NoMemory(()) => SendError::NoMemory(item),
        SendError::Ended((), end) => SendError::Ended(item, end),
    }
}

fn without_item(error: &SendError<u32>) -> SendError<()> {
    match *error {
        SendError::Full(_) => SendError::Full(()),
        SendError::TooHeavy(_) => SendError::TooHeavy(()),
        SendError::NoMemory(_) => SendError::NoMemory(()),
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
    for caller in bench.senders.iter_mut().chain(&mut bench.receivers) {
        bench.channel.leave((), &mut caller.waiter).fire();
    }
    let (leaving, seen) = bench.channel.statistics(());
    leaving.fire();
    prop_assert_eq!((seen.waiting_senders, seen.waiting_receivers), (0, 0));
    Ok(())
}

proptest! {
    #![proptest_config(cases(1500))]

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
