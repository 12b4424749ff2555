//! Models of the mailbox: posters, a ticket, and a loop that collects, stops or closes in the middle of it.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_mailbox`.
#![cfg(loom)]

use std::collections::VecDeque;

use loom::sync::{Arc, Mutex};
use loom::thread;
use sluicegate_core::mailbox::{Mailbox, MessageStore, Presence};

type Message = usize;

#[derive(Default)]
struct Messages(Mutex<VecDeque<Message>>);

impl MessageStore for Messages {
    type Message = Message;

    fn put(&self, message: Message) {
        self.0.lock().unwrap().push_back(message);
    }

    fn take(&self) -> Option<Message> {
        self.0.lock().unwrap().pop_front()
    }
}

/// An event loop, as asyncio's: it may close between the moment in which it is asked whether it is closed and the moment in which it is
/// given a callback, and after that it does not look at its callbacks any more.
struct Model {
    mailbox: Mailbox<Messages>,
    event_loop: Mutex<EventLoop>,
    /// The number of times each message has been delivered by the loop, or returned to the poster.
    settled: Mutex<[u32; 2]>,
    /// The number of times each message has been reported as delayed because the loop was stopped.
    delayed: Mutex<[u32; 2]>,
}

struct EventLoop {
    presence: Presence,
    tickets: u32,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mailbox: Mailbox::new(Messages::default()),
            event_loop: Mutex::new(EventLoop { presence: Presence::Running, tickets: 0 }),
            settled: Mutex::new([0; 2]),
            delayed: Mutex::new([0; 2]),
        })
    }

    fn look(&self) -> Presence {
        self.event_loop.lock().unwrap().presence
    }

    /// `call_soon_threadsafe`, in its two steps.
    fn ring(&self) -> Result<(), ()> {
        if self.look() == Presence::Closed {
            return Err(());
        }
        self.event_loop.lock().unwrap().tickets += 1;
        Ok(())
    }

    fn settle(&self, messages: impl IntoIterator<Item = Message>) {
        let mut settled = self.settled.lock().unwrap();
        messages.into_iter().for_each(|message| settled[message] += 1);
    }

    fn post(&self, message: Message) {
        self.mailbox.post(message);
        let delayed = |message: &Message| self.delayed.lock().unwrap()[*message] += 1;
        // Only a closed loop refuses a ring here, and from that everything comes back.
        self.settle(self.mailbox.notify(|| self.ring(), || Ok(self.look()), delayed).unwrap());
    }

    /// One turn of the loop: it calls the tickets that it has.
    fn turn(&self) {
        let tickets = std::mem::take(&mut self.event_loop.lock().unwrap().tickets);
        for _ in 0..tickets {
            self.settle(self.mailbox.collect());
        }
    }

    fn stop(&self) {
        self.event_loop.lock().unwrap().presence = Presence::Stopped;
    }

    /// Closes: first the mark, then the callbacks are dropped; a ticket that is dropped returns the messages.
    fn close(&self) {
        self.event_loop.lock().unwrap().presence = Presence::Closed;
        self.turn();
    }
}

/// Two posters, and on the model's own thread what the loop does meanwhile.
fn race(event_loop: impl Fn(&Model) + Sync + Send + 'static, check: impl Fn(&Model) + Sync + Send + 'static) {
    loom::model(move || {
        let model = Model::new();
        let posters = [0, 1].map(|message| {
            let model = Arc::clone(&model);
            thread::spawn(move || model.post(message))
        });
        event_loop(&model);
        posters.into_iter().for_each(|poster| poster.join().unwrap());
        check(&model);
    });
}

/// Nothing lost, nothing twice: a loop that closes while it is rung leaves no message behind.
#[test]
fn a_loop_closes_under_two_posters() {
    race(
        |model| {
            model.stop();
            model.close();
        },
        |model| assert_eq!(*model.settled.lock().unwrap(), [1, 1]),
    );
}

/// Nothing lost: a message that comes while the loop collects is collected at the next turn at the latest.
#[test]
fn a_loop_collects_while_two_post() {
    race(Model::turn, |model| {
        model.turn();
        assert_eq!(*model.settled.lock().unwrap(), [1, 1]);
    });
}

/// A stopped loop sits on no turn: whatever is in its box when a poster finds it stopped has been shown, and stays for the loop.
#[test]
fn a_loop_stops_under_two_posters() {
    race(Model::stop, |model| {
        if model.event_loop.lock().unwrap().tickets > 0 {
            // A poster to the running loop alone has not been seen by another since: the ticket is there for it.
            model.turn();
        }
        assert_eq!(*model.settled.lock().unwrap(), [1, 1]);
    });
}

/// The same with a loop that runs once more: its ticket may come for the messages while a poster is shown them.
#[test]
fn a_loop_collects_in_the_middle_of_a_show() {
    loom::model(|| {
        let model = Model::new();
        model.post(0);
        model.stop();
        let poster = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.post(1))
        };
        model.turn();
        poster.join().unwrap();
        model.turn();
        assert_eq!(*model.settled.lock().unwrap(), [1, 1]);
    });
}
