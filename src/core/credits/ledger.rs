//! `Ledger`: the counters of a credit channel, and the arithmetic between them. Plain data; it knows no items and nobody.
//!
//! All in units of weight (1 an item, or what `weigh` says), cumulative, and saturating at [`UNBOUNDED`].
//!
//! | counter     | what it is                                                                        |
//! |-------------|-----------------------------------------------------------------------------------|
//! | granted G   | credit given to the sender, ever: `available + permits + sent + voided`            |
//! | sent S      | taken in from the sender                                                          |
//! | voided V    | granted, and taken back unused (a drain, a lease that has run out, a cancel)      |
//! | permits     | credit that a sender has taken before the item exists                             |
//! | occupied    | of what was sent: what still takes up room, in the buffer or with the receiver    |
//! | owed        | to be granted: consumed and not given back yet, or asked for while grants are held |
//!
//! The bound is hard: the sender may send `min(available, bound - occupied - permits)`. Demand never raises the bound. Where credit is
//! given back by itself (`window > 0`), `available + permits + occupied + owed = window` at every moment, so the two are the same.
//!
//! G is cumulative, so that "up to sequence number n" can be said any number of times (`Request(upToSeqNr)` of Pekko's stream refs, the
//! delivery count of AMQP 1.0); what is asked for beyond [`UNBOUNDED`] saturates (Reactive Streams 1.0.4, rule 3.17).

use crate::clock::Nanos;

/// Credit that does not run out, and a buffer without a bound: 2^63 - 1.
pub const UNBOUNDED: u64 = i64::MAX as u64;

/// Credit for a limited time.
#[derive(Clone, Copy, Debug)]
struct Lease {
    left: u64,
    until: Nanos,
}

/// Credit that has been taken for items to come. It is sent with, in parts, and what is left of it is given back.
#[must_use = "it is sent with, or given back"]
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Permit {
    left: u64,
    /// So much of it is leased, and used first.
    leased: u64,
    /// The number of that lease.
    lease: u64,
}

impl Permit {
    pub fn left(&self) -> u64 {
        self.left
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    /// 0: nothing flows but what is asked for.
    pub(super) window: u64,
    pub(super) bound: u64,
    /// So much is given back at once. Without a window that is anything.
    step: u64,
    /// [`UNBOUNDED`]: not counted any more.
    available: u64,
    pub(super) permits: u64,
    pub(super) sent: u64,
    pub(super) voided: u64,
    pub(super) occupied: u64,
    pub(super) owed: u64,
    /// None where credit is endless.
    lease: Option<Lease>,
    /// How many there have been.
    leases: u64,
}

fn plus(one: u64, other: u64) -> u64 {
    one.saturating_add(other).min(UNBOUNDED)
}

impl Ledger {
    /// With a window (`step` of it given back at once), or with a bound for what is asked for by hand.
    pub(super) fn new(window: u64, step: u64, bound: u64) -> Self {
        Self {
            window,
            bound,
            step: step.min(window),
            available: window,
            permits: 0,
            sent: 0,
            voided: 0,
            occupied: 0,
            owed: 0,
            lease: None,
            leases: 0,
        }
    }

    pub(super) fn granted(&self) -> u64 {
        [self.permits, self.sent, self.voided].into_iter().fold(self.available, plus)
    }

    pub(super) fn has_lease(&self) -> bool {
        self.lease.is_some()
    }

    /// What may be sent now.
    #[inline]
    pub(super) fn sendable(&self) -> u64 {
        self.available.min(self.bound.saturating_sub(self.occupied).saturating_sub(self.permits))
    }

    /// The same, as it is shown: [`UNBOUNDED`] where neither credit nor the bound comes to an end.
    pub(super) fn credit(&self) -> u64 {
        if self.available == UNBOUNDED && self.bound == UNBOUNDED { UNBOUNDED } else { self.sendable() }
    }

    /// Returns how much of it was leased: that is used first.
    #[inline]
    fn take(&mut self, n: u64) -> u64 {
        if self.available == UNBOUNDED {
            return 0;
        }
        self.available -= n;
        self.lease.as_mut().map_or(0, |lease| {
            let leased = lease.left.min(n);
            lease.left -= leased;
            leased
        })
    }

    /// `n` are sent. They are [`sendable`](Self::sendable).
    #[inline]
    pub(super) fn send(&mut self, n: u64) {
        self.take(n);
        self.sent = plus(self.sent, n);
        self.occupied += n;
    }

    /// `n` are set aside for items to come. They are sendable.
    pub(super) fn permit(&mut self, n: u64) -> Permit {
        self.permits += n;
        Permit { left: n, leased: self.take(n), lease: self.leases }
    }

    /// `n` of what was set aside are sent.
    pub(super) fn send_permitted(&mut self, permit: &mut Permit, n: u64) {
        permit.left -= n;
        permit.leased = permit.leased.saturating_sub(n);
        self.permits -= n;
        self.sent = plus(self.sent, n);
        self.occupied += n;
    }

    /// What was set aside is not needed. What of it was leased goes back to its lease, or is void with it.
    pub(super) fn return_permit(&mut self, permit: &Permit) {
        self.permits -= permit.left;
        if self.available == UNBOUNDED {
            return;
        }
        let lasting = plus(self.lasting(), permit.left - permit.leased);
        if self.lease.is_some() && permit.lease == self.leases {
            self.fill(lasting, self.leased() + permit.leased);
        } else {
            self.voided = plus(self.voided, permit.leased);
            self.fill(lasting, self.leased());
        }
    }

    /// `n` have left for good.
    #[inline]
    pub(super) fn consumed(&mut self, n: u64) {
        self.occupied -= n;
        if self.window > 0 {
            self.owed += n;
        }
    }

    /// Is what is owed enough to be given back?
    #[inline]
    pub(super) fn reaches_step(&self) -> bool {
        self.owed >= self.step
    }

    /// `n` more, when grants go out.
    pub(super) fn ask(&mut self, n: u64) {
        self.owed = plus(self.owed, n);
    }

    /// As many more as bring all that was ever granted to `sequence`. False if that is so already.
    pub(super) fn ask_up_to(&mut self, sequence: u64) -> bool {
        let more = sequence.min(UNBOUNDED).saturating_sub(plus(self.granted(), self.owed));
        self.owed = plus(self.owed, more);
        more > 0
    }

    /// Grants what is owed.
    #[inline]
    pub(super) fn grant(&mut self) {
        let owed = std::mem::take(&mut self.owed);
        if self.lease.is_none() {
            self.available = plus(self.available, owed); // with a window no more than that
        } else {
            self.fill(plus(self.lasting(), owed), self.leased());
        }
    }

    fn leased(&self) -> u64 {
        self.lease.map_or(0, |lease| lease.left)
    }

    fn lasting(&self) -> u64 {
        self.available - self.leased()
    }

    /// So much lasts, and so much is leased, as far as there is room for it: only what lasts can be endless.
    #[inline(never)]
    fn fill(&mut self, lasting: u64, leased: u64) {
        if lasting == UNBOUNDED {
            self.lease = None;
        }
        let leased = leased.min((UNBOUNDED - 1).saturating_sub(lasting));
        if let Some(lease) = &mut self.lease {
            lease.left = leased;
        }
        self.available = lasting + leased;
    }

    fn void(&mut self, n: u64) {
        self.available -= n;
        self.voided = plus(self.voided, n);
    }

    /// Takes back what is not used. Returns how much that was. With a window it is owed from now on.
    pub(super) fn drain(&mut self) -> u64 {
        self.lease = None;
        let unused = self.available;
        if unused == UNBOUNDED {
            self.available = 0; // counting begins anew
        } else {
            self.void(unused);
        }
        if self.window > 0 {
            self.owed += unused;
        }
        unused
    }

    /// `n` until that time, instead of what an earlier lease has left. Where credit is endless it adds nothing.
    pub(super) fn lease(&mut self, n: u64, until: Nanos) {
        self.end_lease();
        if self.available != UNBOUNDED {
            self.leases += 1;
            self.lease = Some(Lease { left: 0, until });
            self.fill(self.available, n);
        }
    }

    /// Takes back what a lease has left whose time is over.
    #[inline]
    pub(super) fn expire(&mut self, now: impl FnOnce() -> Nanos) {
        if self.lease.is_some() && self.lease.is_some_and(|lease| now() >= lease.until) {
            self.end_lease();
        }
    }

    fn end_lease(&mut self) {
        self.void(self.leased());
        self.lease = None;
    }

    /// Nothing goes through any more: only the totals are left.
    pub(super) fn close(&mut self) {
        self.lease = None;
        self.owed = 0;
        self.occupied = 0;
        let unused = if self.available == UNBOUNDED { 0 } else { self.available };
        self.voided = plus(self.voided, plus(unused, self.permits));
        self.permits = 0;
        self.available = 0;
    }

    /// After a fork: those who held them were the parent's. What of it was leased nobody can say.
    pub(super) fn forget_permits(&mut self) {
        self.return_permit(&Permit { left: self.permits, ..Permit::default() });
    }
}
