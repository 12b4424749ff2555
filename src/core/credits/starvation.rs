//! Whether the sender of a channel has no credit, and the observers to be woken when it has some again. For the protocol see the head of
//! `deferral`.

use crate::section::{Section, Threads};
use crate::sync::{AtomicU32, Count, Ordering};
use crate::wait::{Wake, Wakes};

/// The number of a channel, which is never reused.
pub(super) type ChannelId = u64;

/// Whether a channel's sender has no credit, and the observers of that. Shared by the channel and the channels that defer to it.
#[derive(Debug)]
pub(super) struct Starvation<W> {
    channel: ChannelId,
    /// Relaxed: sections order what matters, see the head of `deferral`.
    starved: AtomicU32,
    /// At most one observer for each channel.
    observers: Section<Vec<(ChannelId, W)>, Threads>,
}

impl<W: Wake> Starvation<W> {
    pub(super) fn new() -> Self {
        static NEXT: Count = Count::new(0);
        Self {
            channel: NEXT.fetch_add(1, Ordering::Relaxed), // only the number matters, not the order between threads
            starved: AtomicU32::new(0),
            observers: Section::new(Vec::new()),
        }
    }

    pub(super) fn channel(&self) -> ChannelId {
        self.channel
    }

    pub(super) fn is_on(&self) -> bool {
        self.starved.load(Ordering::Relaxed) != 0
    }

    /// Adds an observer. Returns the previous observer for this channel, to be dropped outside every section.
    pub(super) fn add_observer(&self, upstream: ChannelId, observer: W) -> Option<W> {
        self.observers.with((), |observers| {
            if let Some((_, before)) = observers.iter_mut().find(|(channel, _)| *channel == upstream) {
                return Some(std::mem::replace(before, observer));
            }
            observers.push((upstream, observer));
            None
        })
    }

    pub(super) fn remove_observer(&self, upstream: ChannelId) -> Option<W> {
        self.observers.with((), |observers| {
            let index = observers.iter().position(|(channel, _)| *channel == upstream)?;
            Some(observers.swap_remove(index).1)
        })
    }

    /// Sets whether the sender is starved; wakes the observers if it is not. Returns whether there are any.
    pub(super) fn set(&self, starved: bool, wakes: &mut Wakes<W>) -> bool {
        self.observers.with((), |observers| {
            let was = self.is_on();
            self.starved.store(u32::from(starved), Ordering::Relaxed);
            if was && !starved {
                for (_, observer) in observers.iter() {
                    wakes.push(observer.share());
                }
            }
            !observers.is_empty()
        })
    }

    pub(super) fn visit_observers(&self, mut visit: impl FnMut(&W)) {
        self.observers.with((), |observers| observers.iter().for_each(|(_, observer)| visit(observer)));
    }

    /// Called when the channel is dropped or emptied: it counts as not starved. Returns the observers, to be dropped outside every section.
    pub(super) fn end(&self) -> Vec<(ChannelId, W)> {
        self.starved.store(0, Ordering::Relaxed);
        self.observers.with((), std::mem::take)
    }
}
