//! The tables at the head of `transfer`, row by row.
#![cfg(not(loom))]

use std::sync::Arc;

use sluicegate_core::clock::Clock;
use sluicegate_core::credits::frames::{Block, Form, FrameRange, Framing};
use sluicegate_core::credits::{Channel, Config, End};
use sluicegate_core::section::Threads;
use sluicegate_core::transfer::{Counts, Offered, Parts, Stage, Transfer};
use sluicegate_core::wait::Parker;

type Chan = Channel<u32, Arc<Parker>, Threads, FrameRange>;

#[derive(Debug)]
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

/// A transfer that has read some lines, and its channel.
struct Scene {
    transfer: Transfer<Plain>,
    channel: Arc<Chan>,
    parker: Arc<Parker>,
}

impl Scene {
    fn new(window: u64, text: &str, by_length: bool) -> Self {
        let kind = Framing::Lines { keep_ends: false };
        let mut block = Block::default();
        block.bytes().extend_from_slice(text.as_bytes());
        block.frame(kind, false, true);
        let config = Config { window, step: 1, bound: window, control_capacity: 1, rules: None };
        let transfer = Transfer::default();
        transfer.load((), block.freeze(kind, Form::Bytes, by_length));
        Self { transfer, channel: Arc::new(Channel::new(config, Clock::Monotonic)), parker: Arc::default() }
    }

    fn offer(&self) -> Option<Offered> {
        let (left, outcome) = self.transfer.offer((), || Reference(Arc::clone(&self.channel)), &self.parker)?;
        left.settle();
        Some(outcome)
    }

    fn receive(&self) {
        let (wakes, result) = self.channel.try_receive(());
        wakes.fire();
        assert!(result.is_ok());
    }

    fn counts(&self) -> (u64, u64) {
        let (_, Counts { items, bytes }, _) = self.transfer.progress((), |_| ());
        (items, bytes)
    }

    /// The stage, whether anything is unsent, and what has been counted.
    fn seen(&self) -> (Stage, bool, (u64, u64)) {
        (self.transfer.stage(()), self.transfer.has_unsent(()), self.counts())
    }
}

#[test]
fn what_there_is_credit_for_goes_at_once() {
    let scene = Scene::new(5, "one\ntwo\n", false);
    assert_eq!(scene.offer(), Some(Offered::Sent));
    assert_eq!(scene.seen(), (Stage::Running, false, (2, 8)));
    assert_eq!(scene.offer(), Some(Offered::Sent), "nothing is left to offer");
}

#[test]
fn what_the_channel_sends_by_itself_is_counted_when_somebody_asks() {
    let scene = Scene::new(1, "one\nthree\nx\n", false);
    assert_eq!(scene.offer(), Some(Offered::Waiting));
    assert_eq!(scene.counts(), (1, 4));
    scene.receive();
    assert_eq!(scene.seen(), (Stage::Running, true, (2, 10)));
    scene.receive();
    assert_eq!(scene.counts(), (3, 12));
    assert!(scene.parker.is_notified());
    assert_eq!(scene.offer(), Some(Offered::Sent));
    assert_eq!(scene.seen(), (Stage::Running, false, (3, 12)));
}

#[test]
fn a_cancellation_takes_the_rest_back_and_counts_what_has_gone() {
    let scene = Scene::new(1, "one\nthree\nx\n", false);
    scene.offer();
    scene.receive();
    scene.transfer.cancel(()).settle();
    assert_eq!(scene.seen(), (Stage::Stopping, true, (2, 10)));
    scene.receive();
    assert_eq!(scene.seen(), (Stage::Stopping, true, (2, 10)), "there is credit, and nobody who sends");
    assert_eq!(scene.offer(), None);
    assert_eq!(scene.transfer.step((), |_| ()), None);
    assert!(scene.transfer.stopped((), "job").is_ok());
    assert_eq!(scene.transfer.stage(()), Stage::Stopped);
    assert_eq!(scene.transfer.resume(()), Some("job"));
    assert_eq!(scene.offer(), Some(Offered::Sent));
    assert_eq!(scene.seen(), (Stage::Running, false, (3, 12)));
}

#[test]
fn cancelled_when_all_has_gone_nothing_is_unsent() {
    let scene = Scene::new(1, "a\nb\n", false);
    scene.offer();
    scene.receive();
    scene.transfer.cancel(()).settle();
    scene.transfer.cancel(()).settle();
    assert_eq!(scene.seen(), (Stage::Stopping, false, (2, 4)));
}

#[test]
fn resumed_before_it_has_stopped_the_job_goes_on() {
    let scene = Scene::new(1, "a\n", false);
    scene.transfer.cancel(()).settle();
    assert_eq!(scene.transfer.resume(()), None);
    assert_eq!(scene.transfer.stopped((), "job").unwrap_err(), "job");
    assert_eq!(scene.transfer.resume(()), None, "it runs");
}

#[test]
fn an_item_that_can_never_go_is_named_by_its_weight_and_stays() {
    let scene = Scene::new(3, "ab\nabcdef\nx\n", true);
    assert_eq!(scene.offer(), Some(Offered::TooHeavy(6)));
    assert_eq!(scene.seen(), (Stage::Running, true, (1, 3)));
}

#[test]
fn what_an_ended_channel_does_not_take_stays() {
    let scene = Scene::new(1, "a\nb\n", false);
    scene.offer();
    scene.channel.cancel((), |()| ()).fire();
    assert_eq!(scene.offer(), Some(Offered::Ended(End::Cancelled)));
    assert_eq!(scene.seen(), (Stage::Running, true, (1, 2)));
}

#[test]
fn the_end_tells_those_who_wait_and_gives_up_the_rest() {
    let scene = Scene::new(1, "a\n", false);
    let place = scene.transfer.enter_line((), None, &scene.parker);
    assert_eq!(scene.transfer.enter_line((), Some(place), &scene.parker), place);
    let (wakes, displaced) = scene.transfer.end((), Some("error"));
    wakes.fire();
    assert_eq!((displaced, scene.parker.is_notified()), (None, true));
    assert_eq!(scene.transfer.progress((), |&error| error).2, Some("error"));
    assert_eq!(scene.seen(), (Stage::Ended, false, (0, 0)));
    scene.transfer.cancel(()).settle();
    assert_eq!((scene.transfer.resume(()), scene.transfer.stage(())), (None, Stage::Ended));
    assert_eq!(scene.transfer.clear(()), (None, Some("error")));
}
