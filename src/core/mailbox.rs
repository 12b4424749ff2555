//! `Mailbox`: carries messages (wake-ups) from any thread to one event loop, and defines which thread is responsible for them.
//!
//! A poster puts a message into the mailbox and, unless a ticket is pending, *rings*: it schedules a ticket on the loop, a callback that
//! collects all messages. So the loop is interrupted once, however many threads post while it is busy. The user of the mailbox provides
//! the message type and the way to ring a loop; the mailbox provides the order of the steps that ensures that no message is lost.
//!
//! # Which thread is responsible
//! At any time exactly one thread, or the ticket, is responsible for delivering all messages in the mailbox:
//!
//! | mailbox | event                                          | next   | responsible for the messages                              |
//! |--------|------------------------------------------------|--------|-----------------------------------------------------------|
//! | idle   | a poster adds a message, no ticket is pending   | rung   | that poster, until it has rung and then checked the loop  |
//! | rung   | another poster adds a message                   | rung   | no change: the thread that rings, or the ticket           |
//! | rung   | the loop calls the ticket: [`Mailbox::collect`] | idle   | the collector, for all of them                            |
//! | rung   | ringing fails                                   | idle   | the thread that rang: it calls `notify` again              |
//! | rung   | the loop is closed and drops the ticket         | idle   | the thread that drops the ticket returns all: [`Mailbox::collect`] |
//! | either | a poster finds the loop closed                  | idle   | that poster returns *all* messages, not only its own      |
//! | either | a poster finds the loop stopped                 | rung   | the ticket; the poster sees all messages, so that it can wake other waiters instead |
//!
//! A loop can be closed in the middle of a ring: asyncio checks that the loop is not closed, loses the GIL, and then appends the ticket to
//! the callbacks of a loop that has been closed meanwhile, where it is neither called nor dropped. That is why a poster checks the loop
//! *after* it has rung, and why it then also returns the messages of other posters, which relied on its ring.
//!
//! # Fairness
//! Messages are collected in the order in which they were posted.
//!
//! # What it does not do
//! It does not wait, and it does not know what a message is: messages that cannot be delivered are returned to the caller.

use std::fmt;

use crate::blocks::Blocks;
use crate::sync::{AtomicBool, Ordering};

/// The storage of the messages: an unbounded channel that any thread can put into and take from.
pub trait MessageStore {
    type Message;

    fn put(&self, message: Self::Message);
    fn take(&self) -> Option<Self::Message>;
}

/// The state of an event loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Running,
    /// It does not run at present, and may run again.
    Stopped,
    /// It will never run a callback again.
    Closed,
}

/// See the head of this file.
pub struct Mailbox<B> {
    store: B,
    /// True if a ticket is pending, or a thread is about to schedule one. Acquire and release on both sides, see `notify` and `collect`.
    rung: AtomicBool,
}

impl<B: MessageStore> Mailbox<B> {
    pub fn new(store: B) -> Self {
        Self { store, rung: AtomicBool::new(false) }
    }

    pub fn store(&self) -> &B {
        &self.store
    }

    /// Adds a message. The caller has to call [`Mailbox::notify`] afterwards.
    pub fn post(&self, message: B::Message) {
        self.store.put(message);
    }

    /// Ensures that the loop will collect the messages: rings unless a ticket is pending, then checks the state of the loop. Returns
    /// messages that the loop will never collect, because it is closed. If the loop is stopped, `delayed` is called with the messages
    /// that it will collect when it runs again.
    ///
    /// On an error the caller is still responsible for the messages, and has to call this again. A ring that fails may have scheduled a
    /// ticket all the same; a second ticket then finds an empty mailbox.
    pub fn notify<E>(
        &self,
        ring: impl Fn() -> Result<(), E>,
        look: impl Fn() -> Result<Presence, E>,
        mut delayed: impl FnMut(&B::Message),
    ) -> Result<Blocks<B::Message>, E> {
        let mut shown = false;
        loop {
            // Release: the thread that resets the flag sees the messages added before. Acquire: the check of the loop comes after it.
            if !self.rung.swap(true, Ordering::AcqRel) {
                if let Err(error) = ring() {
                    // Relaxed is enough: the messages stay where they are, and the next `notify` does a swap again.
                    self.rung.store(false, Ordering::Relaxed);
                    return if matches!(look(), Ok(Presence::Closed)) { Ok(self.collect()) } else { Err(error) };
                }
            }
            match look()? {
                Presence::Closed => return Ok(self.collect()),
                Presence::Stopped if !shown => {
                    shown = true;
                    self.show(&mut delayed);
                }
                // After `delayed` has been called the flag is swapped once more, because the ticket may have collected the messages meanwhile.
                Presence::Running | Presence::Stopped => return Ok(Blocks::default()),
            }
        }
    }

    /// Takes all messages, to deliver them on the loop, or to return them because the loop is closed. A later poster rings again.
    pub fn collect(&self) -> Blocks<B::Message> {
        // First the flag, then the messages. Acquire: the messages of every poster that has found the flag set are seen here.
        self.rung.swap(false, Ordering::AcqRel);
        std::iter::from_fn(|| self.store.take()).collect()
    }

    fn show(&self, delayed: &mut impl FnMut(&B::Message)) {
        let messages: Blocks<_> = std::iter::from_fn(|| self.store.take()).collect();
        for message in messages {
            delayed(&message);
            self.store.put(message);
        }
    }
}

impl<B> fmt::Debug for Mailbox<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use super::*;

    #[derive(Default)]
    struct Messages(RefCell<VecDeque<u32>>);

    impl MessageStore for Messages {
        type Message = u32;

        fn put(&self, message: u32) {
            self.0.borrow_mut().push_back(message);
        }

        fn take(&self) -> Option<u32> {
            self.0.borrow_mut().pop_front()
        }
    }

    /// A simulated loop: it counts rings, and has a given state.
    struct FakeLoop {
        rings: Cell<u32>,
        presence: Cell<Presence>,
        fails: Cell<bool>,
    }

    impl FakeLoop {
        fn new(presence: Presence) -> Self {
            Self { rings: Cell::new(0), presence: Cell::new(presence), fails: Cell::new(false) }
        }

        fn ring(&self) -> Result<(), &'static str> {
            if self.fails.get() {
                return Err("no ring");
            }
            self.rings.set(self.rings.get() + 1);
            Ok(())
        }

        fn post(&self, mailbox: &Mailbox<Messages>, message: u32, delayed: &mut Vec<u32>) -> Result<Vec<u32>, &'static str> {
            mailbox.post(message);
            let returned = mailbox.notify(|| self.ring(), || Ok(self.presence.get()), |&message| delayed.push(message));
            returned.map(|messages| messages.into_iter().collect())
        }
    }

    fn collected(mailbox: &Mailbox<Messages>) -> Vec<u32> {
        mailbox.collect().into_iter().collect()
    }

    fn empty() -> Mailbox<Messages> {
        Mailbox::new(Messages::default())
    }

    #[test]
    fn a_busy_loop_is_rung_once_and_collects_in_order() {
        let (mailbox, event_loop) = (empty(), FakeLoop::new(Presence::Running));
        for message in 1..=3 {
            assert_eq!(event_loop.post(&mailbox, message, &mut vec![]), Ok(vec![]));
        }
        assert_eq!(event_loop.rings.get(), 1);
        assert_eq!(collected(&mailbox), [1, 2, 3]);
        assert_eq!(event_loop.post(&mailbox, 4, &mut vec![]), Ok(vec![]));
        assert_eq!(event_loop.rings.get(), 2);
    }

    #[test]
    fn a_poster_that_finds_the_loop_closed_returns_everything() {
        let (mailbox, event_loop) = (empty(), FakeLoop::new(Presence::Running));
        assert_eq!(event_loop.post(&mailbox, 1, &mut vec![]), Ok(vec![]));
        event_loop.presence.set(Presence::Closed);
        assert_eq!(event_loop.post(&mailbox, 2, &mut vec![]), Ok(vec![1, 2]));
        assert_eq!(collected(&mailbox), []);
    }

    #[test]
    fn a_stopped_loop_keeps_its_messages_and_the_poster_sees_all_of_them() {
        let (mailbox, event_loop) = (empty(), FakeLoop::new(Presence::Running));
        assert_eq!(event_loop.post(&mailbox, 1, &mut vec![]), Ok(vec![]));
        event_loop.presence.set(Presence::Stopped);
        let mut delayed = vec![];
        assert_eq!(event_loop.post(&mailbox, 2, &mut delayed), Ok(vec![]));
        assert_eq!(delayed, [1, 2]);
        assert_eq!(event_loop.rings.get(), 1);
        assert_eq!(collected(&mailbox), [1, 2]);
    }

    #[test]
    fn after_a_ring_that_failed_the_next_notify_rings() {
        let (mailbox, event_loop) = (empty(), FakeLoop::new(Presence::Running));
        event_loop.fails.set(true);
        assert_eq!(event_loop.post(&mailbox, 1, &mut vec![]), Err("no ring"));
        event_loop.fails.set(false);
        assert_eq!(event_loop.post(&mailbox, 2, &mut vec![]), Ok(vec![]));
        assert_eq!(event_loop.rings.get(), 1);
        assert_eq!(collected(&mailbox), [1, 2]);
    }
}
