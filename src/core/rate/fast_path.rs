//! `FastPath`: the atomic word by which most calls are served without entering the section.
//!
//! # The protocol
//! While no request waits, the word *is* the bucket's state: its `tat` (see `gcra`). A caller that moves `tat` ahead has been admitted. For
//! any other operation the section closes the fast path, which takes the state out of the word, and opens it again at the end if no request
//! waits then.
//!
//! | word      | a caller                                                          | the section                                  |
//! |-----------|-------------------------------------------------------------------|----------------------------------------------|
//! | open(tat) | fits: compare-and-swap to open(tat + n): admitted; lost: try again | enters: swaps in CLOSED, and has the tat     |
//! |           | does not fit: looks whether the word is still the same: refused,  |                                              |
//! |           | and may then read the word once more to tell when it will fit     |                                              |
//! | CLOSED    | goes to the section                                               | leaves: stores open(tat), or leaves it closed |
//!
//! Arrivals cannot overtake waiters: the fast path is closed while the wait queue is not empty, and only the section opens it.
//!
//! The other values that a caller reads (rate, burst, origin of positions) change only while the fast path is closed, and each change is
//! followed by a `tat` from a range that was never used before (`Gcra::rebase`). So if the word has not changed, the values read in between
//! belong to it, and a mixture of old and new values is never used. This is a sequence lock whose sequence number is the state itself.
//!
//! If the caller's proof excludes all other threads (see `section`), the swap is a plain store.

use super::gcra::{Gcra, RateState, Rule};
use super::units::{Rate, Units};
use crate::clock::Nanos;
use crate::sync::{AtomicU64, Ordering, fence};

const CLOSED: u64 = 0;

/// The result of an attempt on the fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Admitted,
    Refused,
    /// The fast path is closed: enter the section.
    Closed,
}

#[derive(Debug)]
pub(super) struct FastPath {
    /// Release when stored open, acquire when read: a thread that sees an open word sees the `rate_state` that belongs to it.
    word: AtomicU64,
    rule: Rule,
    /// The fields of the rate state, from here on. Relaxed: they change only while the word is closed, and a caller uses them only if the
    /// word, read again after a fence, is the same.
    multiplier: AtomicU64,
    shift: AtomicU64,
    grain: AtomicU64,
    horizon: AtomicU64,
    burst: AtomicU64,
    anchor: AtomicU64,
    base: AtomicU64,
    /// See `gcra`. Stored by the caller that has taken from a full bucket, after it has moved the word. So a reader may see an old value,
    /// which makes the bucket seem one unit short for the rest of that unit of time, but never a value that is too new. Relaxed for that
    /// reason.
    busy_from: AtomicU64,
}

fn open(tat: u64) -> u64 {
    tat << 1 | 1
}

impl FastPath {
    /// Makes a closed fast path.
    pub(super) fn new(rate_state: RateState) -> Self {
        Self {
            word: AtomicU64::new(CLOSED),
            rule: rate_state.rule,
            multiplier: AtomicU64::new(rate_state.rate.multiplier),
            shift: AtomicU64::new(rate_state.rate.shift.into()),
            grain: AtomicU64::new(rate_state.rate.grain),
            horizon: AtomicU64::new(rate_state.rate.horizon),
            burst: AtomicU64::new(rate_state.burst),
            anchor: AtomicU64::new(rate_state.anchor),
            base: AtomicU64::new(rate_state.base),
            busy_from: AtomicU64::new(0),
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a shift was put in")]
    fn rate_state(&self) -> RateState {
        RateState {
            rule: self.rule,
            rate: Rate {
                multiplier: self.multiplier.load(Ordering::Relaxed),
                shift: self.shift.load(Ordering::Relaxed) as u32 & 127,
                grain: self.grain.load(Ordering::Relaxed),
                horizon: self.horizon.load(Ordering::Relaxed),
            },
            burst: self.burst.load(Ordering::Relaxed),
            anchor: self.anchor.load(Ordering::Relaxed),
            base: self.base.load(Ordering::Relaxed),
        }
    }

    /// Tries to take `n` units at `now`. `alone`: no other thread can be using the limiter.
    #[inline]
    pub(super) fn pass(&self, n: Units, now: Nanos, alone: bool) -> Passage {
        loop {
            if let Some(passage) = self.try_pass(n, now, alone) {
                return passage;
            }
        }
    }

    /// One attempt. `None`: another thread has changed the word.
    #[inline]
    fn try_pass(&self, n: Units, now: Nanos, alone: bool) -> Option<Passage> {
        let word = self.word.load(Ordering::Acquire);
        if word == CLOSED {
            return Some(Passage::Closed);
        }
        let rate_state = self.rate_state();
        let (tat, floor) = (word >> 1, rate_state.floor(now));
        if n > rate_state.burst && rate_state.rule == Rule::Burst || !rate_state.reaches(now, floor) {
            return Some(Passage::Closed);
        }
        // If the word, read after this fence, is the same, then the values read above belong to it.
        fence(Ordering::Acquire);
        if !rate_state.fits(tat, n, floor) {
            let refused = if self.busy_from.load(Ordering::Relaxed) > floor { Passage::Closed } else { Passage::Refused };
            return (self.word.load(Ordering::Relaxed) == word).then_some(refused);
        }
        // Positions are whole, so `tat > floor` implies `tat >= ceil`. Otherwise the bucket is full, and the start is rounded up.
        let start = if tat > floor { tat } else { rate_state.ceil(now) };
        let ahead = open(start + n);
        if alone {
            self.word.store(ahead, Ordering::Release);
        } else if self.word.compare_exchange_weak(word, ahead, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return None;
        }
        if tat <= floor {
            self.busy_from.store(start, Ordering::Relaxed);
        }
        Some(Passage::Admitted)
    }

    /// The time until `n` can be admitted, for a caller that has just been refused. `None`: enter the section.
    pub(super) fn tell(&self, n: Units, now: Nanos) -> Option<Nanos> {
        self.look(n, now).filter(|&after| after > 0)
    }

    /// The time until `n` can be admitted, 0 if it can be now. `None`: enter the section.
    pub(super) fn look(&self, n: Units, now: Nanos) -> Option<Nanos> {
        let word = self.word.load(Ordering::Acquire);
        if word == CLOSED {
            return None;
        }
        let rate_state = self.rate_state();
        let busy_from = self.busy_from.load(Ordering::Relaxed);
        // If the word, read after this fence, is the same, then the values read above belong to it.
        fence(Ordering::Acquire);
        if self.word.load(Ordering::Relaxed) != word {
            return None;
        }
        if n > rate_state.burst && rate_state.rule == Rule::Burst || !rate_state.reaches(now, rate_state.floor(now)) {
            return None;
        }
        let at = Gcra::resume(rate_state, word >> 1, busy_from).ready_at(n, now);
        Some(at.saturating_sub(now))
    }

    /// Takes the state out of the word: `tat` and `busy_from`. `None` if it was closed. Called inside the section only.
    #[inline]
    pub(super) fn close(&self) -> Option<(u64, u64)> {
        let word = self.word.swap(CLOSED, Ordering::AcqRel);
        // A thread that still sees the open word sees no value that is stored from here on.
        fence(Ordering::Release);
        (word != CLOSED).then(|| (word >> 1, self.busy_from.load(Ordering::Relaxed)))
    }

    /// Puts the state back into the word. Called inside the section only, while the fast path is closed.
    #[inline]
    pub(super) fn open(&self, gcra: &Gcra) {
        let RateState { rule: _, rate, burst, anchor, base } = gcra.rate_state;
        self.multiplier.store(rate.multiplier, Ordering::Relaxed);
        self.shift.store(rate.shift.into(), Ordering::Relaxed);
        self.grain.store(rate.grain, Ordering::Relaxed);
        self.horizon.store(rate.horizon, Ordering::Relaxed);
        self.burst.store(burst, Ordering::Relaxed);
        self.anchor.store(anchor, Ordering::Relaxed);
        self.base.store(base, Ordering::Relaxed);
        self.busy_from.store(gcra.busy_from, Ordering::Relaxed);
        self.word.store(open(gcra.tat), Ordering::Release);
    }
}
