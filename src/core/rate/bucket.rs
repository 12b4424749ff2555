//! `Bucket`: a GCRA, and what is booked apart from it.
//!
//! A booking for the very moment that the schedule gives needs nothing but the schedule: `tat` moves ahead. One for a *later* moment (a
//! set's, which waits for another limiter; one made behind a line, or in a pause) would move `tat` over time that has not passed, and shut
//! the bucket for everybody until then. So those stand apart, in order of their moments, and are taken when these come. Meanwhile others
//! may go before them, as long as each still fits at its moment; which is found out by trying.

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
    apart: Vec<FutureBooking>,
}

impl Bucket {
    pub(super) fn new(gcra: Gcra) -> Self {
        Self { gcra, apart: Vec::new() }
    }

    /// There is nothing to it but the schedule.
    pub(super) fn is_plain(&self) -> bool {
        self.apart.is_empty()
    }

    /// The first booking whose moment has come by `now`.
    pub(super) fn first_due(&self, now: Nanos) -> Option<FutureBooking> {
        self.apart.first().copied().filter(|booking| booking.at <= now)
    }

    /// What `first_due` gave is about to be taken.
    pub(super) fn remove_first(&mut self) {
        self.apart.remove(0);
    }

    pub(super) fn book(&mut self, booking: FutureBooking) {
        let place = self.apart.partition_point(|other| (other.at, other.number) <= (booking.at, booking.number));
        self.apart.insert(place, booking);
    }

    /// Takes a booking away, or leaves so much of it.
    pub(super) fn cut(&mut self, number: u64, keep: Units) {
        if keep == 0 {
            self.apart.retain(|booking| booking.number != number);
        } else if let Some(booking) = self.apart.iter_mut().find(|booking| booking.number == number) {
            booking.n = keep;
        }
    }

    /// The first moment, not before `from`, at which `n` may go with everything that is booked still fitting at its moment.
    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        let mut gcra = self.gcra;
        let mut at = gcra.ready_at(n, from);
        for (index, booking) in self.apart.iter().enumerate() {
            if at < booking.at && Self::all_fit(gcra, n, at, &self.apart[index..]) {
                return at;
            }
            gcra.take(booking.n, booking.at);
            at = gcra.ready_at(n, at.max(booking.at));
        }
        at
    }

    fn all_fit(mut gcra: Gcra, n: Units, at: Nanos, bookings: &[FutureBooking]) -> bool {
        gcra.take(n, at);
        bookings.iter().all(|booking| {
            let fits = gcra.fits(booking.n, booking.at);
            gcra.take(booking.n, booking.at);
            fits
        })
    }

    /// For a projection: takes at a moment to come.
    pub(super) fn take_later(&mut self, n: Units, at: Nanos) {
        let passed = self.apart.partition_point(|booking| booking.at <= at);
        for booking in self.apart.drain(..passed) {
            self.gcra.take(booking.n, booking.at);
        }
        self.gcra.take(n, at);
        self.gcra.rebase(at); // a long line can lead beyond what can be counted from here
    }

    /// What is booked apart, in all.
    pub(super) fn booked(&self) -> Units {
        self.apart.iter().fold(0, |sum, booking| sum.saturating_add(booking.n))
    }
}
