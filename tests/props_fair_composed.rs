//! Random operations on a fair queue whose items have a time to live and a weight, with a rule that sheds them, against a plain model: who
//! comes out and in which order, what is given up and why, who gives way, that no more gives way than is needed, and that nobody
//! sleeps beside room for its item.
#![cfg(not(loom))]

mod cases;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::buffer::{Fair, Keyed, Rule};
use sluicegate_core::clock::{Clock, Manual};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::queue::{
    Admission, Attempt, BatchBounds, BatchError, Composition, DropReason, Due, GetError, Linger, Lost, Overflow, PutError, Queue,
    Terms, Waiter,
};
use sluicegate_core::section::Threads;
use sluicegate_core::shed::{Codel, Shed};
use sluicegate_core::wait::Parker;

type Item = Keyed<u64>;
type Fairs = Queue<Fair<Item>, Arc<Parker>, Threads>;

const KEYS: u64 = 4;
const TARGET: u64 = 2;
const INTERVAL: u64 = 6;

fn hash(key: u64) -> KeyHash {
    KeyHash::new([key + 1, key % 3])
}

fn item(key: u64, item: u64) -> Item {
    Keyed { key: hash(key), rank: 0.0, item }
}

#[derive(Clone, Copy, Debug)]
struct Inside {
    item: u64,
    weight: u64,
    deadline: u64,
    arrived: u64,
}

/// `deque` of RFC 8289, section 5, for items.
#[derive(Clone, Copy, Debug, Default)]
struct Rfc8289 {
    first_above: u64,
    drop_next: u64,
    count: u64,
    last_count: u64,
    dropping: bool,
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small times")]
fn law(time: u64, count: u64) -> u64 {
    time + (INTERVAL as f64 / (count as f64).sqrt()) as u64
}

impl Rfc8289 {
    fn ok_to_drop(&mut self, taken: Option<Inside>, is_last: bool, now: u64) -> bool {
        let waited = taken.map_or(0, |inside| now - inside.arrived);
        if waited < TARGET || is_last {
            self.first_above = 0;
        } else if self.first_above == 0 {
            self.first_above = now + INTERVAL;
        } else {
            return now >= self.first_above;
        }
        false
    }

    /// The item that is delivered. What is shed goes to `shed`.
    fn dequeue(&mut self, now: u64, mut take: impl FnMut() -> (Option<Inside>, bool), shed: &mut Vec<Inside>) -> Option<Inside> {
        let mut next = |rfc: &mut Self| {
            let (taken, is_last) = take();
            let ok = rfc.ok_to_drop(taken, is_last, now);
            (taken, ok)
        };
        let (mut taken, mut ok) = next(self);
        if self.dropping {
            self.dropping = ok;
            while self.dropping && now >= self.drop_next {
                shed.extend(taken);
                self.count += 1;
                (taken, ok) = next(self);
                self.dropping = ok;
                if ok {
                    self.drop_next = law(self.drop_next, self.count);
                }
            }
        } else if ok {
            shed.extend(taken);
            (taken, _) = next(self);
            self.dropping = true;
            let delta = self.count - self.last_count;
            self.count = if delta > 1 && now.saturating_sub(self.drop_next) < 16 * INTERVAL { delta } else { 1 };
            self.drop_next = law(now, self.count);
            self.last_count = self.count;
        }
        taken
    }
}

/// What a queue should do, in the plainest words.
#[derive(Clone, Default)]
struct Model {
    /// Tag, number and key; one whose items have been given up stays until it is the first.
    turns: Vec<(f64, u64, u64)>,
    items: BTreeMap<u64, VecDeque<Inside>>,
    rules: BTreeMap<u64, Rfc8289>,
    weights: BTreeMap<u64, f64>,
    /// What the tag of a key includes and no item has used.
    credits: BTreeMap<u64, f64>,
    virtual_time: f64,
    numbers: u64,
    limit: usize,
    per_key: usize,
    reserved: usize,
    max_weight: u64,
    sheds: bool,
    policy: Overflow,
    /// The one that comes is not entitled to the room, if there is any.
    is_barred: bool,
    skipped: u64,
    now: u64,
    unfinished: i64,
    dropped: [u64; DropReason::COUNT],
}

#[derive(Debug, PartialEq)]
enum Fate {
    Stored,
    Full,
    Rejected,
}

type Told = Vec<(u64, DropReason)>;

impl Model {
    fn held(&self, key: u64) -> usize {
        self.items.get(&key).map_or(0, VecDeque::len)
    }

    fn all(&self) -> impl Iterator<Item = &Inside> {
        self.items.values().flatten()
    }

    fn weight(&self) -> u64 {
        self.all().map(|inside| inside.weight).sum()
    }

    /// Key 0 has reserved places.
    fn has_room(&self, key: u64) -> bool {
        let kept = if key == 0 { self.reserved.saturating_sub(self.held(0)) } else { 0 };
        let common: usize =
            (0..KEYS).map(|key| self.held(key) - if key == 0 { self.held(0).min(self.reserved) } else { 0 }).sum();
        let free = kept + self.limit.saturating_sub(self.reserved).saturating_sub(common);
        self.held(key) < self.per_key && free > 0 && self.all().count() < self.limit
    }

    fn fits(&self, key: u64, weight: u64) -> bool {
        self.has_room(key) && self.weight() + weight <= self.max_weight
    }

    fn lose(&mut self, item: u64, reason: DropReason, lost: &mut Told) {
        self.dropped[reason as usize] += 1;
        self.unfinished -= 1;
        lost.push((item, reason));
    }

    /// What an item costs its key: its weight, if that is bounded.
    fn cost(&self, inside: &Inside) -> f64 {
        if self.max_weight == u64::MAX { 1.0 } else { f64::from(u32::try_from(inside.weight.max(1)).unwrap()) }
    }

    /// What the next item of the key costs more than is paid.
    fn unpaid(&self, key: u64) -> f64 {
        let cost = self.items.get(&key).and_then(VecDeque::front).map_or(0.0, |inside| self.cost(inside));
        (cost - self.credits.get(&key).copied().unwrap_or_default()).max(0.0)
    }

    /// A tag that is larger than this one by what the next item costs.
    fn give_turn(&mut self, key: u64, tag: f64) {
        self.numbers += 1;
        let weight = self.weights.get(&key).copied().unwrap_or(1.0);
        let unpaid = self.unpaid(key);
        *self.credits.entry(key).or_default() += unpaid;
        self.turns.push((tag + unpaid / weight, self.numbers, key));
        self.turns.sort_by(|one, other| one.partial_cmp(other).unwrap());
    }

    fn settle(&mut self) {
        while let Some(&(tag, _, key)) = self.turns.first() {
            if self.held(key) == 0 {
                self.turns.remove(0);
                self.rules.remove(&key);
                self.credits.remove(&key);
            } else if self.unpaid(key) > 0.0 {
                self.turns.remove(0);
                self.give_turn(key, tag);
            } else {
                break;
            }
        }
        if self.all().count() == 0 {
            self.virtual_time = 0.0;
        }
    }

    fn store(&mut self, key: u64, inside: Inside) {
        self.items.entry(key).or_default().push_back(inside);
        self.unfinished += 1;
        if !self.turns.iter().any(|turn| turn.2 == key) {
            self.give_turn(key, self.virtual_time);
        }
        self.settle();
    }

    fn expire(&mut self, lost: &mut Told) {
        for key in 0..KEYS {
            let Some(items) = self.items.get_mut(&key) else { continue };
            let (gone, left): (Vec<_>, Vec<_>) = items.drain(..).partition(|inside| inside.deadline <= self.now);
            *items = left.into();
            for inside in gone {
                self.lose(inside.item, DropReason::Expired, lost);
            }
        }
        self.settle();
    }

    /// What the key holds of the common places, with these items more.
    fn share(&self, key: u64, more: &[u64]) -> f64 {
        let load: u64 = self
            .items
            .get(&key)
            .into_iter()
            .flatten()
            .map(|inside| inside.weight)
            .chain(more.iter().copied())
            .map(|weight| weight.max(1))
            .sum();
        let held = self.held(key) + more.len();
        let beyond = held.saturating_sub(if key == 0 { self.reserved } else { 0 });
        let (beyond, held) = (f64::from(u32::try_from(beyond).unwrap()), f64::from(u32::try_from(held).unwrap()));
        if beyond == 0.0 {
            0.0
        } else {
            beyond * (f64::from(u32::try_from(load).unwrap()) / held) / self.weights.get(&key).copied().unwrap_or(1.0)
        }
    }

    fn most(&self) -> f64 {
        (0..KEYS).map(|key| self.share(key, &[])).fold(0.0, f64::max)
    }

    /// Follows what the queue says that it has given up for the arrival, and checks that it is right.
    fn arrive(&mut self, key: u64, inside: Inside, told: &Told) -> Result<Fate, TestCaseError> {
        let mut lost = Told::new();
        if !self.fits(key, inside.weight) {
            self.expire(&mut lost);
        }
        let (mut expired, rest) = told.split_at(lost.len().min(told.len()));
        let mut expired = std::mem::take(&mut expired).to_vec();
        expired.sort_unstable_by_key(|one| one.0);
        lost.sort_unstable_by_key(|one| one.0);
        prop_assert_eq!(&expired, &lost);
        if self.fits(key, inside.weight) {
            prop_assert!(rest.is_empty());
            if self.is_barred {
                return Ok(Fate::Full);
            }
            self.store(key, inside);
            return Ok(Fate::Stored);
        }
        let (is_first, reason) = match self.policy {
            Overflow::Block => return Ok(Fate::Full),
            Overflow::Reject => return Ok(Fate::Rejected),
            Overflow::DropOldest => (true, DropReason::Oldest),
            Overflow::Sample(n) => {
                self.skipped += 1;
                if self.skipped < n.get() {
                    prop_assert_eq!(rest, &[(inside.item, DropReason::Sampled)]);
                    self.dropped[DropReason::Sampled as usize] += 1;
                    return Ok(Fate::Stored);
                }
                self.skipped = 0;
                (true, DropReason::Sampled)
            }
            _ => (false, DropReason::Newest),
        };
        let is_own = self.held(key) >= self.per_key || self.share(key, &[inside.weight]) >= self.most();
        if rest == [(inside.item, reason)] {
            // It is its own, or all that can give way would not be enough.
            let protected = self.held(0).min(self.reserved);
            let stay: u64 = self.items.get(&0).map_or(0, |items| {
                let weights = items.iter().map(|inside| inside.weight);
                if is_first { weights.rev().take(protected).sum() } else { weights.take(protected).sum() }
            });
            let nobody = is_own && (!is_first || self.held(key) == 0 && self.most() == 0.0);
            let kept = if key == 0 { self.reserved - protected } else { 0 };
            let in_vain = kept + self.limit.saturating_sub(self.reserved) == 0
                || protected >= self.limit
                || stay + inside.weight > self.max_weight;
            prop_assert!(nobody || in_vain, "it was dropped although others could have given way");
            self.dropped[reason as usize] += 1;
            return Ok(Fate::Stored);
        }
        prop_assert!(!rest.is_empty());
        prop_assert!(!is_own || is_first);
        for (place, &(gone, why)) in rest.iter().enumerate() {
            prop_assert_eq!(why, reason);
            prop_assert!(!self.fits(key, inside.weight), "more than is needed");
            let from =
                (0..KEYS).find(|each| self.items.get(each).is_some_and(|items| items.iter().any(|inside| inside.item == gone)));
            let from = from.unwrap();
            if place == 0 && is_own && self.held(key) > 0 || place > 0 && self.held(key) >= self.per_key {
                prop_assert_eq!(from, key);
            } else {
                prop_assert!(self.share(from, &[]) >= self.most(), "another holds more");
            }
            let items = self.items.get_mut(&from).unwrap();
            let other = if is_first { items.pop_front() } else { items.pop_back() };
            prop_assert_eq!(other.map(|other| other.item), Some(gone));
            self.lose(gone, why, &mut Told::new());
        }
        prop_assert!(self.fits(key, inside.weight), "it does not fit");
        self.store(key, inside);
        self.settle();
        Ok(Fate::Stored)
    }

    fn take(&mut self, lost: &mut Told) -> Option<Inside> {
        while !self.turns.is_empty() {
            if let Some(taken) = self.take_of_first(lost) {
                return Some(taken);
            }
        }
        None
    }

    /// What the key whose turn it is delivers, if anything.
    fn take_of_first(&mut self, lost: &mut Told) -> Option<Inside> {
        let &(tag, _, key) = self.turns.first()?;
        let now = self.now;
        let mut items = self.items.remove(&key).unwrap_or_default();
        let (mut popped, mut expired, mut shed) = (Vec::new(), Vec::new(), Vec::new());
        let mut take = || {
            while let Some(inside) = items.pop_front() {
                popped.push(inside.item);
                if inside.deadline > now {
                    return (Some(inside), items.is_empty());
                }
                expired.push(inside.item);
            }
            (None, true)
        };
        let taken = if self.sheds { self.rules.entry(key).or_default().dequeue(now, take, &mut shed) } else { take().0 };
        self.items.insert(key, items);
        for item in popped {
            if expired.contains(&item) {
                self.lose(item, DropReason::Expired, lost);
            } else if shed.iter().any(|inside| inside.item == item) {
                self.lose(item, DropReason::Shed, lost);
            }
        }
        if let Some(taken) = taken {
            self.virtual_time = tag;
            self.turns.remove(0);
            if self.held(key) > 0 {
                *self.credits.entry(key).or_default() -= self.cost(&taken);
                self.give_turn(key, tag);
            } else {
                self.rules.remove(&key);
                self.credits.remove(&key);
            }
        }
        self.settle();
        taken
    }

    /// What the next item weighs. A key that has nothing to deliver loses its items.
    fn next_weight(&mut self, lost: &mut Told) -> Option<u64> {
        while !self.turns.is_empty() {
            if let Some(next) = self.clone().take_of_first(&mut Told::new()) {
                return Some(next.weight);
            }
            assert!(self.take_of_first(lost).is_none());
        }
        None
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u64, Terms),
    WaitToPut(usize, Terms),
    LeavePut(usize),
    PutMany(u64, usize, Terms),
    Get,
    GetMany(usize, Option<u64>),
    Advance(u64),
    Policy(Overflow),
    Limit(usize),
    PerKey(usize),
    Weight(u64, f64),
    Clear,
}

fn terms() -> impl Strategy<Value = Terms> {
    let due = prop_oneof![3 => Just(Due::Never), 3 => (1u64..9).prop_map(Due::In), 1 => Just(Due::In(4))];
    (0u64..5, due).prop_map(|(weight, due)| Terms { weight, due })
}

fn policy() -> impl Strategy<Value = Overflow> {
    prop_oneof![
        2 => Just(Overflow::Block),
        1 => Just(Overflow::Reject),
        2 => Just(Overflow::DropOldest),
        2 => Just(Overflow::DropNewest),
        1 => (1u64..4).prop_map(|n| Overflow::Sample(NonZeroU64::new(n).unwrap())),
    ]
}

fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![Just(1.0), Just(2.0), Just(0.5)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        9 => (0..KEYS, terms()).prop_map(|(key, terms)| Step::Put(key, terms)),
        4 => (0..2usize, terms()).prop_map(|(waiter, terms)| Step::WaitToPut(waiter, terms)),
        1 => (0..2usize).prop_map(Step::LeavePut),
        2 => (0..KEYS, 0usize..4, terms()).prop_map(|(key, n, terms)| Step::PutMany(key, n, terms)),
        6 => Just(Step::Get),
        3 => (1usize..4, prop::option::of(1u64..8)).prop_map(|(max, weight)| Step::GetMany(max, weight)),
        4 => (1u64..4).prop_map(Step::Advance),
        1 => policy().prop_map(Step::Policy),
        1 => (2usize..7).prop_map(Step::Limit),
        1 => (1usize..4).prop_map(Step::PerKey),
        1 => (0..KEYS, weight()).prop_map(|(key, weight)| Step::Weight(key, weight)),
        1 => Just(Step::Clear),
    ]
}

fn told(lost: Lost<Item>) -> Told {
    lost.into_vec().into_iter().map(|dropped| (dropped.item.item, dropped.reason)).collect()
}

fn fate(result: Result<(), PutError<Item>>) -> Fate {
    match result {
        Ok(()) => Fate::Stored,
        Err(PutError::Full(_)) => Fate::Full,
        Err(PutError::Rejected(_)) => Fate::Rejected,
        Err(other) => panic!("{other:?}"),
    }
}

/// Each waits with an item of a key of its own.
#[derive(Default)]
struct Caller {
    parker: Arc<Parker>,
    waiter: Waiter,
    weight: u64,
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn a_fair_queue_with_notes(
        limit in 2usize..7,
        before in 0u64..3,
        reserved in 0usize..2,
        max_weight in prop_oneof![Just(None), (4u64..12).prop_map(Some)],
        sheds in any::<bool>(),
        first in policy(),
        steps in proptest::collection::vec(step(), 0..100),
    ) {
        let clock = Arc::new(Manual::new(1));
        let mut fair: Fair<Item> = Fair::new(3, false);
        fair.try_set_rule(hash(0), Rule { weight: 1.0, reserved }).unwrap();
        let queue: Fairs = Queue::new(fair, limit, Clock::Manual(Arc::clone(&clock)));
        queue.set_overflow((), first).fire();
        let mut model = Model { limit, per_key: 3, reserved, max_weight: max_weight.unwrap_or(u64::MAX), sheds, policy: first, now: 1, ..Model::default() };
        // Some may be there already when it is composed.
        for number in 0..before {
            let (wakes, result) = queue.try_put((), item(number, 1000 + number), Admission::Immediate);
            wakes.fire();
            if result.is_ok() {
                model.store(number, Inside { item: 1000 + number, weight: 0, deadline: u64::MAX, arrived: 1 });
            }
        }
        let shed = sheds.then(|| Shed::Codel(Codel::new(TARGET, INTERVAL)));
        queue.compose((), &Composition { max_weight, shed, latency: true }).unwrap();
        let (mut next, mut delivered) = (0, 0);
        let mut callers = [Caller::default(), Caller::default()];
        for step in steps {
            next += 1;
            let inside = |model: &Model, terms: Terms| {
                let deadline = if let Due::In(ttl) = terms.due { model.now + ttl } else { u64::MAX };
                // Without a bound weights count for who gives way.
                Inside { item: next, weight: terms.weight, deadline, arrived: model.now }
            };
            match step {
                Step::Put(key, terms) => {
                    let (wakes, lost, result) = queue.put_composed((), item(key, next), terms, Attempt::Now);
                    wakes.fire();
                    let arriving = inside(&model, terms);
                    prop_assert_eq!(fate(result), model.arrive(key, arriving, &told(lost))?);
                }
                Step::WaitToPut(index, terms) => {
                    let (key, caller) = (index as u64, &mut callers[index]);
                    queue.leave((), &mut caller.waiter).fire();
                    caller.parker.reset();
                    let (wakes, lost, result) = queue.put_composed((), item(key, next), terms, Attempt::Wait(&mut caller.waiter, &caller.parker));
                    wakes.fire();
                    caller.weight = terms.weight;
                    let found = fate(result);
                    prop_assert_eq!(caller.waiter.is_enqueued(), found == Fate::Full);
                    // Another may be entitled to the room.
                    model.is_barred = found == Fate::Full && callers[1 - index].waiter.is_enqueued();
                    let arriving = inside(&model, terms);
                    prop_assert_eq!(found, model.arrive(key, arriving, &told(lost))?);
                    model.is_barred = false;
                }
                Step::LeavePut(index) => queue.leave((), &mut callers[index].waiter).fire(),
                Step::PutMany(key, count, terms) => {
                    let all: Vec<Item> = (0..count as u64).map(|n| item(key, next + n)).collect();
                    let mut items = all.clone().into_iter();
                    let (wakes, lost, result) = queue.put_many_composed((), &mut items, &mut |_, _| terms, Attempt::Now);
                    wakes.fire();
                    let (mut lost, mut left, mut outcome) = (told(lost), all.len(), Fate::Stored);
                    for each in &all {
                        let arriving = Inside { item: each.item, ..inside(&model, terms) };
                        // What is told of this one: as far as the model follows it.
                        let mut size = 0;
                        while size <= lost.len() {
                            let mut copy = Model { turns: model.turns.clone(), items: model.items.clone(), rules: model.rules.clone(), weights: model.weights.clone(), credits: model.credits.clone(), ..model };
                            if let Ok(fate) = copy.arrive(key, arriving, &lost[..size].to_vec()) {
                                (model, outcome) = (copy, fate);
                                break;
                            }
                            size += 1;
                        }
                        prop_assert!(size <= lost.len(), "nothing explains {lost:?}");
                        lost.drain(..size);
                        if outcome != Fate::Stored {
                            break;
                        }
                        left -= 1;
                    }
                    next += count as u64;
                    prop_assert!(lost.is_empty());
                    prop_assert_eq!(items.len(), left);
                    prop_assert_eq!(result, match outcome {
                        Fate::Stored => Ok(()),
                        Fate::Full => Err(PutError::Full(())),
                        Fate::Rejected => Err(PutError::Rejected(())),
                    });
                }
                Step::Get => {
                    let (wakes, lost, result) = queue.get_composed((), Attempt::Now);
                    wakes.fire();
                    let mut expected = Told::new();
                    let found = model.take(&mut expected).map(|inside| inside.item);
                    delivered += u64::from(found.is_some());
                    prop_assert_eq!(result.map(|item| item.item), found.ok_or(GetError::Empty));
                    prop_assert_eq!(told(lost), expected);
                }
                Step::GetMany(max, max_weight) => {
                    let bounds = BatchBounds { max, max_weight: max_weight.unwrap_or(u64::MAX) };
                    let (wakes, lost, result) = queue.get_many_composed((), bounds, Linger::Over, Attempt::Now);
                    wakes.fire();
                    let (mut expected, mut batch, mut weighed) = (Told::new(), Vec::new(), 0);
                    while batch.len() < max {
                        let next = max_weight.and_then(|max| Some((max, model.next_weight(&mut expected)?)));
                        if !batch.is_empty() && next.is_some_and(|(max, weight)| weighed + weight > max) {
                            break;
                        }
                        let Some(inside) = model.take(&mut expected) else { break };
                        batch.push(inside.item);
                        weighed += inside.weight;
                    }
                    delivered += batch.len() as u64;
                    let result = result.map(|items| items.into_iter().map(|item| item.item).collect());
                    prop_assert_eq!(result, if batch.is_empty() { Err(BatchError::Empty) } else { Ok(batch) });
                    prop_assert_eq!(told(lost), expected);
                }
                Step::Advance(by) => {
                    clock.advance(by);
                    model.now += by;
                }
                Step::Policy(policy) => {
                    model.policy = policy;
                    queue.set_overflow((), policy).fire();
                }
                Step::Limit(limit) => {
                    model.limit = limit;
                    queue.set_limit((), limit).fire();
                }
                Step::PerKey(per_key) => {
                    model.per_key = per_key;
                    queue.step((), None, |state, wakes| state.edit(|fair| fair.set_per_key(per_key), wakes)).0.fire();
                }
                Step::Weight(key, weight) => {
                    model.weights.insert(key, weight);
                    queue.step((), None, |state, wakes| state.edit(|fair| fair.try_set_weight(hash(key), weight).map(drop).unwrap(), wakes)).0.fire();
                }
                Step::Clear => {
                    let clear = |fair: &mut Fair<Item>| {
                        let all = fair.take_all();
                        let count = all.len();
                        (all, count)
                    };
                    queue.step((), None, |state, wakes| state.clear(clear, wakes)).0.fire();
                    model.unfinished -= i64::try_from(model.all().count()).unwrap();
                    model.items.clear();
                    model.turns.clear();
                    model.rules.clear();
                    model.credits.clear();
                    model.settle();
                }
            }
            prop_assert_eq!(queue.size(()), model.all().count());
            prop_assert_eq!(queue.unfinished(()), model.unfinished);
            let seen = queue.statistics(());
            prop_assert_eq!(seen.dropped, model.dropped);
            prop_assert_eq!(seen.weight, max_weight.map(|max| (model.weight(), max)));
            prop_assert_eq!(seen.oldest, model.all().map(|inside| model.now - inside.arrived).max());
            prop_assert_eq!(seen.latency.map(|latency| latency.count), Some(delivered));
            // Nobody sleeps beside room, unless it is for a heavier item, whose turn it is.
            let waiting = || callers.iter().zip(0..).filter(|(caller, _)| caller.waiter.is_enqueued());
            if !waiting().any(|(caller, _)| caller.parker.is_notified()) {
                let mut roomy = waiting().filter(|(_, key)| model.has_room(*key)).peekable();
                let all_fit = roomy.peek().is_some() && roomy.all(|(caller, key)| model.fits(key, caller.weight));
                prop_assert!(!all_fit, "a putter sleeps beside room for its item");
                prop_assert!(waiting().next().is_none() || model.policy == Overflow::Block, "a putter sleeps although nobody waits for room");
            }
        }
        for caller in &mut callers {
            queue.leave((), &mut caller.waiter).fire();
        }
    }
}
