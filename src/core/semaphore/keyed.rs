//! `Keyed`: a semaphore for each of very many keys, of which only those in use exist.
//!
//! # Algorithm
//! One section with a map from the key to its [`State`]. An entry is made by the first request for a key and removed when nobody holds a
//! permit of the key or waits for one. At most `max_keys` entries have a *place*: those of whose keys permits may be held. A key beyond
//! that gets an entry without a place, in which its waiters stand as in any other, and the key stands in line for a place. The state of a key
//! without a place is closed: nobody is let in.
//!
//! # States of a key (changed only inside the section)
//!
//! | state    | event                                              | next     | also                                          |
//! |----------|----------------------------------------------------|----------|-----------------------------------------------|
//! | -        | a request, a place is free and no key waits for one | placed   | the request is granted                         |
//! | -        | a request that can wait, no place is free           | in line  | the waiter joins the line of the key           |
//! | in line  | the first in line, a place becomes free             | placed   | the waiters of the key are woken, in order      |
//! | in line  | its last waiter leaves                              | -        |                                               |
//! | in line  | its last waiter that can come steps aside           | aside    |                                               |
//! | placed   | its last permit is released, nobody waits           | -        | the place goes to the first key in line        |
//! | placed   | no permit is held, and all waiters are aside         | aside    | the same                                       |
//! | aside    | a waiter steps back, or another one comes           | in line  | where it would stand by its first request      |
//! | aside    | its last waiter leaves                              | -        |                                               |
//!
//! A key is aside so that a signal handler in the middle of a wait can itself wait for another key: the waiter that it keeps from coming
//! must not keep a place from others.
//!
//! # Fairness
//! Of each key strictly first come, first served. Keys get places in the order in which their first waiters came.
//!
//! # Memory
//! `max_keys` entries, and one for each key that is only waited for. Idle keys cost nothing.

use std::collections::BTreeMap;
use std::fmt;

use super::state::{AcquireError, Kind, Overreleased, Spot, State, Statistics};
use crate::clock::{Clock, Nanos};
use crate::fork;
use crate::monitor::Waits;
use crate::section::{Domain, Section};
use crate::wait::{Line, Ticket, Wake, Wakes};

/// The place of one operation in the line of one key; [`Keyed::leave`] gives it up.
#[derive(Debug, Default)]
pub struct KeyedSpot {
    pub spot: Spot,
    /// Which entry of the key it is in: one that was forgotten after a fork is not the next one of the same key.
    entry: u64,
}

impl KeyedSpot {
    pub fn is_held(&self) -> bool {
        self.spot.is_held()
    }

    /// Where it is, for those who step aside.
    pub fn place(&self) -> Option<KeyedPlace> {
        self.spot.place().map(|((), ticket)| KeyedPlace { ticket, entry: self.entry })
    }
}

/// Where an operation stands that steps aside.
#[derive(Clone, Copy, Debug)]
pub struct KeyedPlace {
    pub ticket: Ticket,
    entry: u64,
}

/// What has been seen of all keys together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyedStatistics {
    /// Keys of which permits are held, or on their way to a waiter.
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
    /// By which it stands in line for a place.
    number: u64,
    has_place: bool,
}

impl<W: Wake> Entry<W> {
    fn is_held(&self) -> bool {
        self.has_place && self.state.is_held()
    }
}

struct Directory<K, W> {
    size: u64,
    max_keys: usize,
    entries: BTreeMap<K, Entry<W>>,
    /// How many of them have a place.
    placed: usize,
    /// Keys in line for a place, by the numbers of their entries.
    line: BTreeMap<u64, K>,
    next: u64,
    acquired: u64,
    /// Of entries that are gone.
    waited: Nanos,
    clock: Clock<W>,
    generation: u64,
}

impl<K: Copy + Ord, W: Wake> Directory<K, W> {
    /// May a new key have a place at once?
    fn has_room(&self) -> bool {
        self.line.is_empty() && self.placed < self.max_keys
    }

    fn check(&self, n: u64) -> Result<(), AcquireError> {
        if n > self.size { Err(AcquireError::TooLarge { size: self.size }) } else { Ok(()) }
    }

    /// The entry of this key, made for it if need be, with a place or in line for one.
    fn entry(&mut self, key: K, wakes: &mut Wakes<W>) -> &mut Entry<W> {
        let (size, clock, next) = (self.size, &self.clock, &mut self.next);
        let entry = self.entries.entry(key).or_insert_with(|| {
            let number = *next;
            *next += 1;
            let mut state = State::new(size, Kind::Bounded, clock.clone());
            state.close();
            Entry { state, number, has_place: false }
        });
        if !entry.has_place {
            self.line.insert(entry.number, key);
            self.give_places(wakes);
        }
        self.entries.get_mut(&key).expect("it was there, or has been made")
    }

    /// Something about this key has changed: it needs a place, or does not, and the entry goes if nobody needs it.
    fn tidy(&mut self, key: K, wakes: &mut Wakes<W>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.is_held() || entry.state.is_waited_for() {
            if !entry.has_place {
                self.line.insert(entry.number, key);
            }
        } else {
            self.line.remove(&entry.number);
            self.placed -= usize::from(std::mem::take(&mut entry.has_place));
            entry.state.close();
            if !entry.state.has_waiters() {
                self.waited += entry.state.statistics().waited;
                self.entries.remove(&key);
            }
        }
        self.give_places(wakes);
    }

    /// Free places go to the keys in line.
    fn give_places(&mut self, wakes: &mut Wakes<W>) {
        while self.placed < self.max_keys {
            let Some((_, first)) = self.line.pop_first() else { break };
            let entry = self.entries.get_mut(&first).expect("a key in line has an entry");
            entry.has_place = true;
            self.placed += 1;
            entry.state.release(self.size, wakes).expect("it was closed");
        }
    }

    /// Waits, and keys that were only waited for, are the parent's.
    fn forget_after_fork(&mut self) {
        if self.generation != fork::generation() {
            self.generation = fork::generation();
            self.line.clear();
            self.entries.retain(|_, entry| {
                entry.state.forget_after_fork();
                entry.is_held()
            });
            self.placed = self.entries.len();
        }
    }
}

/// A semaphore for each key, see the head of this file.
pub struct Keyed<K, W: Wake, D: Domain> {
    section: Section<Directory<K, W>, D>,
}

impl<K: Copy + Ord, W: Wake, D: Domain> Keyed<K, W, D> {
    /// `size` permits for each key, of at most `max_keys` keys at a time.
    pub fn new(size: u64, max_keys: usize, clock: Clock<W>) -> Self {
        let (entries, line) = (BTreeMap::new(), BTreeMap::new());
        let generation = fork::generation();
        Self {
            section: Section::new(Directory {
                size,
                max_keys,
                entries,
                placed: 0,
                line,
                next: 0,
                acquired: 0,
                waited: 0,
                clock,
                generation,
            }),
        }
    }

    fn visit<R>(&self, proof: D::Proof<'_>, critical: impl FnOnce(&mut Directory<K, W>, &mut Wakes<W>) -> R) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let result = self.section.with(proof, |keys| {
            keys.forget_after_fork();
            critical(keys, &mut wakes)
        });
        (wakes, result)
    }

    /// Takes `n` permits of this key if they are free, nobody is before it, and the key has a place or can have one.
    pub fn try_acquire(&self, proof: D::Proof<'_>, key: K, n: u64) -> Result<(), AcquireError> {
        let (wakes, result) = self.visit(proof, |keys, wakes| {
            keys.check(n)?;
            if !keys.entries.get(&key).is_some_and(|entry| entry.has_place) && !keys.has_room() {
                return Err(AcquireError::Busy);
            }
            let result = keys.entry(key, wakes).state.try_acquire(n);
            keys.acquired += u64::from(result.is_ok());
            result
        });
        debug_assert!(wakes.is_empty(), "nobody waited for the place that it got");
        result
    }

    /// Takes `n` permits of this key, or takes (or keeps) a place in its line: after `Busy` the spot is held, and `waker` will be woken.
    pub fn acquire_or_wait(
        &self,
        proof: D::Proof<'_>,
        key: K,
        n: u64,
        spot: &mut KeyedSpot,
        waker: &W,
    ) -> (Wakes<W>, Result<(), AcquireError>) {
        self.visit(proof, |keys, wakes| {
            keys.check(n)?;
            let entry = keys.entry(key, wakes);
            if entry.number != spot.entry {
                *spot = KeyedSpot { spot: Spot::default(), entry: entry.number };
            }
            let result = entry.state.acquire_or_wait(n, &mut spot.spot, waker, wakes);
            keys.acquired += u64::from(result.is_ok());
            result
        })
    }

    /// Gives `n` permits of this key back.
    pub fn release(&self, proof: D::Proof<'_>, key: K, n: u64) -> (Wakes<W>, Result<(), Overreleased>) {
        self.visit(proof, |keys, wakes| {
            let entry = keys.entries.get_mut(&key).filter(|entry| entry.has_place);
            entry.ok_or(Overreleased { held: 0 })?.state.release(n, wakes)?;
            keys.tidy(key, wakes);
            Ok(())
        })
    }

    /// Stops waiting. A wake-up that had been given goes to the next in line. Safe to call at any time, any number of times.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn leave(&self, proof: D::Proof<'_>, key: K, spot: &mut KeyedSpot) -> Wakes<W> {
        if !spot.is_held() {
            return Wakes::none();
        }
        self.visit(proof, |keys, wakes| {
            if let Some(entry) = keys.entries.get_mut(&key).filter(|entry| entry.number == spot.entry) {
                entry.state.leave(&mut spot.spot, wakes);
                keys.tidy(key, wakes);
            }
            *spot = KeyedSpot::default();
        })
        .0
    }

    /// See [`Monitor::step_aside`](crate::monitor::Monitor::step_aside).
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_aside(&self, proof: D::Proof<'_>, key: K, place: KeyedPlace) -> Wakes<W> {
        self.move_in_line(proof, key, place, |line| line.step_aside(place.ticket))
    }

    /// See [`Monitor::step_back`](crate::monitor::Monitor::step_back).
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_back(&self, proof: D::Proof<'_>, key: K, place: KeyedPlace) -> Wakes<W> {
        self.move_in_line(proof, key, place, |line| line.step_back(place.ticket))
    }

    fn move_in_line(&self, proof: D::Proof<'_>, key: K, place: KeyedPlace, change: impl FnOnce(&mut Line<W>)) -> Wakes<W> {
        self.visit(proof, |keys, wakes| {
            if let Some(entry) = keys.entries.get_mut(&key).filter(|entry| entry.number == place.entry) {
                change(entry.state.lobby_mut().line_mut(()));
                entry.state.settle_all(wakes);
                keys.tidy(key, wakes);
            }
        })
        .0
    }

    pub fn clock(&self, proof: D::Proof<'_>) -> Clock<W> {
        self.section.with(proof, |keys| keys.clock.clone())
    }

    /// Would any operation panic because this thread is inside the section already?
    pub fn is_entered(&self, proof: D::Proof<'_>) -> bool {
        self.section.is_entered(proof)
    }

    /// What has been seen of this key since it was last idle.
    pub fn statistics_of(&self, proof: D::Proof<'_>, key: K) -> Statistics {
        self.section.with(proof, |keys| {
            keys.forget_after_fork();
            let (size, value) = (keys.size, if keys.has_room() { keys.size } else { 0 });
            let Some(entry) = keys.entries.get_mut(&key) else { return Statistics { size, value, ..Statistics::default() } };
            let seen = entry.state.statistics();
            if entry.has_place { seen } else { Statistics { held: 0, value, ..seen } }
        })
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> KeyedStatistics {
        self.section.with(proof, |keys| {
            keys.forget_after_fork();
            let (placed, waiting_keys) = (keys.placed, keys.line.len());
            let (acquired, waited) = (keys.acquired, keys.waited);
            let mut all = KeyedStatistics { keys: placed, waiting_keys, acquired, waited, ..KeyedStatistics::default() };
            for entry in keys.entries.values_mut() {
                let seen = entry.state.statistics();
                all.held += if entry.has_place { seen.held } else { 0 };
                all.waiters += seen.waiters;
                all.waited += seen.waited;
            }
            all
        })
    }

    /// Every waker in every line, each once.
    pub fn visit_wakers(&self, proof: D::Proof<'_>, mut waker: impl FnMut(&W)) {
        self.section.with(proof, |keys| {
            for entry in keys.entries.values() {
                entry.state.lobby().visit_wakers(&mut waker);
            }
        });
    }
}

impl<K, W: Wake, D: Domain> fmt::Debug for Keyed<K, W, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}
