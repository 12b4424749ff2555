//! The members of a set while the sections of all of them are held, what is booked in them, and their forecast.

use super::schedule::Projection;
use super::state::{State as Member, Turn};
use super::types::{Booking, Refusal};
use super::units::Units;
use super::wait_queue::NEVER;
use crate::clock::Nanos;
use crate::wait::{Ticket, Wake, Wakes};

/// A promise by all members: everything may go at `at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookings {
    pub at: Nanos,
    /// None where nothing was asked for.
    pub(super) each: Vec<Option<Booking>>,
}

impl Bookings {
    /// What was booked, in the members' order.
    pub fn amounts(&self) -> impl Iterator<Item = Units> {
        self.each.iter().map(|booking| booking.map_or(0, |booking| booking.units))
    }
}

/// What somebody in line waits for.
#[derive(Debug)]
pub(super) struct Wants {
    pub(super) amounts: Box<[Units]>,
    /// Its turn in each member, since it has first been booked.
    pub(super) turns: Option<Box<[Turn]>>,
    /// The moment that a forecast has given it.
    pub(super) foreseen: Option<Nanos>,
}

/// The members' schedules as they will be when everybody in the queue has been granted, kept for the next who asks.
#[derive(Debug)]
pub(super) struct Forecast {
    pub(super) members: Vec<Projection>,
    /// The last waiter that it counts, and its moment.
    pub(super) last: Option<Ticket>,
    pub(super) at: Nanos,
    /// How many have left since it was made: with any of them it says when at the latest.
    pub(super) left: usize,
    /// Of the members, when they were as it says.
    pub(super) versions: Vec<u64>,
}

/// The members, in the order of the set, while the sections of all of them are held, and who else takes part in a visit.
pub(super) struct Held<'a, 'm, W: Wake> {
    pub(super) members: &'a mut [&'m mut Member<W>],
    pub(super) now: Nanos,
    pub(super) wakes: &'a mut Wakes<W>,
}

/// The first moment, not before `from`, that suits each member from which something is asked. One that could go now may have to wait later,
/// for what is booked by then: so each is asked again about what another came to.
pub(super) fn first_of_all<M>(
    members: &mut [M],
    amounts: &[Units],
    from: Nanos,
    ready_at: impl Fn(&mut M, Units, Nanos) -> Nanos,
) -> Nanos {
    let mut at = from;
    loop {
        let asked = members.iter_mut().zip(amounts).filter(|(_, n)| **n > 0);
        let next = asked.fold(at, |at, (member, &n)| ready_at(member, n, at));
        if next == at {
            return at;
        }
        at = next;
    }
}

impl Forecast {
    /// The members are still as it says.
    pub(super) fn is_valid<W: Wake>(&self, held: &Held<'_, '_, W>) -> bool {
        held.versions().eq(self.versions.iter().copied())
    }

    /// The next in the queue goes at `at`.
    pub(super) fn take(&mut self, ticket: Ticket, amounts: &[Units], at: Nanos) {
        self.members.iter_mut().zip(amounts).filter(|(_, n)| **n > 0).for_each(|(member, &n)| member.take(n, at));
        (self.last, self.at) = (Some(ticket), at);
    }
}

impl<W: Wake> Held<'_, '_, W> {
    /// The turns of somebody who comes to the members now.
    pub(super) fn turns(&self) -> Box<[Turn]> {
        self.members.iter().map(|member| member.turn()).collect()
    }

    /// When all of it could go, not before `from`, after those who come before these turns.
    pub(super) fn foresee(&mut self, amounts: &[Units], turns: &[Turn], from: Nanos) -> Nanos {
        let now = self.now;
        let mut members: Vec<_> = self.members.iter_mut().zip(turns).collect();
        first_of_all(&mut members, amounts, from, |(member, turn), n, from| member.foresee_from(n, from, **turn, now))
    }

    pub(super) fn versions(&self) -> impl Iterator<Item = u64> {
        self.members.iter().map(|member| member.version)
    }

    /// The first member of which more is asked than may ever go at once.
    pub(super) fn never_fits(&self, amounts: &[Units]) -> Result<(), Refusal> {
        match self.members.iter().zip(amounts).position(|(member, &n)| member.never_fits(n)) {
            Some(index) => Err(Refusal::NeverFitsIn(index)),
            None => Ok(()),
        }
    }

    pub(super) fn may_go(&mut self, amounts: &[Units]) -> bool {
        let now = self.now;
        self.members.iter_mut().zip(amounts).all(|(member, &n)| n == 0 || member.may_go(n, now))
    }

    /// With `hold` it is for somebody in line.
    pub(super) fn book(&mut self, amounts: &[Units], at: Nanos, hold: bool) -> Result<Bookings, Refusal> {
        if at == NEVER || self.members.iter().zip(amounts).any(|(member, &n)| !member.can_book(n)) {
            return Err(Refusal::TooFar);
        }
        let now = self.now;
        let booked = self.members.iter_mut().zip(amounts);
        let each = booked.map(|(member, &n)| (n > 0).then(|| member.book_at(n, at, hold, now))).collect();
        Ok(Bookings { at, each })
    }

    /// They have been fetched.
    pub(super) fn release(&mut self, bookings: &Bookings) {
        let each = self.members.iter_mut().zip(&bookings.each);
        each.for_each(|(member, booking)| booking.iter().for_each(|&booking| member.release(booking)));
    }

    /// Nobody will fetch them.
    pub(super) fn take_back(&mut self, bookings: &Bookings) {
        let each = self.members.iter_mut().zip(&bookings.each);
        each.for_each(|(member, booking)| booking.iter().for_each(|&booking| member.take_back(booking, self.now, self.wakes)));
    }

    pub(super) fn cancel(&mut self, bookings: &Bookings) -> Vec<Units> {
        let each = self.members.iter_mut().zip(&bookings.each);
        each.map(|(member, booking)| booking.map_or(0, |booking| member.cancel(booking, 0, self.now, self.wakes))).collect()
    }
}
