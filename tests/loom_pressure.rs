//! Models of crossings: a listener is told each of them, in order, whichever threads cause them; and nobody who waits for the low mark sleeps on.
#![cfg(loom)]

use std::sync::Mutex;

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::buffer::Fifo;
use sluicegate_core::clock::Clock;
use sluicegate_core::monitor::Monitor;
use sluicegate_core::queue::{Admission, Crossings, Gauge, Mark, Queue, Relief, Relieved, Told, Watermarks};
use sluicegate_core::section::{Section, Threads};
use sluicegate_core::wait::{Parker, Waiter, Wake, Wakes};

/// What the binding's herald does.
struct Hub {
    crossings: std::sync::Arc<Crossings>,
    relief: Monitor<Relief<Waker>, Waker, Threads, 1>,
    told: Section<Told, Threads>,
    /// A driver is told only what it has come to.
    latest: bool,
    heard: Mutex<Vec<bool>>,
}

#[derive(Clone)]
enum Waker {
    Thread(Arc<Parker>),
    Herald(Arc<Hub>),
}

impl Wake for Waker {
    fn share(&self) -> Self {
        self.clone()
    }

    fn is_thread(&self) -> bool {
        matches!(self, Self::Thread(_))
    }

    fn wake(self) -> Wakes<Self> {
        match self {
            Self::Thread(parker) => parker.unpark(),
            Self::Herald(hub) => {
                hub.relief.look(()).fire();
                while let Some(high) = hub.told.with((), |told| told.next(hub.crossings.count(), hub.latest)) {
                    hub.heard.lock().unwrap().push(high);
                    assert_eq!(hub.told.with((), Told::has_been_told), None);
                }
            }
        }
        Wakes::none()
    }
}

type Watched = Queue<Fifo<u32>, Waker, Threads>;

/// High with one item, low with none.
fn watched(latest: bool) -> (Arc<Watched>, Arc<Hub>) {
    let crossings = std::sync::Arc::<Crossings>::default();
    let hub = Arc::new(Hub {
        crossings: std::sync::Arc::clone(&crossings),
        relief: Monitor::<Relief<Waker>, Waker, Threads, 1>::new(std::sync::Arc::clone(&crossings), Clock::Monotonic),
        told: Section::new(Told::new(0)),
        latest,
        heard: Mutex::new(Vec::new()),
    });
    let queue = Arc::new(Watched::new(Fifo::default(), 2, Clock::Monotonic));
    let marks = Watermarks::new(Mark::Count(1), Mark::Count(0), false);
    let mut gauge = Some(Box::new(Gauge::new(marks, crossings, Waker::Herald(Arc::clone(&hub)))));
    let (wakes, _) = queue.step((), None, |state, wakes| state.watch(gauge.take(), wakes).is_none());
    wakes.fire();
    (queue, hub)
}

fn put(queue: &Watched) {
    let (wakes, result) = queue.try_put((), 7, Admission::Immediate);
    wakes.fire();
    assert_eq!(result, Ok(()));
}

/// Breaks the cycle: loom counts what is left.
fn end(queue: &Watched) {
    drop(queue.unwatch(()));
}

/// Each crossing is reported once, in order, also when the threads that caused them come to the listener in the other order.
#[test]
fn crossings_of_two_threads_are_told_in_order() {
    loom::model(|| {
        let (queue, hub) = watched(false);
        put(&queue);
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let (wakes, result) = queue.try_get((), Admission::Immediate);
                wakes.fire();
                assert_eq!(result, Ok(7));
            })
        };
        put(&queue);
        getter.join().unwrap();
        let heard = hub.heard.lock().unwrap().clone();
        // The get comes before the second put, or after it: then the queue was never low.
        assert!(heard == [true] || heard == [true, false, true], "{heard:?}");
        assert_eq!(heard.len() as u64, hub.crossings.count());
        end(&queue);
    });
}

/// A driver is left in the state in which the queue is.
#[test]
fn a_driver_is_left_in_the_state_of_the_queue() {
    loom::model(|| {
        let (queue, hub) = watched(true);
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue))
        };
        let (wakes, got) = queue.try_get((), Admission::Immediate);
        wakes.fire();
        putter.join().unwrap();
        let heard = hub.heard.lock().unwrap().clone();
        assert!(heard.windows(2).all(|two| two[0] != two[1]), "{heard:?}");
        assert_eq!(heard.last().copied().unwrap_or(false), got.is_err());
        end(&queue);
    });
}

/// Who waits for the low mark is woken by the crossing, however it races with its falling asleep.
#[test]
fn a_crossing_races_with_a_waiter_falling_asleep() {
    loom::model(|| {
        let (queue, hub) = watched(true);
        put(&queue);
        let waiting = {
            let hub = Arc::clone(&hub);
            thread::spawn(move || {
                let (parker, mut waiter) = (Arc::new(Parker::default()), Waiter::default());
                loop {
                    parker.reset();
                    let (wakes, answer) = hub.relief.relieved_or_wait((), &mut waiter, Some(&Waker::Thread(Arc::clone(&parker))));
                    wakes.fire();
                    if answer == Relieved::Yes {
                        break;
                    }
                    while !parker.is_notified() {
                        parker.park(None);
                    }
                }
            })
        };
        let (wakes, result) = queue.try_get((), Admission::Immediate);
        wakes.fire();
        assert_eq!(result, Ok(7));
        waiting.join().unwrap();
        end(&queue);
    });
}

/// A shutdown lets everybody go who waits for the low mark.
#[test]
fn a_shutdown_races_with_a_waiter_falling_asleep() {
    loom::model(|| {
        let (queue, hub) = watched(true);
        put(&queue);
        let waiting = {
            let hub = Arc::clone(&hub);
            thread::spawn(move || {
                let (parker, mut waiter) = (Arc::new(Parker::default()), Waiter::default());
                loop {
                    parker.reset();
                    let (wakes, answer) = hub.relief.relieved_or_wait((), &mut waiter, Some(&Waker::Thread(Arc::clone(&parker))));
                    wakes.fire();
                    if answer == Relieved::ShutDown {
                        break;
                    }
                    while !parker.is_notified() {
                        parker.park(None);
                    }
                }
            })
        };
        let (wakes, result) = queue.shut_down(());
        wakes.fire();
        result.unwrap();
        waiting.join().unwrap();
        end(&queue);
    });
}
