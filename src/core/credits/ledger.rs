//! `Ledger`: the counters of a credit channel and their arithmetic. Plain data: it knows neither items nor waiters.
//!
//! All counters are in units of weight (1 for an item, or the result of `weigh`), and saturate at [`UNBOUNDED`].
//!
//! | counter     | meaning                                                                           |
//! |-------------|-----------------------------------------------------------------------------------|
//! | granted G   | credit given to the sender, ever: `available + permits + sent + voided`            |
//! | sent S      | sent by the sender                                                                |
//! | voided V    | granted, and taken back unused (a drain, an expired lease, a cancel)              |
//! | permits     | credit that a sender has taken before the item exists                             |
//! | occupied    | the part of what was sent that is still in the buffer or with the receiver        |
//! | owed        | to be granted: consumed and not granted again yet, or requested while grants are held |
//!
//! The bound is hard: the sender may send `min(available, bound - occupied - permits)`. Requests never raise the bound. With a window,
//! `available + permits + occupied + owed = window` at every moment, so that both terms of the minimum are equal.
//!
//! G is cumulative, so that a request "up to sequence number n" is idempotent (`Request(upToSeqNr)` of Pekko's stream refs, the delivery
//! count of AMQP 1.0). A total above [`UNBOUNDED`] saturates (Reactive Streams 1.0.4, rule 3.17).

use crate::clock::Nanos;

/// Unlimited credit, and the bound of an unbounded buffer: 2^63 - 1.
pub const UNBOUNDED: u64 = i64::MAX as u64;

/// Credit for a limited time.
#[derive(Clone, Copy, Debug)]
struct Lease {
    left: u64,
    until: Nanos,
}

/// Credit taken for future items. It can be used in parts, and the rest is given back.
#[must_use = "it has to be used for sending, or given back"]
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Permit {
    left: u64,
    /// The part of it that comes from a lease; it is used first.
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
    /// 0: only what is requested may be sent.
    pub(super) window: u64,
    pub(super) bound: u64,
    /// The least amount that is granted again at once; 0 without a window.
    step: u64,
    /// [`UNBOUNDED`] if credit is unlimited; then it is not counted.
    available: u64,
    pub(super) permits: u64,
    pub(super) sent: u64,
    pub(super) voided: u64,
    pub(super) occupied: u64,
    pub(super) owed: u64,
    /// `None` if credit is unlimited.
    lease: Option<Lease>,
    /// The number of leases so far.
    leases: u64,
}

fn plus(one: u64, other: u64) -> u64 {
    one.saturating_add(other).min(UNBOUNDED)
}

impl Ledger {
    /// With a window, of which at least `step` is granted again at once; or, with `window` 0, with a bound for requests.
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

    /// The amount that may be sent now.
    #[inline]
    pub(super) fn sendable(&self) -> u64 {
        self.available.min(self.bound.saturating_sub(self.occupied).saturating_sub(self.permits))
    }

    /// The amount that may be sent now, for display: [`UNBOUNDED`] if neither credit nor the bound is limited.
    pub(super) fn credit(&self) -> u64 {
        if self.available == UNBOUNDED && self.bound == UNBOUNDED { UNBOUNDED } else { self.sendable() }
    }

    /// Takes `n` of the available credit, leased credit first. Returns how much of it was leased.
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

    /// Records that `n` are sent, which have to be [`sendable`](Self::sendable).
    #[inline]
    pub(super) fn send(&mut self, n: u64) {
        self.take(n);
        self.sent = plus(self.sent, n);
        self.occupied += n;
    }

    /// Sets `n` aside for future items; they have to be sendable.
    pub(super) fn permit(&mut self, n: u64) -> Permit {
        self.permits += n;
        Permit { left: n, leased: self.take(n), lease: self.leases }
    }

    /// Records that `n` are sent with a permit.
    pub(super) fn send_permitted(&mut self, permit: &mut Permit, n: u64) {
        permit.left -= n;
        permit.leased = permit.leased.saturating_sub(n);
        self.permits -= n;
        self.sent = plus(self.sent, n);
        self.occupied += n;
    }

    /// Gives back a permit. Its leased part goes back to the lease, or is void if the lease has expired.
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

    /// Records that `n` have been consumed.
    #[inline]
    pub(super) fn consumed(&mut self, n: u64) {
        self.occupied -= n;
        if self.window > 0 {
            self.owed += n;
        }
    }

    /// True if the amount owed has reached the step at which it is granted.
    #[inline]
    pub(super) fn reaches_step(&self) -> bool {
        self.owed >= self.step
    }

    /// Adds `n` to what is owed.
    pub(super) fn ask(&mut self, n: u64) {
        self.owed = plus(self.owed, n);
    }

    /// Adds to what is owed the amount that brings the total ever granted to `sequence`. False if the total has reached that already.
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
            self.available = plus(self.available, owed); // with a window this never exceeds the window
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

    /// Sets the permanent and the leased part of the credit, capped: only permanent credit can be unlimited.
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

    /// Takes back unused credit; returns the amount. With a window it is owed from now on.
    pub(super) fn drain(&mut self) -> u64 {
        self.lease = None;
        let unused = self.available;
        if unused == UNBOUNDED {
            self.available = 0; // unlimited credit ends, and credit is counted again
        } else {
            self.void(unused);
        }
        if self.window > 0 {
            self.owed += unused;
        }
        unused
    }

    /// Leases `n` until `until`, replacing an earlier lease. Has no effect if credit is unlimited.
    pub(super) fn lease(&mut self, n: u64, until: Nanos) {
        self.end_lease();
        if self.available != UNBOUNDED {
            self.leases += 1;
            self.lease = Some(Lease { left: 0, until });
            self.fill(self.available, n);
        }
    }

    /// Takes back the rest of an expired lease.
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

    /// Records that `n` are no longer with the receiver. `is_closed`: the ledger has been closed before.
    pub(super) fn comes_back(&mut self, n: u64, is_closed: bool) {
        if is_closed {
            self.occupied -= n;
        } else {
            self.consumed(n);
        }
    }

    /// Closes the ledger: only the totals are left, and `out`, the amount that is still with the receiver.
    pub(super) fn close(&mut self, out: u64) {
        self.lease = None;
        self.owed = 0;
        self.occupied = out;
        let unused = if self.available == UNBOUNDED { 0 } else { self.available };
        self.voided = plus(self.voided, plus(unused, self.permits));
        self.permits = 0;
        self.available = 0;
    }

    /// After a fork: forgets the permits, whose holders are threads of the parent. Which part of them was leased is not known.
    pub(super) fn forget_permits(&mut self) {
        self.return_permit(&Permit { left: self.permits, ..Permit::default() });
    }
}
