//! `Bucket`: a GCRA, and what is booked apart from it.
//!
//! A booking for the very moment that the schedule gives needs nothing but the schedule: `tat` moves ahead. One for a *later* moment (a
//! set's, which waits for another limiter; one made behind a line, or in a pause) would move `tat` over time that has not passed, and shut
//! the bucket for everybody until then. So those stand apart, in order of their moments, and are taken when these come. Meanwhile others
//! may go before them, as long as each still fits at its moment; which is found out by trying.

use std::collections::VecDeque;

use super::gcra::Gcra;
use super::units::Units;
use crate::clock::Nanos;

#[derive(Clone, Copy, Debug)]
pub(super) struct FutureBooking {
    pub(super) at: Nanos,
    pub(super) number: u64,
    pub(super) n: Units,
}

#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) gcra: Gcra,
    /// By moment, then by number.
    apart: VecDeque<FutureBooking>,
    /// The sum of their amounts.
    booked: u128,
}

impl Bucket {
    pub(super) fn new(gcra: Gcra) -> Self {
        Self { gcra, apart: VecDeque::new(), booked: 0 }
    }

    /// There is nothing to it but the schedule.
    pub(super) fn is_plain(&self) -> bool {
        self.apart.is_empty()
    }

    /// The first booking whose moment has come by `now`.
    pub(super) fn first_due(&self, now: Nanos) -> Option<FutureBooking> {
        self.apart.front().copied().filter(|booking| booking.at <= now)
    }

    /// What `first_due` gave is about to be taken.
    pub(super) fn remove_first(&mut self) {
        if let Some(booking) = self.apart.pop_front() {
            self.booked -= u128::from(booking.n);
        }
    }

    pub(super) fn book(&mut self, booking: FutureBooking) {
        let place = self.apart.partition_point(|other| (other.at, other.number) <= (booking.at, booking.number));
        self.booked += u128::from(booking.n);
        self.apart.insert(place, booking);
    }

    /// Takes a booking away, or leaves so much of it.
    pub(super) fn cut(&mut self, number: u64, keep: Units) {
        let Some(place) = self.apart.iter().position(|booking| booking.number == number) else { return };
        self.booked -= u128::from(self.apart[place].n - keep);
        if keep == 0 {
            self.apart.remove(place);
        } else {
            self.apart[place].n = keep;
        }
    }

    /// The first moment, not before `from`, at which `n` can be admitted with everything that is booked still fitting at its moment.
    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        let mut gcra = self.gcra;
        let mut at = gcra.ready_at(n, from);
        if self.apart.is_empty() {
            return at;
        }
        let mut spare = self.spare().into_iter();
        for booking in &self.apart {
            // What comes before this booking may move its start by so much, and no more.
            let most = spare.next_back().unwrap_or(0);
            if at < booking.at && gcra.moves_by(n, at) <= most {
                return at;
            }
            gcra.take(booking.n, booking.at);
            at = gcra.ready_at(n, at.max(booking.at));
        }
        at
    }

    /// By how much `tat` can be further ahead before each booking with it and all later ones still fitting: the last booking first.
    fn spare(&self) -> Vec<u64> {
        let mut gcra = self.gcra;
        let each: Vec<_> = self
            .apart
            .iter()
            .map(|booking| {
                #[cfg(all(test, not(loom)))]
                super::costs::step();
                let alone = gcra.spare(booking.n, booking.at);
                let idle = gcra.take(booking.n, booking.at);
                (alone, idle)
            })
            .collect();
        let mut most = u64::MAX;
        each.into_iter()
            .rev()
            .map(|(alone, idle)| {
                // Time in which nothing was owed takes up some of it.
                most = alone.min(most.saturating_add(idle));
                most
            })
            .collect()
    }

    /// For a projection: takes at a moment to come.
    pub(super) fn take_later(&mut self, n: Units, at: Nanos) {
        let passed = self.apart.partition_point(|booking| booking.at <= at);
        for booking in self.apart.drain(..passed) {
            self.booked -= u128::from(booking.n);
            self.gcra.take(booking.n, booking.at);
        }
        self.gcra.take(n, at);
        self.gcra.rebase(at); // a long line can lead beyond what can be counted from here
    }

    /// What is booked apart, in all.
    pub(super) fn booked(&self) -> Units {
        Units::try_from(self.booked).unwrap_or(Units::MAX)
    }
}
