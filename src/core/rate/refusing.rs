//! Immediate refusals: by a limiter that admits nothing now, and of a wait that is known to be too long.
//!
//! # Algorithm
//! While no request waits and nothing is booked, the fast path's word determines when an amount can be admitted, without a visit to the
//! section. Otherwise the section decides, as for an arrival: by an upper bound that is cheap to compute, and by the exact moment only if
//! the bound is too late.
//!
//! A set asks its members one after the other. While no request waits in the set or its members and nothing is booked, each member can
//! compute its first moment independently, and the set's moment is the latest of them: an amount that a member can admit at a moment can
//! also be admitted at any later one.
//!
//! # What it does not do
//! It queues no request. A caller that may wait goes on to [`Limiter::acquire_or_wait`].

use super::fast_path::Passage;
use super::limiter::Limiter;
use super::types::{Need, Refusal};
use super::units::Units;
use super::wait_queue::NEVER;
use crate::clock::Nanos;
use crate::section::{Domain, Gate as _};
use crate::wait::{Wake, Wakes};

impl<W: Wake, D: Domain> Limiter<W, D> {
    /// Takes `n` if it can be admitted now and no request is waiting; otherwise returns the time until it could be (see
    /// [`Limiter::retry_after_at_most`]). This takes one visit to the section or none.
    pub fn try_or_tell(&self, proof: D::Proof<'_>, n: Units) -> (Wakes<W>, Result<Option<Nanos>, Refusal>) {
        if let Some(fast_path) = &self.fast_path {
            let now = self.clock.now();
            match fast_path.pass(n, now, !D::Gate::IS_A_LOCK) {
                Passage::Admitted => {
                    Self::count(&self.admitted);
                    return (Wakes::none(), Ok(None));
                }
                Passage::Refused => {
                    if let Some(after) = fast_path.tell(n, now) {
                        Self::count(&self.refused);
                        return (Wakes::none(), Ok(Some(after)));
                    }
                }
                Passage::Closed => {}
            }
        }
        self.visited(proof, |state, now, _| {
            if state.never_fits(n) {
                return Err(Refusal::NeverFits);
            }
            state.make_room()?;
            if state.try_now(n, now).is_some() {
                state.admitted += 1;
                return Ok(None);
            }
            let at = state.foresee(n, Need::AtTheLatest, now)?;
            state.refused += 1;
            Ok(Some(if at == NEVER { NEVER } else { at - now }))
        })
    }

    /// Refuses `n` if it cannot be admitted within `limit`, as [`Limiter::acquire_or_wait`] would, and returns the time until it could be.
    /// `None`: it can be admitted, or there is another reason not to refuse it here; nothing has happened.
    pub fn refuse_beyond(&self, proof: D::Proof<'_>, n: Units, limit: Nanos) -> (Wakes<W>, Option<Nanos>) {
        if let Some(after) = self.fast_path.as_ref().and_then(|fast_path| fast_path.tell(n, self.clock.now())) {
            let refused = after > limit;
            if refused {
                Self::count(&self.refused);
            }
            return (Wakes::none(), refused.then_some(after));
        }
        self.visited(proof, |state, now, _| {
            let deadline = now.saturating_add(limit);
            if state.schedule.is_closed() {
                state.refused += 1;
                return Some(NEVER);
            }
            if state.never_fits(n) || !matches!(state.wait_queue_is_full(now), Ok(None)) {
                return None;
            }
            let latest = state.foresee(n, Need::AtTheLatest, now).ok()?;
            if latest <= deadline {
                return None;
            }
            let at = if state.queue.none_waiting() { latest } else { state.foresee(n, Need::Exact, now).ok()? };
            (at > deadline).then(|| {
                state.refused += 1;
                if at == NEVER { NEVER } else { at - now }
            })
        })
    }

    /// The time until `n` can be admitted, 0 if it can be at `now`, which is the present. `None` if the answer depends on waiters or bookings.
    pub(super) fn tell_unbooked(&self, proof: D::Proof<'_>, n: Units, now: Nanos, wakes: &mut Wakes<W>) -> Option<Nanos> {
        if let Some(after) = self.fast_path.as_ref().and_then(|fast_path| fast_path.look(n, now)) {
            return Some(after);
        }
        let (fired, after) = self.visited(proof, |state, now, _| {
            if state.never_fits(n) || state.schedule.is_closed() || !state.is_unbooked(now) {
                return None;
            }
            state.foresee(n, Need::Exact, now).ok().filter(|&at| at != NEVER).map(|at| at - now)
        });
        wakes.append(fired);
        after
    }
}
