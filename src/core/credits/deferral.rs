//! Deferred grants: a channel (upstream) holds back its grants while the sender of another channel (downstream) has no credit.
//!
//! # Protocol
//! All deferrals of the process are in one table, behind one lock. [`Channel::defer_to`] holds that lock from its check for a cycle until
//! both channels have been changed. So if two calls together would close a cycle, the second one sees the first and is refused.
//! Locks are taken in this order: the table, the section of a channel (one at a time), the observers of a [`Starvation`].
//!
//! | upstream       | event                                       | next          | also                                                 |
//! |----------------|---------------------------------------------|---------------|------------------------------------------------------|
//! | not deferring  | `defer_to(downstream)`, no cycle            | deferring     | becomes an observer of the downstream channel        |
//! | not deferring  | `defer_to(downstream)`, a cycle             | not deferring | nothing has changed                                  |
//! | deferring      | `defer_to(another)`                         | deferring     | observes the other channel; grants unless its sender is starved |
//! | deferring      | `defer_to(None)`, `cancel`, dropped         | not deferring | grants what it owes                                  |
//! | deferring      | the downstream sender gets credit, or ends  | deferring     | is woken as an observer, and grants what it owes     |
//!
//! # Why no grant is held for ever
//! Whether the downstream sender is starved is one word, written in the downstream channel's section. When the word becomes zero, the observers
//! are woken after that section, and each enters the section of its own (upstream) channel. A grant is held back inside the upstream section,
//! after reading the word as one. If this happens before the observer enters the section, the observer then grants what is owed. It cannot
//! happen after that, because the word would be read as zero.
//!
//! # What it does not do
//! It keeps no channel alive: a downstream channel that has been dropped counts as not starved.

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
    /// All deferrals of the process.
    static DEFERRALS: Section<Deferrals, Threads> = Section::new(Deferrals::default());
}

/// Maps upstream channels to downstream channels. Each channel defers to at most one other, and the table contains no cycle.
#[derive(Debug, Default)]
struct Deferrals(BTreeMap<ChannelId, ChannelId>);

impl Deferrals {
    /// Adds a deferral. Returns false, with nothing changed, if it would close a cycle.
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

/// Two channels would wait for each other, directly or through others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeferralCycle;

impl fmt::Display for DeferralCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the channels would wait for each other in a cycle")
    }
}

impl std::error::Error for DeferralCycle {}

impl<T, W: Wake, D: Domain, B: Bale, X> Channel<T, W, D, B, X> {
    /// Holds back this channel's grants while the sender of another channel is starved. This replaces an earlier deferral; `None` ends it.
    /// The waker is woken when this channel may have to grant, see [`Channel::release`]. After the end of this channel it has no effect.
    ///
    /// # Errors
    /// [`DeferralCycle`], with nothing changed, if the other channel defers to this one, directly or through others.
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
                state.wake_eligible(wakes);
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

    /// Called by an observer: grants what has been held back, unless grants are still held.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn release(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.grant_all();
            state.wake_eligible(wakes);
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

    /// Updates whether the sender is starved, and wakes the observers if it is not. Only called while there may be observers.
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
