//! What grows by as much as its users decide, when the allocator has nothing left: a refusal, and nothing has changed. And how much one call
//! asks the allocator for: so much it may have to copy before others can go on.
#![cfg(not(loom))]
#![allow(unsafe_code)] // an allocator

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use sluicegate_core::breaker::{Breaker, Outcome, Rules};
use sluicegate_core::broadcast::{Broadcast, Overflow, SubscribeError};
use sluicegate_core::buffer::{Fair, Fifo, Keyed as KeyedItem};
use sluicegate_core::clock::{Clock, Manual};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::queue::{Admission, LateItems, NotLater, PutError, Queue, Terms as ItemTerms};
use sluicegate_core::rate::{
    AcquireState, BucketLaw, Keyed, Law, LimitSet, Limiter, Policy, Rate, Refusal, Scale, Terms, Waiter, WindowLaw,
};
use sluicegate_core::section::Threads;
use sluicegate_core::semaphore;
use sluicegate_core::wait::{Parker, Wakes};

type Waker = Arc<Parker>;

/// The system's allocator, until a thread asks for no more.
struct Failing;

thread_local! {
    /// How many more requests of this thread are granted.
    static GRANTED: Cell<u64> = const { Cell::new(u64::MAX) };
    /// The size from which on no request of this thread is granted.
    static TOO_LARGE: Cell<usize> = const { Cell::new(usize::MAX) };
    /// How many bytes this thread has asked for.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

impl Failing {
    fn grants(size: usize) -> bool {
        ASKED.set(ASKED.get() + size);
        if size >= TOO_LARGE.get() {
            return false;
        }
        match GRANTED.get() {
            u64::MAX => true,
            0 => false,
            left => {
                GRANTED.set(left - 1);
                true
            }
        }
    }
}

// SAFETY: what it returns is the system's, or null, which says that there is no memory.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if Self::grants(layout.size()) { unsafe { System.alloc(layout) } } else { std::ptr::null_mut() }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        if Self::grants(size) { unsafe { System.realloc(memory, layout, size) } } else { std::ptr::null_mut() }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Makes the call, of whose requests for memory the first `granted` are met.
fn with_memory_for<R>(granted: u64, call: impl FnOnce() -> R) -> R {
    GRANTED.set(granted);
    let result = call();
    GRANTED.set(u64::MAX);
    result
}

/// Makes the call, of whose requests for memory those for less than `too_large` bytes are met.
fn with_blocks_below<R>(too_large: usize, call: impl FnOnce() -> R) -> R {
    TOO_LARGE.set(too_large);
    let result = call();
    TOO_LARGE.set(usize::MAX);
    result
}

fn asks<R>(call: impl FnOnce() -> R) -> (usize, R) {
    let before = ASKED.get();
    let result = call();
    (ASKED.get() - before, result)
}

const TOKEN: u64 = 1_000_000_000;

/// A well-mixed hash of a number.
fn key(number: u64) -> KeyHash {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    KeyHash::new([number, mixed ^ (mixed >> 27)])
}

fn keyed<L: Law>(law: &L, clock: &Arc<Manual<Waker>>) -> Keyed<Waker, Threads, L> {
    Keyed::new(law, Terms::default(), scale(), 1 << 24, 1, Clock::Manual(Arc::clone(clock)))
}

fn scale() -> Scale {
    Scale::for_largest(1e9).unwrap()
}

fn buckets() -> BucketLaw {
    BucketLaw::new(Rate::new(1e-3, 1.0, scale()).unwrap(), 2 * TOKEN, 0)
}

/// Whichever of its requests for memory fails, a new key is refused, and the keys are as they were; later it is admitted.
fn a_new_key<L: Law>(law: &L) {
    let clock = Arc::new(Manual::new(0));
    let keyed = keyed(law, &clock);
    let mut refused = 0;
    for number in 0..10_000 {
        for granted in 0.. {
            match with_memory_for(granted, || keyed.try_acquire((), key(number), TOKEN)).1 {
                Ok(true) => break,
                Err(Refusal::NoMemory) => refused += 1,
                other => panic!("{other:?}"),
            }
            assert_eq!((keyed.len() as u64, keyed.is_remembered((), key(number))), (number, false));
            assert!(granted < 20);
        }
        clock.advance(1);
    }
    assert!(refused > 20, "{refused}");
    let (left, refilled) = (i128::from(TOKEN), 1_000);
    assert!(
        (0..10_000).all(|number| (left..left + refilled).contains(&keyed.level((), key(number)).1)),
        "what they took is taken"
    );
    // Each is found again when it can be forgotten, in whichever part it is now.
    clock.advance(3_000 * TOKEN);
    for number in 0..10_000 {
        assert_eq!(keyed.try_acquire((), key(10_000 + number), TOKEN).1, Ok(true));
    }
}

#[test]
fn a_new_key_needs_memory_or_is_refused() {
    a_new_key(&buckets());
    a_new_key(&WindowLaw::new(2 * TOKEN, 1_000 * TOKEN));
}

/// With very many keys: a part and its two halves, and a number for every seven hundred keys.
#[test]
fn a_new_key_never_asks_for_much_memory() {
    const KEYS: u64 = 300_000;
    let keyed = keyed(&buckets(), &Arc::new(Manual::new(0)));
    let most = (0..KEYS).map(|number| asks(|| assert_eq!(keyed.try_acquire((), key(number), TOKEN).1, Ok(true))).0).max();
    let (part, parts) = (1024 * 24, KEYS / 350);
    let most = most.unwrap() as u64;
    assert!((part..2 * part + 100 * parts).contains(&most), "{most}");
}

/// The item comes back, and its place is another's.
#[test]
fn an_item_that_has_to_wait_for_the_mutex_needs_memory_or_comes_back() {
    let queue = Queue::<Fifo<u32>, Waker, Threads>::new(Fifo::default(), 1, Clock::Monotonic);
    assert_eq!(queue.try_reserve((), Admission::Immediate), Ok(()));
    queue.lock_mutex((), 1, Some(Fifo::default()), None).0.fire();
    assert_eq!(with_memory_for(0, || queue.fulfil_later((), 7, ItemTerms::NONE)), Err(NotLater::NoMemory(7)));
    let (wakes, late) = queue.unlock_mutex((), 1);
    wakes.fire();
    assert_eq!(late, Ok(LateItems::default()));
    let put = |item| queue.try_put((), item, Admission::Immediate).1;
    assert_eq!([put(8), put(9)], [Ok(()), Err(PutError::Full(9))]);
}

type One = Limiter<Waker, Threads>;

fn limiter(policy: Policy, clock: &Arc<Manual<Waker>>) -> Arc<One> {
    Arc::new(Limiter::new(policy, scale(), Clock::Manual(Arc::clone(clock))))
}

fn bucket(rate: f64, burst: u64, clock: &Arc<Manual<Waker>>) -> Arc<One> {
    limiter(Policy::Bucket { rate: Rate::new(rate, 1.0, scale()).unwrap(), burst, debt: 0 }, clock)
}

/// A bucket that is paused, so that its bookings are kept apart, and a window; both admit a token a second.
fn booked_ahead(clock: &Arc<Manual<Waker>>) -> [Arc<One>; 2] {
    let (bucket, window) = (bucket(1.0, TOKEN, clock), limiter(Policy::Window { limit: TOKEN, period: TOKEN }, clock));
    bucket.pause((), TOKEN).fire();
    window.try_acquire((), TOKEN).1.unwrap();
    [bucket, window]
}

/// Whichever of its requests for memory fails, a booking is refused, and nothing is booked. What is booked needs no memory any more.
#[test]
fn a_booking_needs_memory_or_is_refused() {
    const BOOKINGS: u64 = 1_000;
    let clock = Arc::new(Manual::new(0));
    // A bucket keeps up to 64 marks of what can be given back, in memory of a fixed size.
    for (index, granted_later) in [u64::MAX, 0].into_iter().enumerate() {
        let one = &booked_ahead(&clock)[index];
        let (begin, mut refused, mut booked) = (clock.now(), 0, Vec::new());
        for number in 1..=BOOKINGS {
            for granted in 0.. {
                match with_memory_for(granted, || one.reserve((), TOKEN, None)).1 {
                    Ok(booking) => {
                        booked.push(booking);
                        break;
                    }
                    Err(Refusal::NoMemory) => refused += 1,
                    other => panic!("{other:?}"),
                }
                assert_eq!(one.retry_after((), TOKEN).1, Ok(number * TOKEN), "nothing is booked");
                assert!(granted < 20);
            }
        }
        assert!(refused > 20, "{refused}");
        assert!(booked.iter().zip(1..).all(|(booking, second)| booking.at == begin + second * TOKEN));
        // Some are settled and some are cancelled, and the moments of the others come.
        for (booking, number) in booked.into_iter().zip(0..) {
            with_memory_for(granted_later, || match number % 4 {
                0 => one.adjust((), booking, TOKEN / 2).0.fire(),
                1 => one.cancel((), booking).0.fire(),
                _ => assert!(one.try_acquire((), 1_000 * TOKEN).1 == Err(Refusal::NeverFits)),
            });
        }
        clock.advance(BOOKINGS * TOKEN / 2);
        with_memory_for(granted_later, || one.level(()).0.fire());
        clock.advance(BOOKINGS * TOKEN);
        assert_eq!(with_memory_for(granted_later, || one.level(()).1), i128::from(TOKEN));
    }
}

/// The bookings are computed again in the memory that they have.
#[test]
fn a_new_rate_needs_no_memory() {
    let clock = Arc::new(Manual::new(0));
    let [bucket, window] = booked_ahead(&clock);
    let at = |one: &Arc<One>| (0..200).map(|_| one.reserve((), TOKEN, None).1.unwrap().at).max();
    assert_eq!([at(&bucket), at(&window)], [Some(200 * TOKEN); 2]);
    let faster = Rate::new(2.0, 1.0, scale()).unwrap();
    let (marks, ()) = asks(|| bucket.set_rate((), faster, None, None, |_| ()).fire());
    assert!(marks < 1024, "a bucket marks, in memory of a fixed size, what can be given back: {marks}");
    with_memory_for(0, || window.set_window((), TOKEN, Some(TOKEN / 2), |_| ()).fire());
    // A booking keeps its moment. Between two of them there is room for another now.
    assert_eq!([bucket, window].map(|one| one.retry_after((), TOKEN).1.unwrap() < 3 * TOKEN), [true; 2]);
}

/// To foresee when a newcomer can be admitted after those who wait takes a copy of the schedule. Without memory for it the question is refused,
/// and nothing has changed; those who wait are admitted without memory.
#[test]
fn a_look_behind_the_waiters_needs_memory_or_is_refused() {
    const TAKEN: u64 = 500;
    let clock = Arc::new(Manual::new(0));
    let one = limiter(Policy::Window { limit: TAKEN * TOKEN, period: 1_000 * TOKEN }, &clock);
    for _ in 0..TAKEN {
        clock.advance(TOKEN);
        assert_eq!(one.try_acquire((), TOKEN).1, Ok(true));
    }
    let mut waiters: Vec<Waiter> = (0..100).map(|_| Waiter::default()).collect();
    for waiter in &mut waiters {
        let (wakes, waits) = one.acquire_or_wait((), TOKEN, waiter, &Waker::default(), None);
        wakes.fire();
        assert!(matches!(waits, AcquireState::Waiting(_)));
    }
    let after = Ok(601 * TOKEN);
    let refusals: Vec<_> = (0..20).map(|granted| with_memory_for(granted, || one.retry_after((), TOKEN)).1).collect();
    let lacking = refusals.iter().take_while(|refusal| **refusal == Err(Refusal::NoMemory)).count();
    assert!(lacking > 0 && refusals[lacking..].iter().all(|answer| *answer == after), "{refusals:?}");
    one.leave((), waiters.last_mut().unwrap()).fire(); // so that it has to look anew
    let (mut waiter, waker) = (Waiter::default(), Waker::default());
    let late = with_memory_for(0, || one.acquire_or_wait((), TOKEN, &mut waiter, &waker, Some(0)));
    assert!(matches!(late.1, AcquireState::Refused(Refusal::NoMemory)));
    assert_eq!(one.retry_after((), TOKEN).1, Ok(600 * TOKEN), "it has not joined the line");
}

/// Whether there is memory or not, everybody can let go of a key.
#[test]
fn to_let_go_of_a_key_needs_no_memory() {
    let clock = Arc::new(Manual::new(0));
    let keyed = keyed(&buckets(), &clock);
    let held: Vec<_> = (0..1_000).map(|number| keyed.limiter((), key(number)).1.unwrap()).collect();
    for (limiter, number) in held.into_iter().zip(0..) {
        limiter.try_acquire((), TOKEN).1.unwrap();
        drop(limiter);
        with_memory_for(number % 2 * u64::MAX, || keyed.let_go((), key(number)).fire());
        assert_eq!(keyed.level((), key(number)).1, i128::from(TOKEN));
    }
}

/// The key has no place then, and its place is another's.
#[test]
fn a_new_key_of_a_semaphore_needs_memory_or_is_refused() {
    let keyed = semaphore::Keyed::<Waker, Threads>::new(2, 1_000, 1, Clock::Monotonic);
    let mut refused = 0;
    for number in 0..1_000 {
        for granted in 0.. {
            match with_memory_for(granted, || keyed.try_acquire((), key(number), 1)) {
                Ok(()) => break,
                Err(semaphore::AcquireError::NoMemory) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
            assert_eq!(keyed.statistics_of_all(()).keys as u64, number);
            assert!(granted < 20);
        }
    }
    assert!(refused > 1_000, "{refused}");
    assert_eq!(keyed.try_acquire((), key(1_000), 1), Err(semaphore::AcquireError::Busy));
    assert_eq!(keyed.statistics_of_all(()).held, 1_000);
}

/// Without memory for more results the window of a breaker stays as long as it is.
#[test]
fn a_breaker_needs_no_memory_for_a_result() {
    let rules = Rules {
        failure_rate: 0.5,
        window: TOKEN,
        min_calls: 8,
        run: None,
        slow_after: None,
        slow_rate: 1.0,
        open_for: TOKEN,
        open_for_max: TOKEN,
        probes: 1,
        probe_timeout: TOKEN,
        calls: Some(1_000_000),
        metrics_only: false,
    };
    let breaker = Breaker::<Waker, Threads>::new(rules, Clock::Monotonic);
    let call = |outcome| breaker.finish((), breaker.admit(()).0.unwrap(), outcome).is_some();
    assert!((0..8).all(|_| !call(Outcome::Success)));
    let failure = Outcome::Failure { retry_after: None };
    let opens = with_memory_for(0, || [failure; 4].map(call));
    assert_eq!(opens, [false, false, false, true], "half of the last eight have failed");
}

/// No object of fixed size and no block of a list is this large; a vector of `MANY` entries is.
const LARGE: usize = 2048;
const MANY: u32 = 10_000;

fn told(parkers: &[Waker]) -> usize {
    parkers.iter().filter(|parker| parker.is_notified()).count()
}

/// Those who wait cannot be told that there is no memory to wake them with: whoever shuts down wakes all of them in small blocks.
#[test]
fn to_wake_many_takes_no_large_block() {
    let queue = Queue::<Fifo<u32>, Waker, Threads>::new(Fifo::default(), 1, Clock::Monotonic);
    let parkers: Vec<Waker> = (0..MANY).map(|_| Waker::default()).collect();
    let mut waiters: Vec<_> = (0..MANY).map(|_| sluicegate_core::queue::Waiter::default()).collect();
    for (waiter, parker) in waiters.iter_mut().zip(&parkers) {
        assert!(queue.get_or_wait((), waiter, parker).1.is_err());
    }
    with_blocks_below(LARGE, || queue.shut_down(()).0.fire());
    assert_eq!(told(&parkers), parkers.len());
}

/// The same where they are served and removed together, and where some of them are told.
#[test]
fn to_tell_many_takes_no_large_block() {
    use sluicegate_core::latest::{Latest, Want};
    let latest = Latest::<u32, Waker, Threads>::new(None, (), Clock::Monotonic);
    let parkers: Vec<Waker> = (0..MANY).map(|_| Waker::default()).collect();
    let mut waiters: Vec<_> = (0..MANY).map(|_| sluicegate_core::latest::Waiter::default()).collect();
    for (waiter, parker) in waiters.iter_mut().zip(&parkers) {
        assert!(latest.read_or_wait((), Want::After(0), waiter, parker, |_| ()).1.is_err());
    }
    with_blocks_below(LARGE, || latest.set((), 1).0.fire());
    assert_eq!(told(&parkers), parkers.len());

    let clock = Arc::new(Manual::new(0));
    let window = limiter(Policy::Window { limit: 2 * TOKEN, period: TOKEN }, &clock);
    window.try_acquire((), TOKEN).1.unwrap();
    let parkers: Vec<Waker> = (0..MANY).map(|_| Waker::default()).collect();
    let mut waiters: Vec<Waiter> = (0..MANY).map(|_| Waiter::default()).collect();
    for (waiter, parker) in waiters.iter_mut().zip(&parkers) {
        window.acquire_or_wait((), 2 * TOKEN, waiter, parker, None).0.fire();
    }
    with_blocks_below(LARGE, || window.set_window((), TOKEN, None, |_| ()).fire());
    assert_eq!(told(&parkers), parkers.len(), "each of them asks for too much now");
}

/// A key whose limiter finds no memory is as it was.
#[test]
fn the_limiter_of_a_key_needs_memory_or_is_refused() {
    let keyed = keyed(&buckets(), &Arc::new(Manual::new(0)));
    let size = size_of::<Limiter<Waker, Threads>>();
    for number in 0..100 {
        keyed.try_acquire((), key(number), TOKEN).1.unwrap();
    }
    let limiter = |number, too_large| with_blocks_below(too_large, || keyed.limiter((), key(number)).1.map(drop));
    for number in 0..200 {
        let had = keyed.is_remembered((), key(number));
        assert_eq!(limiter(number, size), Err(Refusal::NoMemory));
        assert_eq!(
            (had, keyed.level((), key(number)).1),
            (keyed.is_remembered((), key(number)), i128::from(if had { TOKEN } else { 2 * TOKEN }))
        );
        assert_eq!(limiter(number, usize::MAX), Ok(()));
    }
}

/// Whichever of its requests fails, there is no new subscriber.
#[test]
fn a_subscriber_needs_memory_or_is_refused() {
    let broadcast = Arc::new(Broadcast::<u32, Waker, Threads, ()>::new((), Clock::Monotonic));
    let (mut all, mut refused) = (Vec::with_capacity(1_000), 0);
    for _ in 0..1_000 {
        for granted in 0.. {
            match with_memory_for(granted, || Broadcast::subscribe(&broadcast, (), 1, Overflow::Block)) {
                Ok(subscription) => {
                    all.push(subscription);
                    break;
                }
                Err(SubscribeError::NoMemory) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
            assert_eq!(broadcast.statistics(()).subscribers, all.len());
        }
    }
    assert!(refused > 1_000, "{refused}");
    assert_eq!(broadcast.try_publish((), 7, false).1.unwrap().subscribers, 1_000);
}

/// The list of the sets that a limiter is a member of; and what is told to all of them.
#[test]
fn a_set_with_a_shared_limiter_needs_memory_or_is_refused() {
    let clock = Arc::new(Manual::new(0));
    let shared = bucket(1.0, TOKEN, &clock);
    let make = |too_large| {
        let members = vec![Arc::clone(&shared), bucket(1.0, TOKEN, &clock)];
        with_blocks_below(too_large, || LimitSet::new((), members, Clock::Manual(Arc::clone(&clock))))
    };
    let mut refused = 0;
    let mut made = || {
        make(LARGE).unwrap_or_else(|_| {
            refused += 1;
            make(usize::MAX).unwrap()
        })
    };
    let sets: Vec<_> = (0..1_000).map(|_| made()).collect();
    assert!(refused > 0);
    with_blocks_below(LARGE, || shared.pause((), TOKEN).fire());
    assert!(sets.iter().all(|set| set.try_acquire((), &[TOKEN; 2], false).1 == Ok(false)));
}

type FairQueue = Queue<Fair<KeyedItem<u32>>, Waker, Threads>;
type PutOne = fn(&FairQueue, KeyedItem<u32>, &mut sluicegate_core::queue::Waiter) -> (Wakes<Waker>, Result<(), Option<u32>>);

/// Each key has a wait queue of its own: without memory for one more the item comes back, and its putter is in no line.
fn new_keys_need_memory(put: PutOne) {
    let queue = FairQueue::new(Fair::new(1, false), usize::MAX, Clock::Monotonic);
    let item = |number: u32| KeyedItem { key: key(number.into()), rank: 0.0, item: number };
    let (mut waiters, mut refused) = (Vec::new(), 0);
    for number in 0..1_000 {
        queue.try_put((), item(number), Admission::Immediate).1.unwrap();
    }
    for number in 0..1_000 {
        let mut waiter = sluicegate_core::queue::Waiter::default();
        let mut put = |too_large| {
            let (wakes, result) = with_blocks_below(too_large, || put(&queue, item(number), &mut waiter));
            wakes.fire();
            result
        };
        if put(LARGE) == Err(Some(number)) {
            assert_eq!(queue.statistics(()).waiting_putters, number as usize);
            refused += 1;
            assert_eq!(put(usize::MAX), Err(None));
        }
        waiters.push(waiter);
    }
    assert!(refused > 0);
    assert_eq!(queue.statistics(()).waiting_putters, 1_000);
}

#[test]
fn a_putter_with_a_new_key_needs_memory_or_is_refused() {
    new_keys_need_memory(|queue, item, waiter| {
        let (wakes, result) = queue.put_or_wait((), item, waiter, &Waker::default());
        (wakes, result.map_err(|error| if let PutError::NoMemory(back) = error { Some(back.item) } else { None }))
    });
}

#[test]
fn a_putter_of_many_with_a_new_key_needs_memory_or_is_refused() {
    new_keys_need_memory(|queue, item, waiter| {
        let mut items = vec![item].into_iter();
        let (wakes, result) = queue.put_batch_or_wait((), &mut items, waiter, &Waker::default());
        (wakes, result.map_err(|error| if error == PutError::NoMemory(()) { items.next().map(|back| back.item) } else { None }))
    });
}
