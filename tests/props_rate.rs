//! Random schedules against plain models: the law on the moments of grants, first come first served, nothing lost.
//!
//! Rates are whole units a nanosecond here, so that a model need not round, and every answer has to be exact. What rounding does is looked
//! at by itself, at the end.
#![cfg(not(loom))]

mod cases;
mod rate;

use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::clock::Nanos;
use sluicegate_core::rate::{AcquireState, Booking, Bookings, Policy, Refusal, Units};

use rate::law::Ledger;
use rate::model::{Answer, Model, Rule, SetModel};
use rate::{Caller, One, SECOND, TOKEN, Time, cancel, level, plain, rate_of, reserve, retry_after, try_acquire, try_book};

const WAITERS: usize = 4;

// ------------------------------------------------------------------------------------------- one limiter, without bookings

#[derive(Clone, Debug)]
enum Step {
    Try(Units),
    /// The same, and hears when it could go.
    Tell(Units),
    Pass(Units),
    /// Comes; or, if it waits already, comes to look.
    Wait(usize, Units, Option<Nanos>),
    Leave(usize),
    Refund(Units),
    Debit(Units),
    Change(u32, Units, Nanos),
    Pause(Nanos),
    Level,
    RetryAfter(Units),
    Advance(Nanos),
    /// So many nanoseconds beside the head's moment.
    Due(i8),
}

fn amount() -> impl Strategy<Value = Units> {
    prop_oneof![4 => (1..=5_u64).prop_map(|n| n * TOKEN), 1 => 1..=5 * TOKEN, 1 => Just(1)]
}

fn span() -> impl Strategy<Value = Nanos> {
    prop_oneof![
        2 => Just(0),
        1 => Just(1),
        4 => (1..=8_u64).prop_map(|n| n * SECOND / 2),
        2 => 0..4 * SECOND,
        1 => Just(1000 * SECOND),
        1 => Just(1 << 52),
    ]
}

/// A rate, a burst or limit, a period.
fn change() -> impl Strategy<Value = (u32, Units, Nanos)> {
    (1..=3_u32, (1..=8_u64).prop_map(|n| n * TOKEN), (1..=3_u64).prop_map(|n| n * SECOND))
}

/// The rule changed that way.
fn changed(rule: Rule, (per_nano, most, shorter): (u32, Units, Nanos)) -> Rule {
    match rule {
        Rule::Bucket { .. } => Rule::Bucket { per_nano, burst: most },
        Rule::Shaper { .. } => Rule::Shaper { per_nano, capacity: usize::try_from(most / TOKEN).unwrap() / 2 },
        // What a shorter period has forgotten a longer one does not bring back.
        Rule::Window { period, .. } => Rule::Window { limit: most, period: period.min(shorter) },
    }
}

fn set(one: &One, rule: Rule) {
    match rule {
        Rule::Bucket { per_nano, burst } => one.set_rate((), rate_of(per_nano), Some(burst), None, |_| ()).fire(),
        Rule::Shaper { per_nano, capacity } => one.set_rate((), rate_of(per_nano), Some(0), Some(capacity), |_| ()).fire(),
        Rule::Window { limit, period } => one.set_window((), limit, Some(period), |_| ()).fire(),
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => amount().prop_map(Step::Try),
        3 => amount().prop_map(Step::Tell),
        2 => amount().prop_map(Step::Pass),
        10 => (0..WAITERS, amount(), prop_oneof![3 => Just(None), 1 => span().prop_map(Some)])
            .prop_map(|(who, n, spinning)| Step::Wait(who, n, spinning)),
        4 => (0..WAITERS).prop_map(Step::Leave),
        2 => amount().prop_map(Step::Refund),
        1 => amount().prop_map(Step::Debit),
        1 => change().prop_map(|(rate, most, period)| Step::Change(rate, most, period)),
        1 => span().prop_map(|span| Step::Pause(span.min(1 << 50))),
        2 => Just(Step::Level),
        2 => amount().prop_map(Step::RetryAfter),
        5 => span().prop_map(Step::Advance),
        5 => (-1..=1_i8).prop_map(Step::Due),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let tokens = (1..=6_u64).prop_map(|n| n * TOKEN);
    prop_oneof![
        3 => (1..=3_u32, tokens.clone()).prop_map(|(per_nano, burst)| Rule::Bucket { per_nano, burst }),
        1 => (1..=3_u32, 0..=3_usize).prop_map(|(per_nano, capacity)| Rule::Shaper { per_nano, capacity }),
        2 => (tokens, 1..=5_u64).prop_map(|(limit, period)| Rule::Window { limit, period: period * SECOND }),
    ]
}

fn make(time: &Time, rule: Rule, debt: Units) -> Arc<One> {
    time.make(match rule {
        Rule::Bucket { per_nano, burst } => Policy::Bucket { rate: rate_of(per_nano), burst, debt },
        Rule::Shaper { per_nano, capacity } => Policy::Spaced { rate: rate_of(per_nano), capacity },
        Rule::Window { limit, period } => Policy::Window { limit, period },
    })
}

fn standing(answer: Answer) -> AcquireState {
    match answer {
        Answer::Goes => AcquireState::Granted,
        Answer::NeverFits => AcquireState::Refused(Refusal::NeverFits),
        Answer::WaitQueueFull(at) => AcquireState::Refused(Refusal::WaitQueueFull(at)),
        Answer::Until(at) => AcquireState::Refused(Refusal::Until(at)),
        Answer::Waits(told) => AcquireState::Waiting(told),
    }
}

proptest! {
    #![proptest_config(cases(3000))]

    /// Trying, waiting, leaving with or without a grant, refunds, debits, changes and pauses: every answer, every moment and every level is
    /// the model's, which strikes out what is taken back. And no waiter sleeps past a moment that has come, or is to come.
    #[test]
    fn a_limiter_is_its_model(
        rule in rule(),
        spent in 0..=1_u64,
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let time = Time::new();
        let debt = if let Rule::Bucket { burst, .. } = rule { burst * spent } else { 0 };
        let one = make(&time, rule, debt);
        let mut model = Model::new(rule, debt);
        let mut callers: Vec<(Caller, Units)> = (0..WAITERS).map(|_| Default::default()).collect();
        let mut admitted = 0;
        for step in steps {
            let mut now = time.now();
            match step {
                Step::Advance(by) => {
                    if now.saturating_add(by) < 1 << 60 {
                        time.reach(now + by);
                    }
                    continue;
                }
                Step::Due(beside) => {
                    if let Some(due) = model.due() {
                        time.reach(due.saturating_add_signed(beside.into()));
                    }
                    now = time.now();
                    model.settle(now);
                    prop_assert_eq!(level(&one), model.level(now));
                }
                _ => model.settle(now),
            }
            match step {
                Step::Advance(_) | Step::Due(_) => {}
                Step::Try(n) => {
                    let expected = if n > model.largest() { Err(Refusal::NeverFits) } else { Ok(model.try_now(n, now)) };
                    admitted += u64::from(expected == Ok(true));
                    prop_assert_eq!(try_acquire(&one, n), expected);
                }
                Step::Tell(n) => {
                    let expected = if n > model.largest() {
                        Err(Refusal::NeverFits)
                    } else if model.try_now(n, now) {
                        admitted += 1;
                        Ok(None)
                    } else {
                        Ok(Some(model.foresee(n, now) - now))
                    };
                    let (wakes, told) = one.try_or_tell((), n);
                    wakes.fire();
                    match (told, expected) {
                        // Of waiters who have left meanwhile it may still count some.
                        (Ok(Some(told)), Ok(Some(expected))) => prop_assert!(told >= expected, "{told} is less than {expected}"),
                        (told, expected) => prop_assert_eq!(told, expected),
                    }
                }
                Step::Pass(n) => {
                    // On the fast path, if that is open: nothing is settled then, and nobody waits.
                    match one.pass((), n) {
                        Some(goes) => {
                            prop_assert_eq!(goes, model.try_now(n, now));
                            admitted += u64::from(goes);
                        }
                        None => continue,
                    }
                }
                Step::Wait(who, n, spinning) => {
                    let (caller, wanted) = &mut callers[who];
                    let expected = if caller.waits() {
                        model.look(who)
                    } else {
                        *wanted = n;
                        model.arrive(who, n, spinning.map(|spinning| now + spinning), now)
                    };
                    admitted += u64::from(expected == Answer::Goes);
                    prop_assert_eq!(caller.look(&one, *wanted, spinning.map(|spinning| now + spinning)), standing(expected));
                }
                Step::Leave(who) => {
                    let (caller, _) = &mut callers[who];
                    if !caller.waits() {
                        continue;
                    }
                    model.leave(who, now);
                    one.leave((), &mut caller.waiter).fire();
                }
                // Whose amount that was, of those who went at one moment, a window does not know.
                Step::Refund(_) if matches!(rule, Rule::Window { .. }) && model.someone_is_on_its_way() => continue,
                Step::Refund(n) => {
                    model.refund(n, now);
                    one.refund((), n).fire();
                }
                Step::Debit(n) => {
                    model.debit(n, now);
                    let (wakes, done) = one.debit((), n);
                    wakes.fire();
                    prop_assert_eq!(done, Ok(()));
                }
                Step::Change(rate, most, period) => {
                    let rule = changed(model.rule(), (rate, most, period));
                    model.set(rule, now);
                    set(&one, rule);
                }
                Step::Pause(pause) => {
                    model.paused_until = model.paused_until.max(now + pause);
                    one.pause((), pause).fire();
                }
                Step::Level => prop_assert_eq!(level(&one), model.level(now)),
                Step::RetryAfter(n) => {
                    let expected = if n > model.largest() { Err(Refusal::NeverFits) } else { Ok(model.foresee(n, now) - now) };
                    prop_assert_eq!(retry_after(&one, n), expected);
                }
            }
            for (who, (caller, _)) in callers.iter().enumerate().filter(|(_, (caller, _))| caller.waits()) {
                prop_assert!(!model.has_been_called(who) || caller.parker.is_notified(), "{} is not told", who);
            }
            if let Some(due) = model.due() {
                prop_assert!(callers.iter().any(|(caller, _)| caller.comes_by(due)), "nobody comes at {due}");
            }
        }
        for (caller, _) in &mut callers {
            one.leave((), &mut caller.waiter).fire();
        }
        let (wakes, seen) = one.statistics(());
        wakes.fire();
        prop_assert_eq!((seen.waiters, seen.admitted), (0, admitted));
        time.reach(1 << 61);
        prop_assert_eq!(level(&one), full(model.rule()).into());
    }
}

// -------------------------------------------------------------------------------------------------- one limiter, with bookings

#[derive(Clone, Copy, Debug)]
enum Order {
    Try(Units),
    /// The same, for a grant that is settled later.
    Permit(Units),
    Reserve(Units),
    /// One of the last bookings, counted from the end.
    Cancel(usize),
    /// The same, with what it came to.
    Adjust(usize, Units),
    Wait(usize, Units),
    Leave(usize),
    Refund(Units),
    Debit(Units),
    Change(u32, Units, Nanos),
    Pause(Nanos),
    /// Comes exactly when it is told to, and a nanosecond before.
    Probe(Units),
    Advance(Nanos),
}

fn short() -> impl Strategy<Value = Nanos> {
    prop_oneof![2 => Just(0), 4 => (1..=8_u64).prop_map(|n| n * SECOND / 2), 2 => 0..4 * SECOND, 1 => Just(20 * SECOND)]
}

/// What a booking came to.
fn actual() -> impl Strategy<Value = Units> {
    prop_oneof![1 => Just(0), 1 => amount()]
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        3 => amount().prop_map(Order::Try),
        2 => amount().prop_map(Order::Permit),
        6 => amount().prop_map(Order::Reserve),
        5 => (0..6_usize).prop_map(Order::Cancel),
        3 => (0..6_usize, actual()).prop_map(|(back, actual)| Order::Adjust(back, actual)),
        4 => (0..WAITERS, amount()).prop_map(|(who, n)| Order::Wait(who, n)),
        2 => (0..WAITERS).prop_map(Order::Leave),
        1 => amount().prop_map(Order::Refund),
        1 => amount().prop_map(Order::Debit),
        1 => change().prop_map(|(rate, most, period)| Order::Change(rate, most, period)),
        1 => short().prop_map(Order::Pause),
        2 => amount().prop_map(Order::Probe),
        4 => short().prop_map(Order::Advance),
    ]
}

fn full(rule: Rule) -> Units {
    if matches!(rule, Rule::Shaper { .. }) { TOKEN } else { largest(rule) }
}

fn largest(rule: Rule) -> Units {
    match rule {
        Rule::Bucket { burst, .. } => burst,
        Rule::Shaper { .. } => Units::MAX,
        Rule::Window { limit, .. } => limit,
    }
}

/// A limiter, those who wait for it, and what has been let go. The clock never runs past a moment at which somebody is to be granted,
/// so each grant's moment is known.
struct Scene {
    time: Time,
    one: Arc<One>,
    ledger: Ledger,
    callers: Vec<(Caller, Units)>,
    /// With its place in the ledger.
    bookings: Vec<(Booking, usize)>,
    refunded: bool,
}

impl Scene {
    fn new(rule: Rule) -> Self {
        let time = Time::new();
        let one = make(&time, rule, 0);
        let callers = (0..WAITERS).map(|_| Default::default()).collect();
        Self { time, one, ledger: Ledger::new(rule), callers, bookings: Vec::new(), refunded: false }
    }

    /// Every waiter looks, and those that have been granted something go.
    fn all_look(&mut self) {
        let now = self.time.now();
        for (caller, wants) in self.callers.iter_mut().filter(|(caller, _)| caller.waits()) {
            if caller.look(&self.one, *wants, None) == AcquireState::Granted {
                let booking = caller.waiter.take_booking().expect("a grant is left in the waiter");
                assert_eq!((booking.at, booking.units), (now, *wants));
                self.bookings.push((booking, self.ledger.grant(*wants, now)));
            }
        }
    }

    fn due(&self) -> Option<Nanos> {
        self.callers.iter().filter(|(caller, _)| caller.waits()).filter_map(|(caller, _)| caller.told).min()
    }

    /// To that moment, stopping wherever a waiter is due.
    fn reach(&mut self, moment: Nanos) {
        self.all_look();
        while let Some(due) = self.due().filter(|due| *due <= moment) {
            self.time.reach(due);
            self.all_look();
        }
        self.time.reach(moment);
    }

    fn do_one(&mut self, order: Order) -> Result<(), TestCaseError> {
        self.all_look();
        let now = self.time.now();
        match order {
            Order::Advance(by) => self.reach(now + by),
            Order::Try(n) => {
                if try_acquire(&self.one, n) == Ok(true) {
                    prop_assert!(self.callers.iter().all(|(caller, _)| !caller.waits() || caller.parker.is_notified()));
                    self.ledger.grant(n, now);
                }
            }
            Order::Permit(n) => {
                if let Ok(Some(booking)) = try_book(&self.one, n) {
                    prop_assert!(self.callers.iter().all(|(caller, _)| !caller.waits() || caller.parker.is_notified()));
                    prop_assert_eq!((booking.at, booking.units), (now, n));
                    self.bookings.push((booking, self.ledger.grant(n, now)));
                }
            }
            Order::Reserve(n) => match (retry_after(&self.one, n), reserve(&self.one, n, None)) {
                (foreseen, Ok(booking)) => {
                    prop_assert_eq!(foreseen, Ok(booking.at - now));
                    let due = self.due();
                    self.all_look();
                    prop_assert_eq!(self.due(), due, "those in line came before it");
                    self.bookings.push((booking, self.ledger.grant(n, booking.at)));
                }
                (_, Err(Refusal::NeverFits)) => prop_assert!(n > largest(self.ledger.rule())),
                (_, Err(refusal)) => prop_assert!(matches!(refusal, Refusal::WaitQueueFull(_))),
            },
            Order::Cancel(back) => {
                if let Some(index) = self.bookings.len().checked_sub(back + 1) {
                    let (booking, entry) = self.bookings.remove(index);
                    let returned = cancel(&self.one, booking);
                    prop_assert!(returned <= booking.units);
                    if booking.at > now || returned > 0 {
                        self.ledger.strike(entry);
                    }
                    if booking.at < now {
                        prop_assert_eq!(returned, 0);
                    }
                }
            }
            Order::Adjust(back, actual) => {
                if let Some(index) = self.bookings.len().checked_sub(back + 1) {
                    let (booking, entry) = self.bookings.remove(index);
                    let (wakes, done) = self.one.adjust((), booking, actual);
                    wakes.fire();
                    prop_assert!(done.is_ok_and(|returned| returned <= booking.units.saturating_sub(actual)));
                    // Long after its moment too: it counts as what it came to, in the windows in which it was let go.
                    self.ledger.lessen(entry, actual.min(booking.units));
                }
            }
            Order::Wait(who, n) => {
                let (caller, wants) = &mut self.callers[who];
                if !caller.waits() {
                    *wants = n;
                    if caller.look(&self.one, n, None) == AcquireState::Granted {
                        let booking = caller.waiter.take_booking().expect("a grant is left in the waiter");
                        self.bookings.push((booking, self.ledger.grant(n, now)));
                    }
                }
            }
            Order::Leave(who) => self.one.leave((), &mut self.callers[who].0.waiter).fire(),
            Order::Refund(n) => {
                self.refunded = true;
                self.ledger.refund(n, now);
                self.one.refund((), n).fire();
            }
            Order::Debit(n) => {
                let (wakes, done) = self.one.debit((), n);
                wakes.fire();
                prop_assert_eq!(done, Ok(()));
            }
            Order::Change(rate, most, period) => {
                let rule = changed(self.ledger.rule(), (rate, most, period));
                self.ledger.change(rule, now);
                set(&self.one, rule);
            }
            Order::Pause(pause) => self.one.pause((), pause).fire(),
            Order::Probe(n) => match retry_after(&self.one, n) {
                Err(refusal) => prop_assert_eq!(refusal, Refusal::NeverFits),
                Ok(0) => {
                    prop_assert_eq!(try_acquire(&self.one, n), Ok(true));
                    self.ledger.grant(n, now);
                }
                Ok(wait) => {
                    self.reach(now + wait - 1);
                    prop_assert_eq!(try_acquire(&self.one, n), Ok(false), "a nanosecond before {}", now + wait);
                    self.reach(now + wait);
                    prop_assert_eq!(try_acquire(&self.one, n), Ok(true), "at {}", now + wait);
                    self.ledger.grant(n, now + wait);
                }
            },
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), TestCaseError> {
        self.all_look();
        for (caller, _) in &mut self.callers {
            self.one.leave((), &mut caller.waiter).fire();
        }
        self.reach(self.time.now() + 100_000 * SECOND);
        let full = full(self.ledger.rule());
        prop_assert_eq!(level(&self.one), full.into());
        prop_assert_eq!(retry_after(&self.one, full), Ok(0));
        if self.refunded && matches!(self.ledger.rule(), Rule::Shaper { .. }) {
            return Ok(()); // a shaper's law is about neighbours, and a refund is nobody's
        }
        self.ledger.check().map_err(TestCaseError::fail)
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    /// With bookings made, kept and cancelled in any order, in, before and behind the line: never more than the law in any window, moments
    /// that are true to the nanosecond, and in the end a full bucket.
    #[test]
    fn the_law_holds_with_bookings(rule in rule(), orders in proptest::collection::vec(order(), 0..50)) {
        let mut scene = Scene::new(rule);
        for order in orders {
            scene.do_one(order)?;
        }
        scene.end()?;
    }
}

/// golang.org/x/time/rate, line by line, with one unit a nanosecond and in whole numbers. Two lines are mended: what was booked later is
/// never less than nothing, and once the last booking is cancelled the one before it is the last.
struct XTimeRate {
    burst: i128,
    tokens: i128,
    last: i128,
    last_event: i128,
}

impl XTimeRate {
    fn advance(&self, now: i128) -> i128 {
        self.burst.min(self.tokens + now - self.last)
    }

    /// When to act.
    fn reserve(&mut self, n: i128, now: i128) -> i128 {
        self.tokens = self.advance(now) - n;
        self.last = now;
        self.last_event = now + (-self.tokens).max(0);
        self.last_event
    }

    fn allow(&mut self, n: i128, now: i128) -> bool {
        let goes = self.advance(now) >= n;
        if goes {
            self.reserve(n, now);
        }
        goes
    }

    /// How much came back.
    fn cancel(&mut self, n: i128, act_at: i128, now: i128) -> i128 {
        let restored = (n - (self.last_event - act_at).max(0)).max(0);
        if act_at < now || restored == 0 {
            return 0;
        }
        self.tokens = self.burst.min(self.advance(now) + restored);
        self.last = now;
        if act_at == self.last_event {
            self.last_event = now.max(act_at - n);
        }
        restored
    }
}

proptest! {
    #![proptest_config(cases(3000))]

    /// Bookings and their cancellation are those of golang.org/x/time/rate, up to the first that is cancelled from before another: from
    /// there on that package's one number for "the last event" no longer says what was booked after what.
    #[test]
    fn bookings_are_those_of_x_time_rate(
        burst in 1..=8_u64,
        orders in proptest::collection::vec(order(), 0..40),
    ) {
        let time = Time::new();
        let one = make(&time, Rule::Bucket { per_nano: 1, burst: burst * TOKEN }, 0);
        let mut theirs = XTimeRate { burst: (burst * TOKEN).into(), tokens: (burst * TOKEN).into(), last: 0, last_event: 0 };
        let mut bookings: Vec<Booking> = Vec::new();
        let mut over = false;
        for order in orders {
            let now = time.now();
            match order {
                Order::Try(n) if n <= burst * TOKEN => prop_assert_eq!(try_acquire(&one, n), Ok(theirs.allow(n.into(), now.into()))),
                Order::Reserve(n) if n <= burst * TOKEN => {
                    let booking = reserve(&one, n, None).unwrap();
                    prop_assert_eq!(i128::from(booking.at), theirs.reserve(n.into(), now.into()));
                    bookings.push(booking);
                }
                Order::Cancel(back) => {
                    if let Some(index) = bookings.len().checked_sub(back + 1) {
                        let booking = bookings.remove(index);
                        over = i128::from(booking.at) != theirs.last_event;
                        let expected = theirs.cancel(booking.units.into(), booking.at.into(), now.into());
                        prop_assert_eq!(i128::from(cancel(&one, booking)), expected);
                    }
                }
                Order::Advance(by) => time.reach(now + by),
                _ => {}
            }
            prop_assert_eq!(level(&one), theirs.advance(time.now().into()));
            if over {
                break;
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------- sets

/// What happens to a set of two, and to its members by themselves.
#[derive(Clone, Debug)]
enum Deed {
    Try([Units; 2]),
    Wait(usize, [Units; 2]),
    Leave(usize),
    TryMember(usize, Units),
    Refund(usize, Units),
    Change(usize, u32, Units, Nanos),
    Advance(Nanos),
    Due(i8),
    Level(usize),
}

fn amounts() -> impl Strategy<Value = [Units; 2]> {
    let each = || prop_oneof![1 => Just(0), 6 => amount()];
    (each(), each()).prop_map(|(one, two)| if one + two == 0 { [TOKEN, 0] } else { [one, two] })
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => amounts().prop_map(Deed::Try),
        8 => (0..WAITERS, amounts()).prop_map(|(who, amounts)| Deed::Wait(who, amounts)),
        3 => (0..WAITERS).prop_map(Deed::Leave),
        4 => (0..2_usize, amount()).prop_map(|(member, n)| Deed::TryMember(member, n)),
        1 => (0..2_usize, amount()).prop_map(|(member, n)| Deed::Refund(member, n)),
        1 => (0..2_usize, change()).prop_map(|(member, (rate, most, period))| Deed::Change(member, rate, most, period)),
        4 => short().prop_map(Deed::Advance),
        4 => (-1..=1_i8).prop_map(Deed::Due),
        2 => (0..2_usize).prop_map(Deed::Level),
    ]
}

proptest! {
    #![proptest_config(cases(2000))]

    /// A set among callers of its members: all or none, in order, at the first moment that all members allow; whoever leaves, called or
    /// not, leaves no trace in any member; and what is promised to the head nobody else gets.
    #[test]
    fn a_set_is_its_model(one in rule(), two in rule(), deeds in proptest::collection::vec(deed(), 0..60)) {
        let time = Time::new();
        let members = [make(&time, one, 0), make(&time, two, 0)];
        let set = time.set(&[&members[0], &members[1]]);
        let mut model = SetModel::new([one, two]);
        let mut callers: Vec<(Caller, [Units; 2])> = (0..WAITERS).map(|_| Default::default()).collect();
        let mut admitted = 0;
        // What a timekeeper does.
        let look_round = || set.retry_after((), &[1, 1]).0.fire();
        let reach = |model: &mut SetModel, moment: Nanos| {
            while let Some(due) = model.due().filter(|due| *due <= moment) {
                time.reach(due);
                model.settle(due);
                look_round();
            }
            time.reach(moment);
        };
        for deed in deeds {
            let now = time.now();
            match deed {
                Deed::Advance(by) => reach(&mut model, now + by),
                Deed::Due(beside) => {
                    if let Some(due) = model.due() {
                        reach(&mut model, due.saturating_add_signed(beside.into()).max(now));
                    }
                }
                Deed::Try(amounts) => {
                    let expected = if model.never_fits(amounts) { Err(Refusal::NeverFits) } else { Ok(model.try_now(amounts, now)) };
                    admitted += u64::from(expected == Ok(true));
                    let (wakes, goes) = set.try_acquire((), &amounts, false);
                    wakes.fire();
                    prop_assert_eq!(goes.map_err(plain), expected);
                }
                Deed::Wait(who, wanted) => {
                    let (caller, amounts) = &mut callers[who];
                    let expected = if caller.waits() {
                        model.look(who)
                    } else {
                        *amounts = wanted;
                        model.arrive(who, wanted, now)
                    };
                    admitted += u64::from(expected == Answer::Goes);
                    prop_assert_eq!(caller.look_each(&set, amounts), standing(expected));
                }
                Deed::Leave(who) => {
                    let (caller, _) = &mut callers[who];
                    if !caller.waits() {
                        continue;
                    }
                    model.leave(who, now);
                    set.leave((), &mut caller.waiter).fire();
                }
                Deed::TryMember(index, n) => {
                    let never = n > model.members[index].largest();
                    let expected = if never { Err(Refusal::NeverFits) } else { Ok(model.try_member(index, n, now)) };
                    prop_assert_eq!(try_acquire(&members[index], n), expected);
                }
                Deed::Refund(index, n) => {
                    if matches!(model.members[index].rule(), Rule::Window { .. }) && model.someone_is_on_its_way() {
                        continue;
                    }
                    model.members[index].refund(n, now);
                    model.changed(now);
                    members[index].refund((), n).fire();
                }
                Deed::Change(index, rate, most, period) => {
                    let rule = changed(model.members[index].rule(), (rate, most, period));
                    model.members[index].set(rule, now);
                    model.changed(now);
                    self::set(&members[index], rule);
                }
                Deed::Level(index) => prop_assert_eq!(level(&members[index]), model.level(index, now)),
            }
            for (who, (caller, _)) in callers.iter().enumerate().filter(|(_, (caller, _))| caller.waits()) {
                prop_assert!(!model.has_been_called(who) || caller.parker.is_notified(), "{} is not told", who);
            }
            if let Some(due) = model.due() {
                prop_assert!(callers.iter().any(|(caller, _)| caller.comes_by(due)), "nobody comes at {due}");
            }
        }
        for (who, (caller, _)) in callers.iter_mut().enumerate().filter(|(_, (caller, _))| caller.waits()) {
            model.leave(who, time.now());
            set.leave((), &mut caller.waiter).fire();
        }
        let (wakes, seen) = set.statistics(());
        wakes.fire();
        prop_assert_eq!((seen.waiters, seen.admitted), (0, admitted));
        for (member, model) in members.iter().zip(&model.members) {
            prop_assert_eq!(level(member), model.level(time.now()));
        }
    }
}

/// Two sets that share members, and callers of the members: whom an operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Set(usize),
    Member(usize),
}

/// Which members each set has, in its order.
const SETS: [[usize; 2]; 2] = [[0, 1], [1, 0]];
const CROWD: usize = 6;

#[derive(Clone, Copy, Debug)]
enum Act {
    Try(Target, [Units; 2]),
    Wait(usize, Target, [Units; 2]),
    Leave(usize),
    Reserve(Target, [Units; 2]),
    Cancel(usize),
    Settle(usize, [Units; 2]),
    Refund(usize, Units),
    Pause(usize, Nanos),
    Advance(Nanos),
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![3 => (0..2_usize).prop_map(Target::Set), 2 => (0..2_usize).prop_map(Target::Member)]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (target(), amounts()).prop_map(|(target, amounts)| Act::Try(target, amounts)),
        8 => (0..CROWD, target(), amounts()).prop_map(|(who, target, amounts)| Act::Wait(who, target, amounts)),
        3 => (0..CROWD).prop_map(Act::Leave),
        2 => (target(), amounts()).prop_map(|(target, amounts)| Act::Reserve(target, amounts)),
        2 => (0..4_usize).prop_map(Act::Cancel),
        2 => (0..8_usize, [actual(), actual()]).prop_map(|(back, actual)| Act::Settle(back, actual)),
        1 => (0..2_usize, amount()).prop_map(|(member, n)| Act::Refund(member, n)),
        1 => (0..2_usize, short()).prop_map(|(member, pause)| Act::Pause(member, pause)),
        5 => short().prop_map(Act::Advance),
    ]
}

struct Guest {
    caller: Caller,
    target: Target,
    amounts: [Units; 2],
    /// Its place in the order of arrival.
    came: usize,
}

enum Held {
    One(usize, Booking),
    Each(usize, Bookings),
}

struct Crowd {
    time: Time,
    members: [Arc<One>; 2],
    sets: [Arc<rate::Set>; 2],
    ledgers: [Ledger; 2],
    guests: Vec<Guest>,
    held: Vec<(Held, [Option<usize>; 2])>,
    arrivals: usize,
}

impl Crowd {
    fn new(rules: [Rule; 2]) -> Self {
        let time = Time::new();
        let members = rules.map(|rule| make(&time, rule, 0));
        let sets = SETS.map(|each| time.set(&each.map(|index| &members[index])));
        let guest = |_| Guest { caller: Caller::default(), target: Target::Set(0), amounts: [0; 2], came: 0 };
        let guests = (0..CROWD).map(guest).collect();
        Self { time, members, sets, ledgers: rules.map(Ledger::new), guests, held: Vec::new(), arrivals: 0 }
    }

    /// What the target takes of which member.
    fn shares(target: Target, amounts: [Units; 2]) -> impl Iterator<Item = (usize, Units)> {
        let (first, second) = match target {
            Target::Set(index) => ((SETS[index][0], amounts[0]), (SETS[index][1], amounts[1])),
            Target::Member(index) => ((index, amounts[0].max(amounts[1])), (index, 0)),
        };
        [first, second].into_iter().filter(|(_, n)| *n > 0)
    }

    fn grant(&mut self, target: Target, amounts: [Units; 2], at: Nanos) -> [Option<usize>; 2] {
        let mut entries = [None; 2];
        for (index, n) in Self::shares(target, amounts) {
            entries[index] = Some(self.ledgers[index].grant(n, at));
        }
        entries
    }

    fn look(&mut self, who: usize) -> Result<(), TestCaseError> {
        let now = self.time.now();
        let Guest { caller, target, amounts, came } = &mut self.guests[who];
        let (target, amounts, came) = (*target, *amounts, *came);
        let standing = match target {
            Target::Set(index) => caller.look_each(&self.sets[index], &amounts),
            Target::Member(index) => caller.look(&self.members[index], amounts[0].max(amounts[1]), None),
        };
        match standing {
            AcquireState::Waiting(_) => {}
            AcquireState::Refused(refusal) => prop_assert!(matches!(refusal, Refusal::NeverFits | Refusal::WaitQueueFull(_))),
            AcquireState::Granted => {
                let waiter = &mut self.guests[who].caller.waiter;
                let held = match target {
                    Target::Set(index) => waiter.take_bookings().map(|bookings| Held::Each(index, bookings)),
                    Target::Member(index) => waiter.take_booking().map(|booking| Held::One(index, booking)),
                };
                let entries = self.grant(target, amounts, now);
                self.held.push((held.expect("a grant is left in the waiter"), entries));
                let before =
                    self.guests.iter().filter(|guest| guest.caller.waits() && guest.target == target && guest.came < came);
                for guest in before {
                    prop_assert!(guest.caller.parker.is_notified(), "it overtakes");
                }
            }
        }
        Ok(())
    }

    /// Everybody who waits looks, and looks again as long as somebody has been told to.
    fn all_look(&mut self) -> Result<(), TestCaseError> {
        let mut first = true;
        for _ in 0..100 {
            let told: Vec<usize> = (0..CROWD)
                .filter(|who| {
                    let caller = &self.guests[*who].caller;
                    caller.waits() && (first || caller.parker.is_notified())
                })
                .collect();
            if told.is_empty() {
                return Ok(());
            }
            first = false;
            for who in told {
                if self.guests[who].caller.waits() {
                    self.look(who)?;
                }
            }
        }
        Err(TestCaseError::fail("they wake each other for ever"))
    }

    fn due(&self) -> Option<Nanos> {
        self.guests.iter().filter(|guest| guest.caller.waits()).filter_map(|guest| guest.caller.told).min()
    }

    fn reach(&mut self, moment: Nanos) -> Result<(), TestCaseError> {
        self.all_look()?;
        while let Some(due) = self.due().filter(|due| *due <= moment) {
            prop_assert!(due > self.time.now(), "told to come at once, for ever");
            self.time.reach(due);
            self.all_look()?;
        }
        self.time.reach(moment);
        Ok(())
    }

    /// One of the last bookings, counted from the end, came to that much.
    fn settle(&mut self, back: usize, actual: [Units; 2]) -> Result<(), TestCaseError> {
        let Some(waiter) = self.held.len().checked_sub(back + 1) else { return Ok(()) };
        let (held, entries) = self.held.remove(waiter);
        let (shares, done): (Vec<_>, _) = match held {
            Held::One(index, booking) => {
                let (wakes, done) = self.members[index].adjust((), booking, actual[0]);
                wakes.fire();
                (vec![(index, booking.units, actual[0])], done.is_ok())
            }
            Held::Each(index, bookings) => {
                let (wakes, done) = self.sets[index].adjust((), &bookings, &actual.map(Some));
                wakes.fire();
                let booked = SETS[index].into_iter().zip(bookings.amounts()).zip(actual);
                (booked.map(|((index, booked), actual)| (index, booked, actual)).collect(), done.is_ok())
            }
        };
        prop_assert!(done);
        for (index, booked, actual) in shares {
            if let Some(entry) = entries[index] {
                self.ledgers[index].lessen(entry, actual.min(booked));
            }
        }
        Ok(())
    }

    fn act(&mut self, act: Act) -> Result<(), TestCaseError> {
        let now = self.time.now();
        match act {
            Act::Advance(by) => self.reach(now + by)?,
            Act::Try(target, amounts) => {
                let held = match target {
                    Target::Set(index) => {
                        let (wakes, bookings) = self.sets[index].try_book((), &amounts, false);
                        wakes.fire();
                        bookings.ok().flatten().map(|bookings| Held::Each(index, bookings))
                    }
                    Target::Member(index) => try_book(&self.members[index], amounts[0].max(amounts[1]))
                        .ok()
                        .flatten()
                        .map(|booking| Held::One(index, booking)),
                };
                if let Some(held) = held {
                    let entries = self.grant(target, amounts, now);
                    self.held.push((held, entries));
                    for guest in self.guests.iter().filter(|guest| guest.caller.waits() && guest.target == target) {
                        prop_assert!(guest.caller.parker.is_notified(), "it overtakes");
                    }
                }
            }
            Act::Wait(who, target, amounts) => {
                let guest = &mut self.guests[who];
                if !guest.caller.waits() {
                    (guest.target, guest.amounts, guest.came) = (target, amounts, self.arrivals);
                    self.arrivals += 1;
                    self.look(who)?;
                }
            }
            Act::Leave(who) => {
                let Guest { caller, target, .. } = &mut self.guests[who];
                match *target {
                    Target::Set(index) => self.sets[index].leave((), &mut caller.waiter).fire(),
                    Target::Member(index) => self.members[index].leave((), &mut caller.waiter).fire(),
                }
            }
            Act::Reserve(target, amounts) => {
                let held = match target {
                    Target::Set(index) => {
                        let (wakes, bookings) = self.sets[index].reserve((), &amounts, None);
                        wakes.fire();
                        bookings.ok().map(|bookings| (bookings.at, Held::Each(index, bookings)))
                    }
                    Target::Member(index) => {
                        let booking = reserve(&self.members[index], amounts[0].max(amounts[1]), None);
                        booking.ok().map(|booking| (booking.at, Held::One(index, booking)))
                    }
                };
                if let Some((at, held)) = held {
                    prop_assert!(at >= now);
                    let entries = self.grant(target, amounts, at);
                    self.held.push((held, entries));
                }
            }
            Act::Cancel(back) => {
                if let Some(waiter) = self.held.len().checked_sub(back + 1) {
                    let (held, entries) = self.held.remove(waiter);
                    let mut returned = [0; 2];
                    let at = match held {
                        Held::One(index, booking) => {
                            returned[index] = cancel(&self.members[index], booking);
                            booking.at
                        }
                        Held::Each(index, bookings) => {
                            let (wakes, each) = self.sets[index].cancel((), &bookings);
                            wakes.fire();
                            SETS[index].into_iter().zip(each).for_each(|(index, n)| returned[index] = n);
                            bookings.at
                        }
                    };
                    for index in 0..2 {
                        if let Some(entry) = entries[index].filter(|_| at > now || returned[index] > 0) {
                            self.ledgers[index].strike(entry);
                        }
                    }
                }
            }
            Act::Settle(back, actual) => self.settle(back, actual)?,
            // A shaper's law is about neighbours, and a refund is nobody's.
            Act::Refund(index, _) if matches!(self.ledgers[index].rule(), Rule::Shaper { .. }) => {}
            Act::Refund(index, n) => {
                self.ledgers[index].refund(n, now);
                self.members[index].refund((), n).fire();
            }
            Act::Pause(index, pause) => {
                self.members[index].pause((), pause).fire();
            }
        }
        self.all_look()
    }

    fn end(mut self) -> Result<(), TestCaseError> {
        for _ in 0..200 {
            self.all_look()?;
            if !self.guests.iter().any(|guest| guest.caller.waits()) {
                break;
            }
            let due = self.due();
            prop_assert!(due.is_some(), "somebody waits, and nobody comes");
            self.reach(due.unwrap())?;
        }
        prop_assert!(!self.guests.iter().any(|guest| guest.caller.waits()), "they wait for ever");
        self.reach(self.time.now() + 100_000 * SECOND)?;
        for (member, ledger) in self.members.iter().zip(&self.ledgers) {
            let full = full(ledger.rule());
            prop_assert_eq!(level(member), full.into());
            prop_assert_eq!(retry_after(member, full), Ok(0));
            ledger.check().map_err(TestCaseError::fail)?;
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    /// Two sets that share their members with each other and with callers of their own: everybody is served in the end, each line in its
    /// order, no member lets through more than its law, and nothing is lost.
    #[test]
    fn a_crowd_is_served(one in rule(), two in rule(), acts in proptest::collection::vec(act(), 0..50)) {
        let mut crowd = Crowd::new([one, two]);
        for act in acts {
            crowd.act(act)?;
        }
        crowd.end()?;
    }
}
