//! Whether the sender of a channel is without credit, and who is told when that ends. The protocol is at the head of `deferral`.

use crate::section::{Section, Threads};
use crate::sync::{AtomicU32, Count, Ordering};
use crate::wait::{Wake, Wakes};

/// The number of a channel, which is never given again.
pub(super) type ChannelId = u64;

/// Is a channel's sender without credit, and who is told when that ends? Shared by that channel and those that defer to it.
#[derive(Debug)]
pub(super) struct Starvation<W> {
    channel: ChannelId,
    /// Relaxed: sections order what matters, see the head of `deferral`.
    starved: AtomicU32,
    /// By channel, each once.
    observers: Section<Vec<(ChannelId, W)>, Threads>,
}

impl<W: Wake> Starvation<W> {
    pub(super) fn new() -> Self {
        static NEXT: Count = Count::new(0);
        Self {
            channel: NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed), // a number, and no order between threads
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

    /// The observer that was there for this channel before comes back, to be dropped outside every section.
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

    /// The word changes; observers are told when it becomes false. Returns whether there are any.
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

    /// The channel is gone, or its contents are: it holds nobody. The observers are dropped outside every section.
    pub(super) fn end(&self) -> Vec<(ChannelId, W)> {
        self.starved.store(0, Ordering::Relaxed);
        self.observers.with((), std::mem::take)
    }
}
