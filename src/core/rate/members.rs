//! The members of a set during a visit (while the sections of all members are held), their bookings, and the forecast of the set.

use std::collections::VecDeque;

use super::schedule::Projection;
use super::state::{State as Member, Turn};
use super::types::{Bookings, Refusal};
use super::units::Units;
use super::wait_queue::NEVER;
use crate::clock::Nanos;
use crate::wait::{Ticket, Wake, Wakes};

/// What a waiter of the set waits for.
#[derive(Debug)]
pub(super) struct Wants {
    pub(super) amounts: Box<[Units]>,
    /// Its position in the wait queue of each member, once it has been booked for the first time.
    pub(super) turns: Option<Box<[Turn]>>,
    /// The moment that a forecast has computed for it.
    pub(super) foreseen: Option<Nanos>,
}

/// The members' schedules as they will be when all waiters in the queue have been granted, kept for the next caller.
#[derive(Debug)]
pub(super) struct Forecast {
    pub(super) members: Vec<Projection>,
    /// The last waiter that the forecast includes, and its moment.
    pub(super) last: Option<Ticket>,
    pub(super) at: Nanos,
    /// The number of waiters that have left since the forecast was computed. If there are any, its moments are upper bounds.
    pub(super) left: usize,
    /// The versions of the members at the time of the forecast.
    pub(super) versions: Vec<u64>,
}

/// Moments that have been found for certain amounts: until something is given back, no request for at least as much of each member is
/// admitted earlier. (With many bookings, each call would otherwise search gaps again that suit one member and not another.)
#[derive(Debug, Default)]
pub(super) struct Bounds {
    found: VecDeque<(Box<[Units]>, Nanos)>,
    /// The `earlier` counters of the members when these moments were found.
    earlier: Vec<u64>,
}

impl Bounds {
    /// The number of moments that are kept.
    const MOST: usize = 16;

    /// The latest moment before which these amounts are known not to be admitted.
    pub(super) fn least<W: Wake>(&mut self, amounts: &[Units], held: &MembersInside<'_, '_, W>) -> Nanos {
        if !held.members.iter().map(|member| member.earlier).eq(self.earlier.iter().copied()) {
            self.found.clear();
            self.earlier = held.members.iter().map(|member| member.earlier).collect();
        }
        let less = self.found.iter().filter(|(known, _)| known.iter().zip(amounts).all(|(known, n)| known <= n));
        less.map(|(_, at)| *at).max().unwrap_or(0)
    }

    pub(super) fn keep(&mut self, amounts: &[Units], at: Nanos) {
        self.found.retain(|(known, earlier)| *earlier > at || known.iter().zip(amounts).any(|(known, n)| known < n));
        if self.found.len() == Self::MOST {
            self.found.pop_front();
        }
        self.found.push_back((amounts.into(), at));
    }
}

/// The members, in the order of the set, while their sections are held, with the other parts of a visit.
pub(super) struct MembersInside<'a, 'm, W: Wake> {
    pub(super) members: &'a mut [&'m mut Member<W>],
    pub(super) now: Nanos,
    pub(super) wakes: &'a mut Wakes<W>,
}

/// The first moment, not before `from`, that suits each member of which something is requested. A member that could admit an amount now may
/// have to admit it later because of bookings; so each member is asked again about the moment that another has named.
pub(super) fn first_of_all<M>(
    members: &mut [M],
    amounts: &[Units],
    from: Nanos,
    ready_at: impl Fn(&mut M, Units, Nanos) -> Result<Nanos, Refusal>,
) -> Result<Nanos, Refusal> {
    let mut at = from;
    loop {
        let mut asked = members.iter_mut().zip(amounts).filter(|(_, n)| **n > 0);
        let next = asked.try_fold(at, |at, (member, &n)| ready_at(member, n, at))?;
        if next == at {
            return Ok(at);
        }
        at = next;
    }
}

impl Forecast {
    /// True if the members have not changed since the forecast.
    pub(super) fn is_valid<W: Wake>(&self, held: &MembersInside<'_, '_, W>) -> bool {
        held.versions().eq(self.versions.iter().copied())
    }

    /// Reserves memory for this many waiters more.
    pub(super) fn try_reserve(&mut self, more: usize) -> Result<(), Refusal> {
        self.members.iter_mut().try_for_each(|member| member.schedule.try_reserve(more))
    }

    /// Adds the next waiter in the queue, which is granted at `at`. Memory has been reserved.
    pub(super) fn take(&mut self, ticket: Ticket, amounts: &[Units], at: Nanos) {
        self.members.iter_mut().zip(amounts).filter(|(_, n)| **n > 0).for_each(|(member, &n)| member.take(n, at));
        (self.last, self.at) = (Some(ticket), at);
    }
}

impl<W: Wake> MembersInside<'_, '_, W> {
    /// The positions of a newcomer in the wait queues of the members.
    pub(super) fn turns(&self) -> Box<[Turn]> {
        self.members.iter().map(|member| member.turn()).collect()
    }

    /// The first moment, not before `from`, at which the amounts can be admitted after the waiters before these positions.
    pub(super) fn foresee(&mut self, amounts: &[Units], turns: &[Turn], from: Nanos) -> Result<Nanos, Refusal> {
        let now = self.now;
        let mut members: Vec<_> = self.members.iter_mut().zip(turns).collect();
        first_of_all(&mut members, amounts, from, |(member, turn), n, from| member.foresee_from(n, from, **turn, now))
    }

    pub(super) fn versions(&self) -> impl Iterator<Item = u64> {
        self.members.iter().map(|member| member.version)
    }

    /// Refuses an amount that is larger than its member can ever admit at once, naming the first such member.
    pub(super) fn never_fits(&self, amounts: &[Units]) -> Result<(), Refusal> {
        match self.members.iter().zip(amounts).position(|(member, &n)| member.never_fits(n)) {
            Some(index) => Err(Refusal::NeverFitsIn(index)),
            None => Ok(()),
        }
    }

    /// Reserves memory in each member; on an error nothing has changed.
    pub(super) fn make_room(&mut self) -> Result<(), Refusal> {
        self.members.iter_mut().try_for_each(|member| member.make_room())
    }

    pub(super) fn may_go(&mut self, amounts: &[Units]) -> bool {
        let now = self.now;
        self.members.iter_mut().zip(amounts).all(|(member, &n)| n == 0 || member.may_go(n, now))
    }

    /// Books the amounts at `at` in each member. With `hold` the bookings belong to a waiter.
    pub(super) fn book(&mut self, amounts: &[Units], at: Nanos, hold: bool) -> Result<Bookings, Refusal> {
        if at == NEVER || self.members.iter().zip(amounts).any(|(member, &n)| !member.can_book(n)) {
            return Err(Refusal::TooFar);
        }
        self.members.iter_mut().try_for_each(|member| member.make_room_to_book())?;
        let now = self.now;
        let booked = self.members.iter_mut().zip(amounts);
        let each = booked.map(|(member, &n)| (n > 0).then(|| member.book_at(n, at, hold, now))).collect();
        Ok(Bookings { at, each })
    }

    pub(super) fn take(&mut self, amounts: &[Units]) {
        let (members, now) = (self.members.iter_mut(), self.now);
        members.zip(amounts).filter(|(_, n)| **n > 0).for_each(|(member, &n)| {
            member.take(n, now);
        });
    }

    /// Takes the amounts, for a caller that later reports the amounts actually used.
    pub(super) fn take_each(&mut self, amounts: &[Units]) -> Bookings {
        let (members, at) = (self.members.iter_mut(), self.now);
        let each = members.zip(amounts).map(|(member, &n)| (n > 0).then(|| member.take(n, at))).collect();
        Bookings { at, each }
    }

    /// True if a member of which something is requested never admits anything.
    pub(super) fn is_closed(&self, amounts: &[Units]) -> bool {
        self.members.iter().zip(amounts).any(|(member, &n)| n > 0 && member.schedule.is_closed())
    }

    /// Called when the waiter has fetched its bookings. Returns them with their takings.
    pub(super) fn release(&mut self, mut bookings: Bookings) -> Bookings {
        for (member, booking) in self.members.iter_mut().zip(&mut bookings.each) {
            *booking = booking.map(|booking| member.release(booking));
        }
        bookings
    }

    /// Takes back bookings that no waiter will fetch.
    pub(super) fn take_back(&mut self, bookings: &Bookings) {
        let each = self.members.iter_mut().zip(&bookings.each);
        each.for_each(|(member, booking)| booking.iter().for_each(|&booking| member.take_back(booking, self.now, self.wakes)));
    }

    pub(super) fn cancel(&mut self, bookings: &Bookings) -> Vec<Units> {
        let each = self.members.iter_mut().zip(&bookings.each);
        each.map(|(member, booking)| booking.map_or(0, |booking| member.cancel(booking, 0, self.now, self.wakes))).collect()
    }
}
