//! Random schedules against plain models: the law on the moments of grants, first come first served, nothing lost.
//!
//! Rates are whole units a nanosecond here, so that a model need not round, and every answer has to be exact. What rounding does is looked
//! at by itself, at the end.
#![cfg(not(loom))]

mod rate;

use std::sync::Arc;

use penstock_core::clock::Nanos;
use penstock_core::rate::{Law, Refusal, Standing, Units};
use proptest::prelude::*;

use rate::model::{Answer, Model, Rule};
use rate::{One, SECOND, TOKEN, Time, Waiter, level, pace, retry_after, try_acquire};

const WAITERS: usize = 4;

// ------------------------------------------------------------------------------------------- one limiter, without bookings

#[derive(Clone, Debug)]
enum Step {
    Try(Units),
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

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => amount().prop_map(Step::Try),
        2 => amount().prop_map(Step::Pass),
        10 => (0..WAITERS, amount(), prop_oneof![3 => Just(None), 1 => span().prop_map(Some)])
            .prop_map(|(who, n, patience)| Step::Wait(who, n, patience)),
        4 => (0..WAITERS).prop_map(Step::Leave),
        2 => amount().prop_map(Step::Refund),
        1 => amount().prop_map(Step::Debit),
        1 => (1..=3_u32, (1..=8_u64).prop_map(|n| n * TOKEN), 1..=3_u64).prop_map(|(rate, burst, period)| Step::Change(rate, burst, period * SECOND)),
        1 => span().prop_filter("for ever", |span| *span < 1 << 50).prop_map(Step::Pause),
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
        Rule::Bucket { per_nano, burst } => Law::Bucket { pace: pace(per_nano), burst, debt },
        Rule::Shaper { per_nano, capacity } => Law::Spaced { pace: pace(per_nano), capacity },
        Rule::Window { limit, period } => Law::Window { limit, period },
    })
}

fn standing(answer: Answer) -> Standing {
    match answer {
        Answer::Goes => Standing::Granted,
        Answer::NeverFits => Standing::Refused(Refusal::NeverFits),
        Answer::LineFull(at) => Standing::Refused(Refusal::LineFull(at)),
        Answer::Until(at) => Standing::Refused(Refusal::Until(at)),
        Answer::Waits(told) => Standing::Waiting(told),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Trying, waiting, leaving with or without a grant, refunds, debits, changes and pauses: every answer, every moment and every level is
    /// the model's, which strikes out what is taken back. And nobody in line sleeps beside a moment that has come, or is to come.
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
        let mut waiters: Vec<(Waiter, Units)> = (0..WAITERS).map(|_| Default::default()).collect();
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
                Step::Pass(n) => {
                    // At the gate, if that is open: nothing is settled then, and nobody waits.
                    match one.pass((), n) {
                        Some(goes) => {
                            prop_assert_eq!(goes, model.try_now(n, now));
                            admitted += u64::from(goes);
                        }
                        None => continue,
                    }
                }
                Step::Wait(who, n, patience) => {
                    let (waiter, wanted) = &mut waiters[who];
                    let expected = if waiter.waits() {
                        model.look(who)
                    } else {
                        *wanted = n;
                        model.arrive(who, n, patience.map(|patience| now + patience), now)
                    };
                    admitted += u64::from(expected == Answer::Goes);
                    prop_assert_eq!(waiter.look(&one, *wanted, patience.map(|patience| now + patience)), standing(expected));
                }
                Step::Leave(who) => {
                    let (waiter, _) = &mut waiters[who];
                    if !waiter.waits() {
                        continue;
                    }
                    model.leave(who, now);
                    one.leave((), &mut waiter.place).fire();
                }
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
                Step::Change(per_nano, burst, shorter) => match model.rule() {
                    Rule::Bucket { .. } => {
                        model.set(Rule::Bucket { per_nano, burst }, now);
                        one.set_pace((), pace(per_nano), burst, None).fire();
                    }
                    Rule::Shaper { .. } => {
                        let capacity = usize::try_from(burst / TOKEN).unwrap() / 2;
                        model.set(Rule::Shaper { per_nano, capacity }, now);
                        one.set_pace((), pace(per_nano), 0, Some(capacity)).fire();
                    }
                    // What a shorter period has forgotten a longer one does not bring back.
                    Rule::Window { period, .. } => {
                        let period = period.min(shorter);
                        model.set(Rule::Window { limit: burst, period }, now);
                        one.set_window((), burst, period).fire();
                    }
                },
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
            for (who, (waiter, _)) in waiters.iter().enumerate().filter(|(_, (waiter, _))| waiter.waits()) {
                prop_assert!(!model.has_been_called(who) || waiter.parker.is_notified(), "{} is not told", who);
            }
            if let Some(due) = model.due() {
                prop_assert!(waiters.iter().any(|(waiter, _)| waiter.comes_by(due)), "nobody comes at {due}");
            }
        }
        for (waiter, _) in &mut waiters {
            one.leave((), &mut waiter.place).fire();
        }
        let (wakes, seen) = one.statistics(());
        wakes.fire();
        prop_assert_eq!((seen.waiters, seen.admitted), (0, admitted));
        time.reach(1 << 61);
        let full = match model.rule() {
            Rule::Bucket { burst, .. } => burst,
            Rule::Shaper { .. } => TOKEN,
            Rule::Window { limit, .. } => limit,
        };
        prop_assert_eq!(level(&one), full.into());
    }
}
