//! Requests that arrive at a set: admitted at once, given a future moment, or refused. (The state is in `set`.)

use super::members::{Forecast, MembersInside, first_of_all};
use super::schedule::Projection;
use super::set::State;
use super::types::{Bookings, Need, Refusal};
use super::units::Units;
use super::wait_queue::NEVER;
use crate::clock::Nanos;
use crate::wait::{Ticket, Wake};

impl<W: Wake> State<W> {
    /// True if the request can be admitted now. It is counted as admitted, so the caller must take the amounts.
    pub(super) fn goes_now(&mut self, amounts: &[Units], held: &mut MembersInside<'_, '_, W>) -> bool {
        let goes = self.queue.none_waiting() && held.may_go(amounts);
        self.admitted += u64::from(goes);
        goes
    }

    pub(super) fn try_now(&mut self, amounts: &[Units], held: &mut MembersInside<'_, '_, W>) -> Option<Bookings> {
        self.goes_now(amounts, held).then(|| held.take_each(amounts))
    }

    /// Takes all amounts, or refuses them and says when they can be admitted. `None`: the request may join the wait queue.
    pub(super) fn arrive(
        &mut self,
        amounts: &[Units],
        deadline: Option<Nanos>,
        held: &mut MembersInside<'_, '_, W>,
    ) -> Result<Option<Bookings>, Refusal> {
        held.never_fits(amounts)?;
        held.make_room()?;
        if let Some(bookings) = self.try_now(amounts, held) {
            return Ok(Some(bookings));
        }
        let at = if held.is_closed(amounts) {
            NEVER
        } else {
            let Some(deadline) = deadline else { return Ok(None) };
            if self.foresee(amounts, Need::AtTheLatest, held)? <= deadline {
                return Ok(None);
            }
            match self.foresee(amounts, Need::Exact, held)? {
                at if at <= deadline => return Ok(None),
                at => at,
            }
        };
        self.refused += 1;
        Err(Refusal::Until(at))
    }

    /// The first moment at which the amounts could be booked, after all waiters.
    pub(super) fn foresee_booking(&mut self, amounts: &[Units], held: &mut MembersInside<'_, '_, W>) -> Result<Nanos, Refusal> {
        if !self.queue.none_waiting() {
            return self.foresee(amounts, Need::Exact, held);
        }
        let from = held.now.max(self.not_before).max(self.bounds.least(amounts, held));
        let turns = held.turns();
        let at = held.foresee(amounts, &turns, from)?;
        self.bounds.keep(amounts, at);
        Ok(at)
    }

    /// The first moment at which the amounts could be admitted, after all waiters.
    pub(super) fn foresee(
        &mut self,
        amounts: &[Units],
        need: Need,
        held: &mut MembersInside<'_, '_, W>,
    ) -> Result<Nanos, Refusal> {
        let from = held.now.max(self.not_before);
        let from = self.booked.back().map_or(from, |(_, last)| from.max(last.at));
        if self.unbooked().next().is_none() {
            let turns = held.turns();
            return held.foresee(amounts, &turns, from);
        }
        let waiting = self.queue.waiting_len();
        let mut forecast = self.forecast.take().filter(|forecast| {
            let outdated = forecast.left > 0 && (need == Need::Exact || forecast.left * 2 > waiting);
            !outdated && forecast.is_valid(held)
        });
        let mut forecast = if let Some(forecast) = forecast.take() {
            forecast
        } else {
            let members = held.members.iter().map(|member| member.project(member.turn(), held.now));
            let members = members.collect::<Result<_, _>>()?;
            let last = self.booked.back().map(|(ticket, _)| *ticket);
            Box::new(Forecast { members, last, at: from, left: 0, versions: held.versions().collect() })
        };
        forecast.try_reserve(waiting)?;
        let ready_at = |members: &mut [Projection], amounts: &[Units], from: Nanos| {
            first_of_all(members, amounts, from, |member, n, from| Ok(member.ready_at(n, from)))
        };
        forecast.at = forecast.at.max(from);
        for (ticket, _) in self.queue.waiting_after(forecast.last) {
            let wants = self.wants.get_mut(&ticket).expect("it is in the queue");
            let at = ready_at(&mut forecast.members, &wants.amounts, forecast.at)?;
            forecast.take(ticket, &wants.amounts, at);
            wants.foreseen = Some(at);
        }
        let at = ready_at(&mut forecast.members, amounts, forecast.at)?;
        self.forecast = Some(forecast);
        Ok(at)
    }

    /// See [`LimitSet::last_to_admit`](super::LimitSet::last_to_admit).
    pub(super) fn last_to_admit(&mut self, amounts: &[Units], held: &mut MembersInside<'_, '_, W>) -> Option<usize> {
        self.foresee(amounts, Need::AtTheLatest, held).ok()?; // so that the forecast is up to date
        let forecast = self.forecast.as_ref().filter(|_| self.unbooked().next().is_some());
        let from = forecast.map_or_else(|| self.booked.back().map_or(held.now, |(_, last)| last.at), |forecast| forecast.at);
        let (turns, now) = (held.turns(), held.now);
        let mut last = (from, None);
        for (index, &n) in amounts.iter().enumerate().filter(|(_, n)| **n > 0) {
            let at = match forecast {
                Some(forecast) => forecast.members[index].ready_at(n, from),
                None => held.members[index].foresee_from(n, from, turns[index], now).ok()?,
            };
            if at > last.0 {
                last = (at, Some(index));
            }
        }
        last.1
    }

    pub(super) fn remove(&mut self, ticket: Ticket, held: &mut MembersInside<'_, '_, W>) {
        self.wants.remove(&ticket);
        self.queue.leave(ticket, held.now, held.wakes);
    }
}
