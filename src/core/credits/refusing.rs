//! Refusals that need nothing but a look: of operations that do not wait.

use super::buffer::Bale;
use super::channel::Channel;
use super::types::{Phase, Waiter};
use crate::monitor::MonitorState;
use crate::section::Domain;
use crate::wait::Wake;

impl<T, W: Wake, D: Domain, B: Bale, X> Channel<T, W, D, B, X> {
    /// True if a send of weight one that does not wait would be refused as `Full`, without changing anything. On false it has to be tried.
    pub fn has_no_credit(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            let is_open = state.phase == Phase::Open && state.ledger.bound > 0;
            let is_timed = state.ledger.has_lease() || state.deliveries.as_ref().is_some_and(|all| all.next_due().is_some());
            is_open && !is_timed && !state.may_send(1)
        })
    }

    /// True if a receive that does not wait would be refused as `Empty`, without changing anything. On false it has to be tried.
    pub fn has_nothing_to_receive(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            let is_timed = state.deliveries.as_ref().is_some_and(|deliveries| deliveries.next_due().is_some());
            let has_ended = state.end().is_some() || state.is_left_with_unacked();
            !is_timed
                && !has_ended
                && !state.must_listen()
                && !state.ledger.has_lease()
                && !state.may_take(&mut Waiter::default())
        })
    }
}
