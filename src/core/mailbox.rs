//! `Mailbox`: wake-ups from any thread on their way to one event loop, and who answers for them.
//!
//! A poster puts its mail into the box and, unless a ticket is out, *rings*: it hands the loop a ticket, a callback that collects all
//! the mail there is. So a loop is disturbed once, however many posters come while it is busy. What is in the box and how a loop is rung
//! are the user's; the order of the steps, on which it depends that no mail is lost, is here.
//!
//! # Who answers for the mail
//! Mail in the box is always somebody's to deliver:
//!
//! | box    | event                                          | next   | who answers for the mail                                 |
//! |--------|------------------------------------------------|--------|----------------------------------------------------------|
//! | idle   | a poster puts mail and finds no ticket out      | rung   | that poster, until it has rung and has looked at the loop |
//! | rung   | another poster puts mail                        | rung   | as before: the one who rings, or the ticket              |
//! | rung   | the loop calls the ticket: [`Mailbox::collect`] | idle   | the collector has it all                                 |
//! | rung   | ringing fails                                   | idle   | the one who rang: it knocks again                        |
//! | rung   | the loop is closed and drops the ticket         | idle   | whoever drops it returns it all: [`Mailbox::collect`]    |
//! | either | a poster finds the loop closed                  | idle   | that poster returns *all* of it, not only its own        |
//! | either | a poster finds the loop stopped                 | rung   | the ticket; the poster is shown all the mail, so that its turns go to others |
//!
//! A loop can close in the middle of a ring: asyncio looks whether the loop is closed, loses the interpreter, and appends the ticket to
//! the callbacks of a loop that is closed by now, where nobody calls it and nobody drops it. That is why a poster looks at the loop
//! *after* it has rung, and why it then returns what others have posted in the belief that it would ring.
//!
//! # Fairness
//! Mail leaves in the order in which it came.
//!
//! # What it does not do
//! It does not wait, and it does not know what mail is: returned mail goes back to the caller.

use std::fmt;

use crate::sync::{AtomicBool, Ordering};

/// What holds the mail: an unbounded channel that takes and gives from any thread.
pub trait Bag {
    type Mail;

    fn put(&self, mail: Self::Mail);
    fn take(&self) -> Option<Self::Mail>;
}

/// How an event loop was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Running,
    /// It may run again.
    Stopped,
    /// It never runs a callback again.
    Closed,
}

/// See the head of this file.
pub struct Mailbox<B> {
    bag: B,
    /// A ticket is out, or somebody is about to hand one out. Acquire and release on both sides, see `knock` and `collect`.
    rung: AtomicBool,
}

impl<B: Bag> Mailbox<B> {
    pub fn new(bag: B) -> Self {
        Self { bag, rung: AtomicBool::new(false) }
    }

    pub fn bag(&self) -> &B {
        &self.bag
    }

    /// Puts mail into the box. [`Mailbox::knock`] has to follow.
    pub fn post(&self, mail: B::Mail) {
        self.bag.put(mail);
    }

    /// Sees to it that the loop knows of the mail: rings unless that has been done, then looks whether the loop is there. What is
    /// returned is mail that the loop will never collect. `delayed` is shown what a stopped loop has to collect when it runs again.
    ///
    /// On an error the caller still answers for the mail, and has to knock again. A ring that fails may have reached the loop all the
    /// same; a second ticket finds an empty box.
    pub fn knock<E>(
        &self,
        ring: impl Fn() -> Result<(), E>,
        look: impl Fn() -> Result<Presence, E>,
        mut delayed: impl FnMut(&B::Mail),
    ) -> Result<Vec<B::Mail>, E> {
        let mut shown = false;
        loop {
            // Release: whoever resets the mark sees what has been put into the box. Acquire: the look comes after it.
            if !self.rung.swap(true, Ordering::AcqRel) {
                if let Err(error) = ring() {
                    // Relaxed is enough: the mail stays where it is, and the next knock is a swap again.
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
                // After the show the mark is swapped once more, because the ticket may have come for the mail in the meantime.
                Presence::Running | Presence::Stopped => return Ok(Vec::new()),
            }
        }
    }

    /// Takes everything out: to deliver it on the loop, or to return it because the loop is closed. Who posts from now on rings again.
    pub fn collect(&self) -> Vec<B::Mail> {
        // First the mark, then the mail. Acquire: of a poster that has found the mark set, the mail is seen here.
        self.rung.swap(false, Ordering::AcqRel);
        std::iter::from_fn(|| self.bag.take()).collect()
    }

    fn show(&self, delayed: &mut impl FnMut(&B::Mail)) {
        let mail: Vec<_> = std::iter::from_fn(|| self.bag.take()).collect();
        for mail in mail {
            delayed(&mail);
            self.bag.put(mail);
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
    struct Letters(RefCell<VecDeque<u32>>);

    impl Bag for Letters {
        type Mail = u32;

        fn put(&self, mail: u32) {
            self.0.borrow_mut().push_back(mail);
        }

        fn take(&self) -> Option<u32> {
            self.0.borrow_mut().pop_front()
        }
    }

    /// A loop that is rung so many times, and how the poster finds it.
    struct Bell {
        rings: Cell<u32>,
        presence: Cell<Presence>,
        fails: Cell<bool>,
    }

    impl Bell {
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

        fn post(&self, mailbox: &Mailbox<Letters>, mail: u32, delayed: &mut Vec<u32>) -> Result<Vec<u32>, &'static str> {
            mailbox.post(mail);
            mailbox.knock(|| self.ring(), || Ok(self.presence.get()), |&mail| delayed.push(mail))
        }
    }

    fn empty() -> Mailbox<Letters> {
        Mailbox::new(Letters::default())
    }

    #[test]
    fn a_busy_loop_is_rung_once_and_collects_in_order() {
        let (mailbox, bell) = (empty(), Bell::new(Presence::Running));
        for mail in 1..=3 {
            assert_eq!(bell.post(&mailbox, mail, &mut vec![]), Ok(vec![]));
        }
        assert_eq!(bell.rings.get(), 1);
        assert_eq!(mailbox.collect(), [1, 2, 3]);
        assert_eq!(bell.post(&mailbox, 4, &mut vec![]), Ok(vec![]));
        assert_eq!(bell.rings.get(), 2);
    }

    #[test]
    fn whoever_finds_the_loop_closed_returns_everything() {
        let (mailbox, bell) = (empty(), Bell::new(Presence::Running));
        assert_eq!(bell.post(&mailbox, 1, &mut vec![]), Ok(vec![]));
        bell.presence.set(Presence::Closed);
        assert_eq!(bell.post(&mailbox, 2, &mut vec![]), Ok(vec![1, 2]));
        assert_eq!(mailbox.collect(), []);
    }

    #[test]
    fn a_stopped_loop_keeps_its_mail_and_the_poster_sees_all_of_it() {
        let (mailbox, bell) = (empty(), Bell::new(Presence::Running));
        assert_eq!(bell.post(&mailbox, 1, &mut vec![]), Ok(vec![]));
        bell.presence.set(Presence::Stopped);
        let mut delayed = vec![];
        assert_eq!(bell.post(&mailbox, 2, &mut delayed), Ok(vec![]));
        assert_eq!(delayed, [1, 2]);
        assert_eq!(bell.rings.get(), 1);
        assert_eq!(mailbox.collect(), [1, 2]);
    }

    #[test]
    fn after_a_ring_that_failed_the_next_knock_rings() {
        let (mailbox, bell) = (empty(), Bell::new(Presence::Running));
        bell.fails.set(true);
        assert_eq!(bell.post(&mailbox, 1, &mut vec![]), Err("no ring"));
        bell.fails.set(false);
        assert_eq!(bell.post(&mailbox, 2, &mut vec![]), Ok(vec![]));
        assert_eq!(bell.rings.get(), 1);
        assert_eq!(mailbox.collect(), [1, 2]);
    }
}
