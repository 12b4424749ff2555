//! `Deliveries`: items that are out with a receiver until it settles them, and those that come back.
//!
//! | a delivery is | event                                   | next                                                          |
//! |---------------|-----------------------------------------|---------------------------------------------------------------|
//! | -             | handed out                              | unacked: it has a sequence number for good, a number for this time |
//! | unacked       | ack                                     | settled                                                       |
//! | unacked       | nack, requeue, attempts left            | ready at the head, in the order of sequence numbers; or delayed |
//! | unacked       | nack without requeue, or the last attempt | settled, and discarded                                      |
//! | unacked       | its time to be acked is over            | as a nack                                                     |
//! | delayed       | its time has come                       | ready                                                         |
//! | ready         | handed out                              | unacked, one attempt more                                     |
//!
//! Who settles shows the number of *its* handing-out. If the item has come back meanwhile the number is stale, and nothing happens
//! (AMQP's dispositions; JetStream would take it).

use std::collections::BTreeMap;

use crate::clock::Nanos;

/// How deliveries come to an end.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A delivery that is not settled within this time is requeued.
    pub ack_wait: Option<Nanos>,
    /// Maximum number of delivery attempts per item.
    pub max_deliver: u32,
}

/// A delivery, as handed to a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed<T> {
    pub item: T,
    pub receipt: Receipt,
    /// 1 the first time.
    pub attempt: u32,
}

/// Shown when settling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The item's sequence number: 0, 1, 2, ... in the order of sending.
    pub sequence: u64,
    number: u64,
}

/// What happens to a delivery that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack {
    pub requeue: bool,
    pub delay: Nanos,
    /// False if the attempt does not count, because the receiver was stopped through no fault of the item.
    pub counts: bool,
}

#[derive(Debug)]
pub(super) struct Parcel<T> {
    pub(super) item: T,
    pub(super) weight: u64,
    /// The number of delivery attempts so far.
    pub(super) attempts: u32,
}

#[derive(Debug)]
struct Unacked<T> {
    parcel: Parcel<T>,
    number: u64,
    owner: u64,
    expires: Nanos,
}

#[derive(Debug)]
pub(super) struct Deliveries<T> {
    rules: Rules,
    next_sequence: u64,
    next_number: u64,
    unacked: BTreeMap<u64, Unacked<T>>,
    ready: BTreeMap<u64, Parcel<T>>,
    delayed: BTreeMap<(Nanos, u64), Parcel<T>>,
    /// Unacked deliveries by the time at which they expire.
    expiring: BTreeMap<(Nanos, u64), u64>,
    /// `settled_through` at the moment of a cancel; what was not settled then never will be.
    given_up_at: Option<u64>,
    pub(super) requeued: u64,
    pub(super) stale: u64,
}

/// What became of a delivery.
#[derive(Debug)]
pub(super) enum Settled<T> {
    /// It has been requeued.
    Requeued,
    /// It has been acked.
    Done(Parcel<T>),
    /// It has been given up.
    Discarded(Parcel<T>),
}

impl<T> Deliveries<T> {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            next_sequence: 0,
            next_number: 0,
            unacked: BTreeMap::new(),
            ready: BTreeMap::new(),
            delayed: BTreeMap::new(),
            expiring: BTreeMap::new(),
            given_up_at: None,
            requeued: 0,
            stale: 0,
        }
    }

    /// The number of deliveries that can be handed out again now.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The number of deliveries that will be ready after a delay.
    pub(super) fn delayed(&self) -> usize {
        self.delayed.len()
    }

    pub(super) fn unacked(&self) -> usize {
        self.unacked.len()
    }

    /// The owner of all unacked deliveries, if there is exactly one owner.
    pub(super) fn only_owner(&self) -> Option<u64> {
        let mut owners = self.unacked.values().map(|unacked| unacked.owner);
        let first = owners.next()?;
        owners.all(|owner| owner == first).then_some(first)
    }

    /// The lowest sequence number that is not settled.
    pub(super) fn settled_through(&self) -> u64 {
        let first = |sequences: &mut dyn Iterator<Item = u64>| sequences.next();
        let (unacked, ready) = (first(&mut self.unacked.keys().copied()), first(&mut self.ready.keys().copied()));
        let delayed = self.delayed.keys().map(|&(_, sequence)| sequence).min();
        let open = unacked.into_iter().chain(ready).chain(delayed).min();
        self.given_up_at.or(open).unwrap_or(self.next_sequence)
    }

    /// The first of the requeued deliveries.
    pub(super) fn next_ready(&mut self) -> Option<(u64, Parcel<T>)> {
        self.ready.pop_first()
    }

    /// The sequence number of an item that goes out for the first time.
    pub(super) fn first_time(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    pub(super) fn hand_out(
        &mut self,
        sequence: u64,
        mut parcel: Parcel<T>,
        owner: u64,
        now: Nanos,
        share: impl Fn(&T) -> T,
    ) -> Handed<T> {
        parcel.attempts += 1;
        self.next_number += 1;
        let number = self.next_number;
        let handed = Handed { item: share(&parcel.item), receipt: Receipt { sequence, number }, attempt: parcel.attempts };
        let expires = self.rules.ack_wait.map_or(Nanos::MAX, |wait| now.saturating_add(wait));
        if expires != Nanos::MAX {
            self.expiring.insert((expires, number), sequence);
        }
        self.unacked.insert(sequence, Unacked { parcel, number, owner, expires });
        handed
    }

    /// Removes the delivery from the unacked ones. `None` if the receipt is stale.
    fn take(&mut self, receipt: Receipt) -> Option<Parcel<T>> {
        match self.unacked.get(&receipt.sequence) {
            Some(unacked) if unacked.number == receipt.number => {
                let unacked = self.unacked.remove(&receipt.sequence)?;
                self.expiring.remove(&(unacked.expires, unacked.number));
                Some(unacked.parcel)
            }
            _ => {
                self.stale += 1;
                None
            }
        }
    }

    pub(super) fn ack(&mut self, receipt: Receipt) -> Option<Settled<T>> {
        self.take(receipt).map(Settled::Done)
    }

    pub(super) fn nack(&mut self, receipt: Receipt, nack: Nack, now: Nanos) -> Option<Settled<T>> {
        let mut parcel = self.take(receipt)?;
        if !nack.counts {
            parcel.attempts -= 1;
        }
        Some(if nack.requeue { self.come_back(receipt.sequence, parcel, nack.delay, now) } else { Settled::Discarded(parcel) })
    }

    fn come_back(&mut self, sequence: u64, parcel: Parcel<T>, delay: Nanos, now: Nanos) -> Settled<T> {
        if parcel.attempts >= self.rules.max_deliver {
            return Settled::Discarded(parcel);
        }
        self.requeued += 1;
        if delay == 0 {
            self.ready.insert(sequence, parcel);
        } else {
            self.delayed.insert((now.saturating_add(delay), sequence), parcel);
        }
        Settled::Requeued
    }

    /// The time of the next timed event.
    pub(super) fn next_due(&self) -> Option<Nanos> {
        let delayed = self.delayed.first_key_value().map(|((at, _), _)| *at);
        let expiring = self.expiring.first_key_value().map(|((at, _), _)| *at);
        delayed.into_iter().chain(expiring).min()
    }

    /// Handles what is due by `now`. Items that are given up go to `discard`.
    pub(super) fn settle_due(&mut self, now: Nanos, mut discard: impl FnMut(Parcel<T>)) {
        while let Some(entry) = self.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, sequence), parcel) = entry.remove_entry();
            self.ready.insert(sequence, parcel);
        }
        while let Some(entry) = self.expiring.first_entry().filter(|entry| entry.key().0 <= now) {
            let sequence = entry.remove();
            if let Some(Unacked { parcel, .. }) = self.unacked.remove(&sequence) {
                if let Settled::Discarded(parcel) = self.come_back(sequence, parcel, 0, now) {
                    discard(parcel);
                }
            }
        }
    }

    /// Removes everything: first what was to be handed out again, in order, then what is unacked.
    pub(super) fn take_all(&mut self) -> (Vec<Parcel<T>>, Vec<Parcel<T>>) {
        self.given_up_at = Some(self.settled_through());
        let mut waiting = std::mem::take(&mut self.ready);
        waiting.extend(std::mem::take(&mut self.delayed).into_iter().map(|((_, sequence), parcel)| (sequence, parcel)));
        self.expiring.clear();
        let out = std::mem::take(&mut self.unacked).into_values().map(|unacked| unacked.parcel).collect();
        (waiting.into_values().collect(), out)
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &T> {
        let unacked = self.unacked.values().map(|unacked| &unacked.parcel);
        unacked.chain(self.ready.values()).chain(self.delayed.values()).map(|parcel| &parcel.item)
    }
}
