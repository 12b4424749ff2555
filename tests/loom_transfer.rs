//! Models of a transfer: every interleaving of its job, those who stop it, and a receiver.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_transfer`.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::clock::Clock;
use sluicegate_core::credits::frames::{Block, Form, FrameRange, Framing};
use sluicegate_core::credits::{Channel, Config};
use sluicegate_core::section::Threads;
use sluicegate_core::transfer::{Counts, Offered, Parts, Stage, Transfer};
use sluicegate_core::wait::Parker;

type Chan = Channel<u32, Arc<Parker>, Threads, FrameRange>;

#[derive(Clone, Debug)]
struct Reference(Arc<Chan>);

impl AsRef<Chan> for Reference {
    fn as_ref(&self) -> &Chan {
        &self.0
    }
}

#[derive(Debug)]
struct Plain;

impl Parts for Plain {
    type Item = u32;
    type Waker = Arc<Parker>;
    type Domain = Threads;
    type Extras = ();
    type Channel = Reference;
    type Job = &'static str;
    type Error = &'static str;
}

/// Three lines of two bytes.
fn lines() -> FrameRange {
    let kind = Framing::Lines { keep_ends: false };
    let mut block = Block::default();
    block.bytes().extend_from_slice(b"1\n2\n3\n");
    block.frame(kind, false, true);
    block.freeze(kind, Form::Bytes, false)
}

/// A transfer whose first line is on its way, and whose others stand in the line of a channel with a window of one.
fn standing() -> (Arc<Transfer<Plain>>, Arc<Chan>, Arc<Parker>) {
    let config = Config { window: 1, step: 1, bound: 1, control_capacity: 1, rules: None };
    let (transfer, parker) = (Arc::new(Transfer::default()), Arc::new(Parker::default()));
    let channel: Arc<Chan> = Arc::new(Channel::new(config, Clock::Monotonic));
    transfer.load((), lines());
    assert_eq!(offer(&transfer, &channel, &parker), Some(Offered::Waiting));
    (transfer, channel, parker)
}

fn offer(transfer: &Transfer<Plain>, channel: &Arc<Chan>, parker: &Arc<Parker>) -> Option<Offered> {
    let (left, outcome) = transfer.offer((), || Reference(Arc::clone(channel)), parker)?;
    left.settle();
    Some(outcome)
}

/// How many are received now.
fn receive(channel: &Chan, at_most: usize) -> u64 {
    let mut received = 0;
    for _ in 0..at_most {
        let (wakes, result) = channel.try_receive(());
        wakes.fire();
        received += u64::from(result.is_ok());
    }
    received
}

fn counts(transfer: &Transfer<Plain>) -> Counts {
    transfer.progress((), |_| ()).1
}

/// Exact: whatever the channel sends by itself while it is stopped, what is counted is what has been sent.
#[test]
fn a_receiver_races_with_a_cancellation() {
    loom::model(|| {
        let (transfer, channel, _parker) = standing();
        let receiver = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || receive(&channel, 2))
        };
        transfer.cancel(()).settle();
        let stopped = counts(&transfer);
        let received = receiver.join().unwrap();
        assert_eq!(counts(&transfer), stopped, "nothing moves after a cancellation");
        let sent = received + receive(&channel, 3);
        assert_eq!(stopped, Counts { items: sent, bytes: 2 * sent });
        assert_eq!(transfer.has_unsent(()), sent < 3);
    });
}

/// Nothing lost, nothing twice: stopped and resumed beside its job and a receiver, it still sends each line, and counts it once.
#[test]
fn a_job_that_offers_races_with_cancel_and_resume() {
    loom::model(|| {
        let (transfer, channel, parker) = standing();
        let job = {
            let (transfer, channel, parker) = (Arc::clone(&transfer), Arc::clone(&channel), Arc::clone(&parker));
            thread::spawn(move || {
                let received = receive(&channel, 1);
                if offer(&transfer, &channel, &parker).is_none() {
                    transfer.take_back(()).settle();
                }
                received
            })
        };
        transfer.cancel(()).settle();
        assert_eq!(transfer.resume(()), None, "nobody has stopped");
        let mut received = job.join().unwrap();
        while transfer.has_unsent(()) {
            offer(&transfer, &channel, &parker);
            received += receive(&channel, 1);
        }
        received += receive(&channel, 1);
        assert_eq!((received, counts(&transfer)), (3, Counts { items: 3, bytes: 6 }));
    });
}

/// A job that stops while it is resumed is run again by one of the two, and not by both.
#[test]
fn a_job_that_stops_races_with_resume() {
    loom::model(|| {
        let transfer: Arc<Transfer<Plain>> = Arc::default();
        transfer.cancel(()).settle();
        let job = {
            let transfer = Arc::clone(&transfer);
            thread::spawn(move || match transfer.stopped((), "job") {
                Ok(wakes) => {
                    wakes.fire();
                    None
                }
                Err(job) => Some(job),
            })
        };
        let resumed = transfer.resume(());
        let goes_on = job.join().unwrap();
        assert!(resumed.is_some() != goes_on.is_some());
        assert_eq!(transfer.stage(()), Stage::Running);
    });
}

/// A waiter for the end of a transfer is woken, however the end races with its place in the wait queue.
#[test]
fn a_waiter_races_with_the_end() {
    loom::model(|| {
        let transfer: Arc<Transfer<Plain>> = Arc::default();
        let end = {
            let transfer = Arc::clone(&transfer);
            thread::spawn(move || {
                let (wakes, displaced) = transfer.end((), Some("error"));
                wakes.fire();
                assert_eq!(displaced, None);
            })
        };
        let parker = Arc::new(Parker::default());
        let place = transfer.enter_line((), None, &parker);
        while transfer.stage(()) != Stage::Ended {
            parker.park(None);
            parker.reset();
        }
        drop(transfer.leave_line((), place));
        end.join().unwrap();
        assert_eq!(transfer.progress((), |&error| error).2, Some("error"));
    });
}
