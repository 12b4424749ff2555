//! Models of the credit channel's protocol paths: every interleaving of two or three threads, each model with the promise it guards.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_credits`. A waiter that nobody wakes is a deadlock, which loom reports.
#![cfg(loom)]

use std::ops::Range;

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::clock::{Clock, Manual, Nanos};
use sluicegate_core::credits::{
    Bale, Channel, Config, Copied, DeferralCycle, End, Handed, Nack, Offer, Receipt, ReceiveError, Received, Rules, SendError,
    SenderEnd, Stop, Waiter,
};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::{Parker, Wake, Wakes};

/// A model of three threads that all wait: fewer preemptions find what there is to find, in seconds.
fn model_with(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.map_or(preemptions, |bound| bound.min(preemptions)));
    builder.check(model);
}

/// How waiters are told, and a channel that holds its grants back.
#[derive(Clone)]
enum Tell {
    Parker(Arc<Parker>),
    Release(Arc<Chan>),
}

impl Wake for Tell {
    fn share(&self) -> Self {
        self.clone()
    }

    fn is_thread(&self) -> bool {
        matches!(self, Self::Parker(_))
    }

    fn wake(self) -> Wakes<Self> {
        match self {
            Self::Parker(parker) => parker.unpark(),
            Self::Release(channel) => return channel.release(()),
        }
        Wakes::none()
    }
}

/// Numbers that are items when they are received.
#[derive(Debug, PartialEq, Eq)]
struct Run(Range<u32>);

impl Bale for Run {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn weighs_one_each(&self) -> bool {
        true
    }

    fn weight(&self, _index: usize) -> u64 {
        1
    }

    fn take(&mut self, count: usize) -> Self {
        assert!(count <= self.count());
        let first = self.0.start;
        self.0.by_ref().take(count).for_each(drop);
        Self(first..self.0.start)
    }

    fn join(&mut self, next: Self) -> Result<(), Self> {
        if next.0.start != self.0.end {
            return Err(next);
        }
        self.0.end = next.0.end;
        Ok(())
    }
}

fn unpack(received: Received<u32, Run>) -> u32 {
    match received {
        Received::Item(item) => item,
        Received::Bale(Run(numbers)) => numbers.start,
    }
}

type Chan = Channel<u32, Tell, Threads, Run>;
type Delivery = Result<Handed<u32>, ReceiveError>;

const SECOND: Nanos = 1_000_000_000;

/// Loom's threads take turns on one: an ordinary lock inside is no matter, and `Manual` is the same in every model.
fn time() -> std::sync::Arc<Manual<Tell>> {
    std::sync::Arc::new(Manual::new(0))
}

fn window(window: u64) -> Arc<Chan> {
    let config = Config { window, step: window.div_ceil(2), bound: window, control_capacity: 1, rules: None };
    Arc::new(Channel::new(config, Clock::Manual(time())))
}

/// Nothing flows before it is asked for.
fn manual() -> Arc<Chan> {
    let config = Config { window: 0, step: 0, bound: 9, control_capacity: 1, rules: None };
    Arc::new(Channel::new(config, Clock::Manual(time())))
}

/// With one delivery out, to owner 1.
fn acking(time: &std::sync::Arc<Manual<Tell>>, ack_wait: Option<Nanos>, max_deliver: u32) -> (Arc<Chan>, Receipt) {
    let rules = Some(Rules { ack_wait, max_deliver, reports: false });
    let config = Config { window: 1, step: 1, bound: 1, control_capacity: 1, rules };
    let channel: Arc<Chan> = Arc::new(Channel::new(config, Clock::Manual(std::sync::Arc::clone(time))));
    assert_eq!(send_now(&channel, 7), Ok(()));
    let (leaving, delivery) = channel.try_receive_delivery((), 1, &Copied);
    leaving.fire();
    (channel, delivery.unwrap().receipt)
}

fn spawn<R: 'static>(channel: &Arc<Chan>, work: impl FnOnce(&Chan) -> R + 'static) -> thread::JoinHandle<R> {
    let channel = Arc::clone(channel);
    thread::spawn(move || work(&channel))
}

/// What the binding's blocking gate does, without time and signals. What is due at a moment is waited for by setting the clock to it.
fn until<R>(mut attempt: impl FnMut(&mut Waiter, &Tell) -> Option<R>) -> R {
    let parker = Arc::new(Parker::default());
    let mut waiter = Waiter::default();
    loop {
        parker.reset();
        if let Some(result) = attempt(&mut waiter, &Tell::Parker(Arc::clone(&parker))) {
            return result;
        }
        while !parker.is_notified() {
            parker.park(None);
        }
    }
}

fn send(channel: &Chan, item: u32) -> Result<(), SendError<u32>> {
    until(|waiter, waker| {
        let (wakes, result) = channel.send_or_wait((), item, 1, waiter, waker);
        wakes.fire();
        (!matches!(result, Err(SendError::Full(_)))).then_some(result)
    })
}

/// What is left, and why.
fn send_bale(channel: &Chan, numbers: Range<u32>) -> Offer<Run> {
    let mut bale = Some(Run(numbers));
    until(|waiter, waker| {
        let (wakes, offer) = match bale.take() {
            Some(bale) => channel.offer((), bale, waiter, waker),
            None => channel.look_at_offer((), waiter),
        };
        wakes.fire();
        (offer != Offer::Waiting).then_some(offer)
    })
}

fn receive(channel: &Chan) -> Result<u32, ReceiveError> {
    until(|waiter, waker| {
        let (wakes, result) = channel.receive_or_wait((), waiter, waker);
        wakes.fire();
        (result != Err(ReceiveError::Empty)).then_some(result.map(unpack))
    })
}

fn receive_delivery(channel: &Chan, owner: u64, mut empty: impl FnMut()) -> Delivery {
    until(|waiter, waker| {
        let (leaving, result) = channel.receive_delivery_or_wait((), owner, &Copied, waiter, waker);
        assert!(leaving.fire_and_keep().is_empty());
        if result == Err(ReceiveError::Empty) {
            empty();
            return None;
        }
        Some(result)
    })
}

fn send_now(channel: &Chan, item: u32) -> Result<(), SendError<u32>> {
    let (wakes, result) = channel.try_send((), item, 1);
    wakes.fire();
    result
}

fn receive_now(channel: &Chan) -> Result<u32, ReceiveError> {
    let (wakes, result) = channel.try_receive(());
    wakes.fire();
    result.map(unpack)
}

/// What is to be reported.
fn cancel(channel: &Chan) -> Vec<u32> {
    channel.cancel((), |()| ()).fire_and_keep().dropped.into_items().map(unpack).collect()
}

/// A sender in line is woken by a grant or by a cancel, whichever comes, and what it sends between the two is handed out.
#[test]
fn a_grant_races_with_a_cancel() {
    loom::model(|| {
        let channel = manual();
        let sender = spawn(&channel, |channel| send(channel, 7));
        let granter = spawn(&channel, |channel| {
            let (wakes, granted) = channel.request((), 1);
            wakes.fire();
            granted
        });
        let discarded = cancel(&channel);
        let granted = granter.join().unwrap();
        match sender.join().unwrap() {
            Ok(()) => assert!(granted && discarded == [7]),
            Err(error) => assert_eq!((error, discarded), (SendError::Ended(7, End::Cancelled), vec![])),
        }
    });
}

/// A grant reaches a sender, however it races with the sender's falling asleep; with two in the wait queue it reaches one, and the end the other.
#[test]
fn a_grant_races_with_senders_falling_asleep() {
    model_with(3, || {
        let channel = manual();
        let senders = [1, 2].map(|item| spawn(&channel, move |channel| send(channel, item)));
        channel.request((), 1).0.fire();
        let item = receive(&channel).unwrap();
        let discarded = cancel(&channel);
        let sent = senders.map(|sender| sender.join().unwrap().is_ok());
        assert_eq!((sent, discarded), ([item == 1, item == 2], vec![]));
    });
}

/// An item is received, or handed out to be discarded, or comes back with the error: exactly one of these.
#[test]
fn a_send_races_with_a_receive_and_a_cancel() {
    loom::model(|| {
        let channel = window(1);
        let sender = spawn(&channel, |channel| send_now(channel, 7));
        let receiver = spawn(&channel, receive);
        let discarded = cancel(&channel).len();
        let came_back = usize::from(sender.join().unwrap() == Err(SendError::Ended(7, End::Cancelled)));
        let received = usize::from(receiver.join().unwrap() == Ok(7));
        assert_eq!(received + discarded + came_back, 1);
    });
}

/// Room made is noticed: two items go through a window of one.
#[test]
fn a_receive_races_with_a_sender_falling_asleep() {
    loom::model(|| {
        let channel = window(1);
        let sender = spawn(&channel, |channel| {
            send(channel, 1).unwrap();
            send(channel, 2).unwrap();
        });
        assert_eq!(receive(&channel), Ok(1));
        assert_eq!(receive(&channel), Ok(2));
        sender.join().unwrap();
    });
}

/// A delivery is settled once: acked in time, or out again with another.
#[test]
fn an_ack_races_with_the_redelivery() {
    loom::model(|| {
        let time = time();
        let (channel, receipt) = acking(&time, Some(SECOND), 2);
        let acker = spawn(&channel, move |channel| {
            let (leaving, acked) = channel.ack((), receipt);
            (acked, leaving.fire_and_keep().settled.len())
        });
        time.advance(SECOND);
        let (leaving, delivery) = channel.try_receive_delivery((), 2, &Copied);
        leaving.fire();
        let (acked, spent) = acker.join().unwrap();
        assert_eq!((acked, spent), (delivery == Err(ReceiveError::Empty), usize::from(acked)));
        if let Ok(again) = delivery {
            assert_eq!((again.item, again.attempt), (7, 2));
            assert!(channel.ack((), again.receipt).1);
        }
        assert_eq!(channel.credit(()).1, 1);
    });
}

/// The same of the last one: acked in time, or given up, and its credit is free once; a sender that waits gets it either way.
#[test]
fn an_ack_races_with_giving_up() {
    loom::model(|| {
        let time = time();
        let (channel, receipt) = acking(&time, Some(SECOND), 1);
        let sender = spawn(&channel, |channel| send(channel, 8));
        let acker = spawn(&channel, move |channel| {
            let (leaving, acked) = channel.ack((), receipt);
            (acked, leaving.fire_and_keep().poison.len())
        });
        time.advance(SECOND);
        let left = channel.catch_up(()).fire_and_keep();
        let (acked, discarded) = acker.join().unwrap();
        assert_eq!(usize::from(acked) + discarded + left.poison.len(), 1);
        assert_eq!(sender.join().unwrap(), Ok(()));
        assert_eq!(channel.credit(()).1, 0);
    });
}

/// A receiver that went to sleep when nothing was due is woken when something will be.
#[test]
fn a_nack_with_delay_races_with_a_receiver_falling_asleep() {
    loom::model(|| {
        let time = time();
        let (channel, receipt) = acking(&time, None, 2);
        let nacker = spawn(&channel, move |channel| {
            let (leaving, in_time) = channel.nack((), receipt, Nack { requeue: true, delay: SECOND, counts: true });
            leaving.fire();
            assert!(in_time);
        });
        // A receiver that knows the moment comes then.
        let parker = Arc::new(Parker::default());
        let mut waiter = Waiter::default();
        let delivery = loop {
            parker.reset();
            let waker = Tell::Parker(Arc::clone(&parker));
            let (leaving, result) = channel.receive_delivery_or_wait((), 2, &Copied, &mut waiter, &waker);
            leaving.fire();
            if result != Err(ReceiveError::Empty) {
                break result;
            }
            if let Some(due) = channel.next_due(()) {
                time.advance(due.saturating_sub(time.now()));
                continue;
            }
            while !parker.is_notified() {
                parker.park(None);
            }
        };
        assert_eq!(delivery.unwrap().attempt, 2);
        nacker.join().unwrap();
    });
}

/// Nobody waits for itself: whoever holds the last deliveries is told so, however completion races with its falling asleep, and the
/// other receiver gets the end.
#[test]
fn completion_races_with_the_holder_of_the_last_delivery() {
    model_with(3, || {
        let (channel, receipt) = acking(&time(), None, 2);
        let completer = spawn(&channel, |channel| channel.complete((), &SenderEnd::default()).fire());
        let other = spawn(&channel, |channel| receive_delivery(channel, 2, || {}));
        assert_eq!(receive_delivery(&channel, 1, || {}), Err(ReceiveError::SelfWait));
        let (leaving, acked) = channel.ack((), receipt);
        leaving.fire();
        assert!(acked);
        assert_eq!(other.join().unwrap(), Err(ReceiveError::Ended(End::Completed)));
        completer.join().unwrap();
    });
}

/// What a permit has left reaches a sender that waits, however its return races with the sender's falling asleep.
#[test]
fn a_returned_permit_races_with_a_sender_falling_asleep() {
    loom::model(|| {
        let channel = window(1);
        let (wakes, permit) = channel.try_permit((), 1);
        wakes.fire();
        let sender = spawn(&channel, |channel| send(channel, 7));
        channel.return_permit((), permit.unwrap()).fire();
        assert_eq!(sender.join().unwrap(), Ok(()));
        assert_eq!(receive_now(&channel), Ok(7));
    });
}

/// The end comes after what a permit still sends, and comes when the permit goes, however that races with completion.
#[test]
fn a_permit_races_with_completion_and_a_receiver() {
    loom::model(|| {
        let channel = window(2);
        let (wakes, permit) = channel.try_permit((), 2);
        wakes.fire();
        let mut permit = permit.unwrap();
        let sender = spawn(&channel, move |channel| {
            let (wakes, sent) = channel.send_permitted((), &mut permit, 7, 1);
            wakes.fire();
            assert_eq!(sent, Ok(()));
            channel.return_permit((), permit).fire();
        });
        let completer = spawn(&channel, |channel| channel.complete((), &SenderEnd::default()).fire());
        assert_eq!(receive(&channel), Ok(7));
        assert_eq!(receive(&channel), Err(ReceiveError::Ended(End::Completed)));
        sender.join().unwrap();
        completer.join().unwrap();
    });
}

fn defer(upstream: &Arc<Chan>, downstream: &Chan) -> Result<(), DeferralCycle> {
    let (wakes, result) = upstream.defer_to((), Some((downstream, Tell::Release(Arc::clone(upstream)))));
    wakes.fire();
    result
}

/// Two threads defer in opposite directions: one of them is refused, whatever the order, and no channel is held back for ever.
#[test]
fn deferrals_in_opposite_directions_race() {
    loom::model(|| {
        let (one, other) = (window(1), window(1));
        let there = thread::spawn({
            let (one, other) = (Arc::clone(&one), Arc::clone(&other));
            move || defer(&one, &other)
        });
        let outcomes = [defer(&other, &one), there.join().unwrap()];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        for channel in [&one, &other] {
            assert_eq!(send_now(channel, 0), Ok(()));
        }
        for channel in [&one, &other] {
            assert_eq!(receive_now(channel), Ok(0));
        }
        assert_eq!([&one, &other].map(|channel| channel.credit(()).1), [1, 1]);
        // Each holds the other one's observer: a deferral ends before its channels go.
        for channel in [&one, &other] {
            channel.defer_to((), None).0.fire();
        }
    });
}

/// A deferral that begins while the channel is cancelled does not outlive it, and a replacement leaves one observer.
#[test]
fn a_deferral_races_with_the_end_of_its_channel() {
    loom::model(|| {
        let (upstream, downstream) = (window(1), window(1));
        let canceller = spawn(&upstream, |upstream| assert!(cancel(upstream).is_empty()));
        defer(&upstream, &downstream).unwrap();
        canceller.join().unwrap();
        let mut observers = 0;
        downstream.visit_contents((), |_| (), |_| observers += 1);
        assert_eq!(observers, 0);
        assert_eq!(defer(&downstream, &upstream), Ok(()));
        downstream.defer_to((), None).0.fire();
    });
}

/// No release is lost: credit consumed just when the channel after it gets going again is granted, by whoever sees it last.
#[test]
fn a_deferred_grant_races_with_the_grant_it_waits_for() {
    loom::model(|| {
        let (upstream, downstream) = (window(1), window(1));
        assert_eq!((send_now(&upstream, 0), send_now(&downstream, 0)), (Ok(()), Ok(())));
        defer(&upstream, &downstream).unwrap();
        let sender = spawn(&upstream, |upstream| send(upstream, 1));
        let stage = spawn(&upstream, |upstream| assert_eq!(receive_now(upstream), Ok(0)));
        assert_eq!(receive_now(&downstream), Ok(0));
        stage.join().unwrap();
        assert_eq!(sender.join().unwrap(), Ok(()));
    });
}

/// The same when the channel after it is starved again at once, and gets going again.
#[test]
fn a_deferred_grant_races_with_one_that_comes_and_goes() {
    loom::model(|| {
        let (upstream, downstream) = (window(1), window(1));
        assert_eq!((send_now(&upstream, 0), send_now(&downstream, 0)), (Ok(()), Ok(())));
        defer(&upstream, &downstream).unwrap();
        let stage = spawn(&upstream, |upstream| assert_eq!(receive_now(upstream), Ok(0)));
        let filler = spawn(&downstream, |downstream| send(downstream, 1).unwrap());
        assert_eq!(receive_now(&downstream), Ok(0));
        assert_eq!(receive(&downstream), Ok(1));
        filler.join().unwrap();
        stage.join().unwrap();
        assert_eq!(upstream.credit(()).1, 1);
    });
}

/// A channel that hears of a cancel of the one after it at any moment is held no longer.
#[test]
fn a_deferred_grant_races_with_a_cancel() {
    loom::model(|| {
        let (upstream, downstream) = (window(1), window(1));
        assert_eq!((send_now(&upstream, 0), send_now(&downstream, 0)), (Ok(()), Ok(())));
        let canceller = spawn(&downstream, |downstream| assert_eq!(cancel(downstream), [0]));
        let stage = spawn(&upstream, |upstream| assert_eq!(receive_now(upstream), Ok(0)));
        defer(&upstream, &downstream).unwrap();
        canceller.join().unwrap();
        stage.join().unwrap();
        assert_eq!(upstream.credit(()).1, 1);
    });
}

/// Completion reaches receivers, however it races with their falling asleep, and with the last item.
#[test]
fn completion_races_with_receivers_falling_asleep() {
    loom::model(|| {
        let channel = window(1);
        let receivers = [1, 2].map(|_| spawn(&channel, receive));
        assert_eq!(send_now(&channel, 7), Ok(()));
        channel.complete((), &SenderEnd::default()).fire();
        let mut received = receivers.map(|receiver| receiver.join().unwrap());
        received.sort_unstable_by_key(Result::is_err);
        assert_eq!(received, [Ok(7), Err(ReceiveError::Ended(End::Completed))]);
    });
}

/// What a receiver that leaves had been woken for goes to the next.
#[test]
fn a_wake_up_races_with_its_receiver_leaving() {
    loom::model(|| {
        let channel = window(1);
        let mut waiter = Waiter::default();
        let parker = Tell::Parker(Arc::new(Parker::default()));
        let (wakes, result) = channel.receive_or_wait((), &mut waiter, &parker);
        wakes.fire();
        assert_eq!(result, Err(ReceiveError::Empty));
        let receiver = spawn(&channel, receive);
        let sender = spawn(&channel, |channel| assert_eq!(send_now(channel, 7), Ok(())));
        channel.leave((), &mut waiter).fire();
        assert_eq!(receiver.join().unwrap(), Ok(7));
        sender.join().unwrap();
    });
}

/// A bale goes in parts, as room is made, while its owner falls asleep or sleeps: all of it arrives, and the owner is told.
#[test]
fn a_bale_sent_in_parts_races_with_a_receiver() {
    loom::model(|| {
        let channel = window(2);
        let receiver = spawn(&channel, |channel| [(); 5].map(|()| receive(channel).unwrap()));
        assert_eq!(send_bale(&channel, 0..5), Offer::Sent);
        assert_eq!(receiver.join().unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(channel.credit(()).1, 2);
    });
}

/// The same with another waiter behind it, which is woken in its turn.
#[test]
fn a_bale_sent_in_parts_races_with_a_sender_falling_asleep() {
    model_with(2, || {
        let channel = window(1);
        let baler = spawn(&channel, |channel| assert_eq!(send_bale(channel, 0..2), Offer::Sent));
        let sender = spawn(&channel, |channel| send(channel, 7).unwrap());
        let received = [(); 3].map(|()| receive(&channel).unwrap());
        baler.join().unwrap();
        sender.join().unwrap();
        // Before the bale or behind it, not between its parts.
        assert!([[0, 1, 7], [7, 0, 1]].contains(&received), "{received:?}");
    });
}

/// Each item of a bale is received, or handed out to be discarded, or left with its owner, in this order.
#[test]
fn a_bale_races_with_a_receiver_and_a_cancel() {
    model_with(3, || {
        let channel = window(2);
        let sender = spawn(&channel, |channel| send_bale(channel, 0..4));
        let receiver = spawn(&channel, |channel| std::iter::from_fn(|| receive(channel).ok()).collect::<Vec<_>>());
        let discarded = cancel(&channel);
        let left = match sender.join().unwrap() {
            Offer::Ended(Run(left), End::Cancelled) => left.collect(),
            offer => {
                assert_eq!(offer, Offer::Sent);
                vec![]
            }
        };
        assert_eq!([receiver.join().unwrap(), discarded, left].concat(), [0, 1, 2, 3]);
    });
}

/// An owner that takes its bale back while a receiver makes room gets what has not gone, and the waiter behind it is served.
#[test]
fn taking_a_bale_back_races_with_a_receiver() {
    model_with(3, || {
        let channel = window(1);
        assert_eq!(send_now(&channel, 9), Ok(()));
        let mut waiter = Waiter::default();
        let waker = Tell::Parker(Arc::new(Parker::default()));
        let (wakes, offer) = channel.offer((), Run(0..2), &mut waiter, &waker);
        wakes.fire();
        assert_eq!(offer, Offer::Waiting);
        let sender = spawn(&channel, |channel| send(channel, 7).unwrap());
        let receiver = spawn(&channel, |channel| {
            let mut received = vec![];
            while received.last() != Some(&7) {
                received.push(receive(channel).unwrap());
            }
            received
        });
        let (wakes, rest) = channel.take_back((), &mut waiter);
        wakes.fire();
        let gone = 0..rest.unwrap().0.start;
        sender.join().unwrap();
        assert_eq!(receiver.join().unwrap(), [vec![9], gone.collect(), vec![7]].concat());
    });
}

fn stop(channel: &Chan, mut stop: Stop) -> (Stop, usize) {
    let mut given_up = 0;
    until(|waiter, waker| {
        let (leaving, has_ended) = channel.stop((), &mut stop, &Copied, waiter, Some(waker));
        given_up += leaving.fire_and_keep().dropped.count();
        has_ended.then_some(())
    });
    (stop, given_up)
}

/// A receiver that stops is woken by the last settlement, however that races with its falling asleep, and it counts.
#[test]
fn a_stop_races_with_the_last_ack() {
    loom::model(|| {
        let (channel, receipt) = acking(&time(), None, 2);
        let acker = spawn(&channel, move |channel| {
            let (leaving, acked) = channel.ack((), receipt);
            leaving.fire();
            acked
        });
        stop(&channel, Stop::all());
        assert_eq!(channel.settled_through((), 0).1, 1);
        assert!(acker.join().unwrap());
    });
}

/// An item is handed out, and then waited for, or given up; what was settled is what is counted.
#[test]
fn a_stop_races_with_a_receiver() {
    loom::model(|| {
        let rules = Some(Rules { ack_wait: None, max_deliver: 2, reports: false });
        let config = Config { window: 1, step: 1, bound: 1, control_capacity: 1, rules };
        let channel: Arc<Chan> = Arc::new(Channel::new(config, Clock::Manual(time())));
        assert_eq!(send_now(&channel, 7), Ok(()));
        let worker = spawn(&channel, |channel| {
            let (leaving, delivery) = channel.try_receive_delivery((), 1, &Copied);
            leaving.fire();
            let Ok(handed) = delivery else { return 0 };
            assert!(channel.ack((), handed.receipt).1);
            1
        });
        let (lane, given_up) = stop(&channel, Stop::lanes([0]).unwrap());
        let Stop::Lanes(lanes) = lane else { unreachable!() };
        let handled = worker.join().unwrap();
        assert_eq!((lanes[0].2, given_up), (Some(handled), 1 - handled as usize));
        assert_eq!(channel.credit(()).1, 1);
    });
}

/// Progress is reported by one thread at a time, in order, and none of it is lost, however those that settle race.
#[test]
fn two_who_settle_race_to_report() {
    loom::model(|| {
        let rules = Some(Rules { ack_wait: None, max_deliver: 2, reports: true });
        let config = Config { window: 2, step: 1, bound: 2, control_capacity: 1, rules };
        let channel: Arc<Chan> = Arc::new(Channel::new(config, Clock::Manual(time())));
        let told = Arc::new(loom::sync::Mutex::new(Vec::new()));
        let settle = |receipt: Receipt| {
            let told = Arc::clone(&told);
            move |channel: &Chan| {
                let (leaving, _) = channel.ack((), receipt);
                if leaving.fire_and_keep().has_news {
                    let mut again = false;
                    while let Some((_, through)) = channel.next_report((), again) {
                        // Nobody else is at it: a lock that is never waited for.
                        told.try_lock().unwrap().push(through);
                        again = true;
                    }
                }
            }
        };
        let receipts = [0, 1].map(|item| {
            assert_eq!(send_now(&channel, item), Ok(()));
            let (leaving, delivery) = channel.try_receive_delivery((), 1, &Copied);
            leaving.fire();
            delivery.unwrap().receipt
        });
        let other = spawn(&channel, settle(receipts[0]));
        settle(receipts[1])(&channel);
        other.join().unwrap();
        let told = told.try_lock().unwrap();
        assert!(*told == [1, 2] || *told == [2], "{told:?}");
    });
}
