//! Deferred grants: a channel (upstream) that holds its grants while the sender of another channel (downstream) has no credit.
//!
//! # Protocol
//! All deferrals of the process are in one table, behind one lock. [`Channel::defer_to`] holds that lock from its check for a cycle until
//! both channels have been changed: of two calls that would close a cycle together, the second one finds the first and is refused.
//! Locks are taken in this order: the table, the section of a channel (one at a time), the observers of a [`Starvation`].
//!
//! | upstream       | event                                       | next          | also                                                 |
//! |----------------|---------------------------------------------|---------------|------------------------------------------------------|
//! | not deferring  | `defer_to(downstream)`, no cycle            | deferring     | is an observer of the downstream channel             |
//! | not deferring  | `defer_to(downstream)`, a cycle             | not deferring | nothing has changed                                  |
//! | deferring      | `defer_to(another)`                         | deferring     | grants what the other one lets it; observes that one |
//! | deferring      | `defer_to(None)`, `cancel`, dropped         | not deferring | grants what it owes                                  |
//! | deferring      | the downstream sender gets credit, or ends  | deferring     | is told, and grants what it owes                     |
//!
//! # Why no release is lost
//! Whether the downstream sender is starved is one word, written in the downstream channel's section. When it becomes zero the observers are
//! told after that section, and enter their own. A grant that was held back because the word was read as one was held inside that
//! section: either before the observer enters it, which then grants what is owed, or after, and then the word was read as zero.
//!
//! # What it does not do
//! It keeps no channel alive: a downstream channel that is dropped counts as never starved.

use std::collections::BTreeMap;
use std::fmt;

use super::buffer::Bale;
use super::channel::Channel;
use super::starvation::{ChannelId, Starvation};
use super::state::State;
use super::types::Phase;
use crate::lazy::process_wide;
use crate::section::{Domain, Section, Threads};
use crate::sync::Arc;
use crate::wait::{Wake, Wakes};

process_wide! {
    /// Which channel defers to which.
    static DEFERRALS: Section<Deferrals, Threads> = Section::new(Deferrals::default());
}

/// Upstream channel to downstream channel. Each defers to one other at most, and following the table never leads back.
#[derive(Debug, Default)]
struct Deferrals(BTreeMap<ChannelId, ChannelId>);

impl Deferrals {
    /// False, and no change, if that would close a cycle.
    fn insert(&mut self, upstream: ChannelId, downstream: ChannelId) -> bool {
        let mut next = Some(downstream);
        while let Some(channel) = next {
            if channel == upstream {
                return false;
            }
            next = self.0.get(&channel).copied();
        }
        self.0.insert(upstream, downstream);
        true
    }
}

/// Two channels would wait for each other, directly or around several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeferralCycle;

impl fmt::Display for DeferralCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the channels would wait for each other in a cycle")
    }
}

impl std::error::Error for DeferralCycle {}

impl<T, W: Wake, D: Domain, B: Bale, X> Channel<T, W, D, B, X> {
    /// Holds this channel's grants while the sender of another channel is starved, and no longer while that of the one before is;
    /// `None` ends that. The waker is told when this channel may have to grant, see [`Channel::release`]. After the end of this channel
    /// it has no effect.
    ///
    /// # Errors
    /// [`DeferralCycle`] if the other channel defers to this one, itself or by way of others. Then nothing has changed.
    pub fn defer_to(&self, proof: D::Proof<'_>, downstream: Option<(&Self, W)>) -> (Wakes<W>, Result<(), DeferralCycle>) {
        let mut wakes = Wakes::none();
        let result = DEFERRALS.with((), |deferrals| {
            let (upstream, ended) = self.section.with(proof, |state| (state.starvation.channel(), state.end().is_some()));
            let observed = match downstream {
                Some((_, observer)) if ended => {
                    wakes.discard(observer);
                    return Ok(());
                }
                Some((downstream, observer)) => {
                    let channel = downstream.section.with(proof, |state| state.starvation.channel());
                    if !deferrals.insert(upstream, channel) {
                        wakes.discard(observer);
                        return Err(DeferralCycle);
                    }
                    Some(downstream.section.with(proof, |state| state.observed_by(upstream, observer, &mut wakes)))
                }
                None => {
                    deferrals.0.remove(&upstream);
                    None
                }
            };
            let (more, before) = self.visit(proof, |state, wakes| {
                let before = std::mem::replace(&mut state.hold.downstream, observed.clone());
                state.grant_all();
                state.settle(wakes);
                before
            });
            wakes.append(more);
            let before = before.filter(|before| observed.is_none_or(|observed| !Arc::ptr_eq(before, &observed)));
            if let Some(observer) = before.and_then(|before| before.remove_observer(upstream)) {
                wakes.discard(observer);
            }
            Ok(())
        });
        (wakes, result)
    }

    /// What an observer does: grants what has been held, if it may.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn release(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.grant_all();
            state.settle(wakes);
        })
        .0
    }
}

impl<T, W: Wake, B: Bale, X> State<T, W, B, X> {
    fn is_starved(&self) -> bool {
        self.phase == Phase::Open && self.ledger.sendable() == 0
    }

    fn observed_by(&mut self, upstream: ChannelId, observer: W, wakes: &mut Wakes<W>) -> Arc<Starvation<W>> {
        if let Some(before) = self.starvation.add_observer(upstream, observer) {
            wakes.discard(before);
        }
        self.is_observed = self.starvation.set(self.is_starved(), wakes);
        Arc::clone(&self.starvation)
    }

    /// Tells those that defer to this channel what they have to know. Only called while there may be some.
    pub(super) fn tell_observers(&mut self, wakes: &mut Wakes<W>) {
        self.is_observed = self.starvation.set(self.is_starved(), wakes);
    }
}

impl<T, W: Wake, B, X> Drop for State<T, W, B, X> {
    fn drop(&mut self) {
        drop(self.starvation.end());
        if let Some(downstream) = self.hold.downstream.take() {
            let upstream = self.starvation.channel();
            DEFERRALS.with((), |deferrals| deferrals.0.remove(&upstream));
            drop(downstream.remove_observer(upstream));
        }
    }
}
