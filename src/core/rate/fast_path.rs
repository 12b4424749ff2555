//! `FastPath`: the atomic word through which most calls pass without entering the section.
//!
//! # The protocol
//! While nobody waits, the word *is* the bucket's state: its `tat` (see `gcra`), and whoever moves it ahead has been admitted. For anything
//! else the section closes the fast path, which takes the state out of the word, and opens it again at the end, if nobody waits by then.
//!
//! | word      | a caller                                                          | the section                                  |
//! |-----------|-------------------------------------------------------------------|----------------------------------------------|
//! | open(tat) | fits: compare-and-swap to open(tat + n): admitted; lost: try again | enters: swaps in CLOSED, and has the tat     |
//! |           | does not fit: looks whether the word is still the same: refused   |                                              |
//! | CLOSED    | goes to the section                                               | leaves: stores open(tat), or leaves it closed |
//!
//! Arrivals cannot overtake the line: while it is not empty the fast path is closed, and only the section opens it, when it is.
//!
//! What a caller reads beside the word (rate, burst, the origin of positions) changes only while the fast path is closed, and each change is
//! followed by a `tat` from a range never used before (`Gcra::rebase`). So if the word is still the one that was read, everything read
//! meanwhile belongs to it; no torn mixture is ever acted upon. This is a sequence lock whose sequence number is the state itself.
//!
//! Where the proof that a caller shows keeps every other thread out (see `section`), the swap is a plain store.

use super::gcra::{Gcra, RateState, Rule};
use super::units::{Rate, Units};
use crate::clock::Nanos;
use crate::sync::{AtomicU64, Ordering, fence};

const CLOSED: u64 = 0;

/// Whon the fast path can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Admitted,
    Refused,
    /// Ask the section.
    Closed,
}

#[derive(Debug)]
pub(super) struct FastPath {
    /// Release where it is stored open, acquire where it is read: whoever sees an open word sees the rate_state that belongs to it.
    word: AtomicU64,
    rule: Rule,
    /// The rate_state, from here on. Relaxed: changed only while the word is closed, and what was read counts only if the word, read again after
    /// a fence, is the same.
    multiplier: AtomicU64,
    shift: AtomicU64,
    grain: AtomicU64,
    horizon: AtomicU64,
    burst: AtomicU64,
    anchor: AtomicU64,
    base: AtomicU64,
    /// See `gcra`. Stored by whoever has moved the word from a full bucket, after that; so it can be too old, and a bucket then counts as
    /// short of one unit for the rest of that unit, but never too new. Relaxed for that reason.
    busy_from: AtomicU64,
}

fn open(tat: u64) -> u64 {
    tat << 1 | 1
}

impl FastPath {
    /// Closed.
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

    /// Tries to pass with `n` units at `now`. `alone`: no other thread can be doing anything here.
    #[inline]
    pub(super) fn pass(&self, n: Units, now: Nanos, alone: bool) -> Passage {
        loop {
            if let Some(passage) = self.try_pass(n, now, alone) {
                return passage;
            }
        }
    }

    /// `None`: somebody else was faster.
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
        // What was read belongs to the word if the word is still there: after this fence.
        fence(Ordering::Acquire);
        if !rate_state.fits(tat, n, floor) {
            let refused = if self.busy_from.load(Ordering::Relaxed) > floor { Passage::Closed } else { Passage::Refused };
            return (self.word.load(Ordering::Relaxed) == word).then_some(refused);
        }
        // From a full bucket: one more than `floor` is `ceil` at least.
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

    /// Takes the state out: `tat` and `busy_from`. `None` if it was closed. Only ever called inside the section.
    #[inline]
    pub(super) fn close(&self) -> Option<(u64, u64)> {
        let word = self.word.swap(CLOSED, Ordering::AcqRel);
        // What is stored from here on is not seen by anybody who still sees the open word.
        fence(Ordering::Release);
        (word != CLOSED).then(|| (word >> 1, self.busy_from.load(Ordering::Relaxed)))
    }

    /// Puts the state back in. Only ever called inside the section, with the fast path closed.
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
