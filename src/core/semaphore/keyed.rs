//! `Keyed`: a semaphore for each of very many keys. Only the keys in use are stored.
//!
//! # Algorithm
//! The keys are in a table (see [`keys`](crate::keys)) that is cut into shards, each with a section of its own. An entry is a [`State`];
//! the first request for a key creates it, and it is removed when no permit of the key is held or waited for. At most `max_keys` entries
//! have a *place*, and permits are held only of keys with a place. Any further key gets an entry without a place, in which its waiters wait
//! as in any other, and the key itself waits for a place. The state of a key without a place is closed: it grants nothing.
//!
//! The places, and the queue of keys that wait for one, have a section of their own, which is entered inside that of a shard; a thread is
//! inside at most one shard at a time. A thread that gives a place up *hands it on* after it has left the shard: it takes the first key out
//! of the queue together with a place, enters that key's shard and opens its state. If the key no longer needs the place, the place is free
//! again and goes to the next key.
//!
//! # States of a key (changed only inside the section of its shard)
//!
//! | state    | event                                              | next     | also                                          |
//! |----------|----------------------------------------------------|----------|-----------------------------------------------|
//! | -        | a request, a place is free and no key waits for one | placed   | the request is granted                         |
//! | -        | a request that can wait, no place is free           | queued   | the waiter joins the wait queue of the key     |
//! | queued   | it is the first, a place is handed on to it         | placed   | the waiters of the key are woken, in order      |
//! | queued   | its last waiter leaves                              | -        |                                               |
//! | queued   | its last waiter that can come steps aside           | aside    |                                               |
//! | placed   | its last permit is released, nobody waits           | -        | the place is handed on                         |
//! | placed   | no permit is held, and all waiters are aside         | aside    | the same                                       |
//! | placed   | a place is handed on to it                          | placed   | that place is handed on further                |
//! | aside    | a waiter steps back, or another one comes           | queued   | at the position of its first request           |
//! | aside    | its last waiter leaves                              | -        |                                               |
//!
//! A key is aside because a signal handler that interrupts a wait can itself wait for another key: the interrupted waiter, which cannot
//! come before the handler returns, must not keep a place from others.
//!
//! # Fairness
//! Strictly first come, first served within each key. Keys get places in the order in which their first waiters came.
//!
//! # Memory
//! `max_keys` entries, and one for each key that is only waited for. Idle keys take no memory.

use std::collections::BTreeMap;
use std::fmt;

use super::state::{AcquireError, Overrelease, Overreleased, State, Statistics, Waiter};
use crate::clock::{Clock, Nanos};
use crate::fork;
use crate::keys::{KeyHash, Table};
use crate::monitor::MonitorState;
use crate::room::Boxed;
use crate::section::{Domain, Section};
use crate::sync::{Count, Ordering};
use crate::wait::{Ticket, Wake, Wakes};

/// The statistics of all keys together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyedStatistics {
    /// Keys of which permits are held or have been promised to a waiter.
    pub keys: usize,
    /// Keys that wait for a place.
    pub waiting_keys: usize,
    pub held: u64,
    pub acquired: u64,
    pub waiters: usize,
    pub waited: Nanos,
}

#[derive(Debug)]
struct Entry<W> {
    /// Closed unless the key has a place.
    state: State<W>,
    /// The position of the key in the queue for a place.
    number: Option<u64>,
    has_place: bool,
}

impl<W: Wake> Entry<W> {
    /// True if permits of the key are held, or a waiter that has not stepped aside waits.
    fn needs_place(&self) -> bool {
        self.is_held() || self.state.is_waited_for()
    }

    fn is_held(&self) -> bool {
        self.has_place && self.state.is_held()
    }

    /// Gives the key its place.
    fn open(&mut self, size: u64, wakes: &mut Wakes<W>) {
        self.has_place = true;
        self.state.release(size, wakes).expect("it was closed");
    }
}

/// The places for keys.
#[derive(Debug)]
struct Places {
    free: usize,
    /// The keys that wait for a place, by position.
    queue: BTreeMap<u64, KeyHash>,
    next: u64,
    generation: u64,
}

impl Places {
    fn is_open(&self) -> bool {
        self.queue.is_empty() && self.free > 0
    }

    /// Takes a place for a key if one is free and no key waits. Returns whether it did.
    fn claim(&mut self, number: &mut Option<u64>) -> bool {
        number.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        let is_open = self.is_open();
        self.free -= usize::from(is_open);
        is_open
    }

    /// As `claim`, but without a place the key joins the queue.
    fn claim_or_wait(&mut self, key: KeyHash, number: &mut Option<u64>) -> bool {
        let claimed = self.claim(number);
        if let (false, Some(number)) = (claimed, *number) {
            self.queue.insert(number, key);
        }
        claimed
    }

    /// Takes the first key out of the queue, if there is a free place for it.
    fn hand_on(&mut self) -> Option<(u64, KeyHash)> {
        let first = if self.free > 0 { self.queue.pop_first() } else { None };
        self.free -= usize::from(first.is_some());
        first
    }
}

/// The keys of a shard.
struct Shard<W> {
    /// An entry is never `None`.
    entries: Table<Option<Boxed<Entry<W>>>>,
    /// A lower bound for the tickets of new entries: greater than every ticket of a removed entry, so that a forgotten waiter is not
    /// mistaken for a waiter of the next entry.
    fresh: Ticket,
    acquired: u64,
    /// The waiting times of removed entries.
    waited: Nanos,
    generation: u64,
}

impl<W: Wake> Shard<W> {
    fn get(&mut self, key: KeyHash) -> Option<&mut Entry<W>> {
        self.entries.get_mut(key)?.as_deref_mut()
    }

    fn get_or_make(&mut self, key: KeyHash, size: u64, clock: &Clock<W>) -> Result<&mut Entry<W>, AcquireError> {
        if self.entries.get_mut(key).is_none() {
            let mut state = State::new(size, Overrelease::Bounded, clock.clone());
            state.wait_queues_mut().queue_mut(()).skip_tickets_before(self.fresh);
            state.close();
            let entry = Boxed::try_new(Entry { state, number: None, has_place: false });
            let entry = entry.map_err(|_| AcquireError::NoMemory)?;
            self.entries.insert(key, Some(entry)).map_err(|_| AcquireError::NoMemory)?;
        }
        Ok(self.get(key).expect("it was there, or has been made"))
    }

    fn remove(&mut self, key: KeyHash) {
        if let Some(mut entry) = self.entries.get_mut(key).and_then(Option::take) {
            self.bury(&mut entry);
            self.entries.remove(key);
        }
    }

    /// Keeps the statistics of an entry that is removed.
    fn bury(&mut self, entry: &mut Entry<W>) {
        self.waited += entry.state.statistics().waited;
        self.fresh = self.fresh.max(entry.state.wait_queues().queue(()).next_ticket());
    }

    /// In a child process, forgets the waiters, and the keys that were only waited for, because they belong to the parent. Returns the
    /// number of keys left.
    fn forget_after_fork(&mut self) -> usize {
        if self.generation != fork::generation() {
            self.generation = fork::generation();
            let mut entries = std::mem::take(&mut self.entries);
            while entries.remove_one(usize::MAX, |_, entry| {
                let Some(entry) = entry.as_deref_mut() else { return true };
                entry.state.forget_after_fork();
                let goes = !entry.is_held();
                if goes {
                    self.bury(entry);
                }
                goes
            }) {}
            self.entries = entries;
        }
        self.entries.len()
    }
}

/// A semaphore for each of many keys, see the head of this file.
pub struct Keyed<W: Wake, D: Domain> {
    size: u64,
    max_keys: usize,
    clock: Clock<W>,
    shards: Box<[Section<Shard<W>, D>]>,
    places: Section<Places, D>,
    /// The generation of the last process that has entered. Relaxed: each section checks by itself whether its contents belong to this
    /// process.
    generation: Count,
}

impl<W: Wake, D: Domain> Keyed<W, D> {
    /// `size` permits for each key, of at most `max_keys` keys at a time. `shards` is a power of two.
    pub fn new(size: u64, max_keys: usize, shards: usize, clock: Clock<W>) -> Self {
        debug_assert!(shards.is_power_of_two());
        let generation = fork::generation();
        let shard =
            |_| Section::new(Shard { entries: Table::default(), fresh: Ticket::default(), acquired: 0, waited: 0, generation });
        let places = Places { free: max_keys, queue: BTreeMap::new(), next: 0, generation };
        Self {
            size,
            max_keys,
            clock,
            shards: (0..shards).map(shard).collect(),
            places: Section::new(places),
            generation: Count::new(generation),
        }
    }

    fn shard(&self, key: KeyHash) -> &Section<Shard<W>, D> {
        &self.shards[key.shard(self.shards.len())]
    }

    /// Enters the shard of a key once.
    fn visit<R>(
        &self,
        proof: D::Proof<'_>,
        key: KeyHash,
        critical: impl FnOnce(&mut Shard<W>, &mut Wakes<W>) -> R,
    ) -> (Wakes<W>, R) {
        self.forget_after_fork(proof);
        let mut wakes = Wakes::none();
        let result = self.shard(key).with(proof, |shard| critical(shard, &mut wakes));
        (wakes, result)
    }

    fn forget_after_fork(&self, proof: D::Proof<'_>) {
        if self.generation.load(Ordering::Relaxed) != fork::generation() {
            self.forget(proof);
        }
    }

    #[cold]
    fn forget(&self, proof: D::Proof<'_>) {
        // Several threads of the child may get here at once. No thread takes a place before the first of them has counted all keys.
        let keys: usize = self.shards.iter().map(|shard| shard.with(proof, Shard::forget_after_fork)).sum();
        self.places.with(proof, |places| {
            if places.generation != fork::generation() {
                places.generation = fork::generation();
                places.queue.clear();
                places.free = self.max_keys - keys;
            }
        });
        self.generation.store(fork::generation(), Ordering::Relaxed);
    }

    fn check(&self, n: u64) -> Result<(), AcquireError> {
        if n > self.size { Err(AcquireError::TooLarge { size: self.size }) } else { Ok(()) }
    }

    /// Takes `n` permits of this key if they are free, no waiter is before it, and the key has a place or can get one.
    pub fn try_acquire(&self, proof: D::Proof<'_>, key: KeyHash, n: u64) -> Result<(), AcquireError> {
        self.check(n)?;
        let mut place_is_free = false;
        let (mut wakes, result) = self.visit(proof, key, |shard, wakes| {
            let result = match shard.get(key) {
                Some(entry) if entry.has_place => entry.state.try_acquire(n),
                // If waiters of the key are waiting, they come first.
                Some(entry) if entry.state.is_waited_for() => Err(AcquireError::Busy),
                entry => {
                    let mut number = entry.and_then(|entry| entry.number);
                    if !self.places.with(proof, |places| places.claim(&mut number)) {
                        return Err(AcquireError::Busy);
                    }
                    let entry = shard.get_or_make(key, self.size, &self.clock).inspect_err(|_| {
                        self.places.with(proof, |places| places.free += 1);
                        place_is_free = true;
                    })?;
                    entry.number = number;
                    entry.open(self.size, wakes);
                    entry.state.try_acquire(n)
                }
            };
            shard.acquired += u64::from(result.is_ok());
            result
        });
        debug_assert!(wakes.is_empty(), "nobody waited for the place that it got");
        if place_is_free {
            self.hand_on(proof, &mut wakes);
        }
        wakes.fire();
        result
    }

    /// Takes `n` permits of this key, or joins (or stays in) its wait queue: after `Busy` the waiter is in the queue, and `waker` will be
    /// woken.
    pub fn acquire_or_wait(
        &self,
        proof: D::Proof<'_>,
        key: KeyHash,
        n: u64,
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<(), AcquireError>) {
        if let Err(error) = self.check(n) {
            return (Wakes::none(), Err(error));
        }
        self.visit(proof, key, |shard, wakes| {
            let entry = shard.get_or_make(key, self.size, &self.clock)?;
            self.place(proof, key, entry, wakes);
            let result = entry.state.acquire_or_wait(n, waiter, waker, wakes);
            shard.acquired += u64::from(result.is_ok());
            result
        })
    }

    /// Makes sure that the key has a place or waits for one.
    fn place(&self, proof: D::Proof<'_>, key: KeyHash, entry: &mut Entry<W>, wakes: &mut Wakes<W>) {
        if !entry.has_place && self.places.with(proof, |places| places.claim_or_wait(key, &mut entry.number)) {
            entry.open(self.size, wakes);
        }
    }

    /// Gives `n` permits of this key back.
    pub fn release(&self, proof: D::Proof<'_>, key: KeyHash, n: u64) -> (Wakes<W>, Result<(), Overreleased>) {
        let (mut wakes, result) = self.visit(proof, key, |shard, wakes| {
            let entry = shard.get(key).filter(|entry| entry.has_place);
            entry.ok_or(Overreleased { held: 0 })?.state.release(n, wakes)?;
            Ok(self.tidy(proof, shard, key, wakes))
        });
        if result == Ok(true) {
            self.hand_on(proof, &mut wakes);
        }
        (wakes, result.map(drop))
    }

    /// Stops waiting. A wake-up that was given to this waiter goes to the next one. It can be called at any time, any number of times.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn leave(&self, proof: D::Proof<'_>, key: KeyHash, waiter: &mut Waiter) -> Wakes<W> {
        if !waiter.is_enqueued() {
            return Wakes::none();
        }
        let wakes = self.change(proof, key, |state, wakes| state.remove_waiter(waiter, wakes));
        *waiter = Waiter::default(); // it can belong to an entry that was forgotten after a fork
        wakes
    }

    /// See [`Monitor::step_aside`](crate::monitor::Monitor::step_aside).
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_aside(&self, proof: D::Proof<'_>, key: KeyHash, ((), ticket): ((), Ticket)) -> Wakes<W> {
        self.change(proof, key, |state, _| state.wait_queues_mut().queue_mut(()).step_aside(ticket))
    }

    /// See [`Monitor::step_back`](crate::monitor::Monitor::step_back).
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_back(&self, proof: D::Proof<'_>, key: KeyHash, ((), ticket): ((), Ticket)) -> Wakes<W> {
        self.change(proof, key, |state, _| state.wait_queues_mut().queue_mut(()).step_back(ticket))
    }

    /// Runs a change of a waiter in the queue of this key.
    fn change(&self, proof: D::Proof<'_>, key: KeyHash, change: impl FnOnce(&mut State<W>, &mut Wakes<W>)) -> Wakes<W> {
        let (mut wakes, place_is_free) = self.visit(proof, key, |shard, wakes| {
            let Some(entry) = shard.get(key) else { return false };
            change(&mut entry.state, wakes);
            entry.state.wake_all_eligible(wakes);
            self.tidy(proof, shard, key, wakes)
        });
        if place_is_free {
            self.hand_on(proof, &mut wakes);
        }
        wakes
    }

    /// Called after a change of the key: it may need a place, or no longer need it, and an unused entry is removed. Returns true if a place
    /// has become free, which must be handed on.
    fn tidy(&self, proof: D::Proof<'_>, shard: &mut Shard<W>, key: KeyHash, wakes: &mut Wakes<W>) -> bool {
        let entry = shard.get(key).expect("it has just been changed");
        if entry.needs_place() {
            self.place(proof, key, entry, wakes);
            return false;
        }
        let had_place = std::mem::take(&mut entry.has_place);
        self.places.with(proof, |places| {
            places.free += usize::from(had_place);
            entry.number.map(|number| places.queue.remove(&number));
        });
        entry.state.close();
        if !entry.state.has_waiters() {
            shard.remove(key);
        }
        had_place
    }

    /// Gives the free places to the keys that wait for one.
    fn hand_on(&self, proof: D::Proof<'_>, wakes: &mut Wakes<W>) {
        while let Some((number, key)) = self.places.with(proof, Places::hand_on) {
            let taken = self.shard(key).with(proof, |shard| {
                let entry =
                    shard.get(key).filter(|entry| entry.number == Some(number) && !entry.has_place && entry.needs_place());
                entry.map(|entry| entry.open(self.size, wakes)).is_some()
            });
            if !taken {
                self.places.with(proof, |places| places.free += 1);
            }
        }
    }

    pub fn clock(&self, _proof: D::Proof<'_>, _key: KeyHash) -> Clock<W> {
        self.clock.clone()
    }

    /// True if this thread is already inside a section that an operation on this key enters. The operation would then panic.
    pub fn is_entered(&self, proof: D::Proof<'_>, key: KeyHash) -> bool {
        self.shard(key).is_entered(proof) || self.places.is_entered(proof)
    }

    /// The statistics of this key since it was last idle.
    pub fn statistics(&self, proof: D::Proof<'_>, key: KeyHash) -> Statistics {
        self.forget_after_fork(proof);
        self.shard(key).with(proof, |shard| {
            let is_open = self.places.with(proof, |places| places.is_open());
            let (size, value) = (self.size, if is_open { self.size } else { 0 });
            let Some(entry) = shard.get(key) else { return Statistics { size, value, ..Statistics::default() } };
            let seen = entry.state.statistics();
            if entry.has_place { seen } else { Statistics { held: 0, value, ..seen } }
        })
    }

    /// The sum over the shards, which are visited one after the other.
    pub fn statistics_of_all(&self, proof: D::Proof<'_>) -> KeyedStatistics {
        self.forget_after_fork(proof);
        let (keys, waiting_keys) = self.places.with(proof, |places| (self.max_keys - places.free, places.queue.len()));
        let mut all = KeyedStatistics { keys, waiting_keys, ..KeyedStatistics::default() };
        for shard in &self.shards {
            shard.with(proof, |shard| {
                all.acquired += shard.acquired;
                all.waited += shard.waited;
                for entry in shard.entries.values_mut().flatten() {
                    let seen = entry.state.statistics();
                    all.held += if entry.has_place { seen.held } else { 0 };
                    all.waiters += seen.waiters;
                    all.waited += seen.waited;
                }
            });
        }
        all
    }

    /// Calls `waker` with every waker in every wait queue, once each.
    pub fn visit_wakers(&self, proof: D::Proof<'_>, mut waker: impl FnMut(&W)) {
        for shard in &self.shards {
            shard.with(proof, |shard| {
                for entry in shard.entries.values_mut().flatten() {
                    entry.state.wait_queues().visit_wakers(&mut waker);
                }
            });
        }
    }
}

impl<W: Wake, D: Domain> fmt::Debug for Keyed<W, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}
