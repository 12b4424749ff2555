//! `Transfer`: the state of a transfer of items between a channel and a file or socket. It can be stopped, resumed and waited for, and its
//! counts are exact.
//!
//! A *job* does the work; the transfer keeps the job while it is not running. The job moves items in steps ([`Transfer::step`]). Each step is
//! one visit to this object's section that checks the stage first, so no item moves once `cancel` has returned.
//!
//! | stage    | event                        | next     | also                                                                 |
//! |----------|------------------------------|----------|----------------------------------------------------------------------|
//! | running  | `cancel`                     | stopping | no item moves from this moment on; what the channel has not sent is taken back |
//! | stopping | the job notices: `stopped`   | stopped  | the job is kept; waiters are woken                                   |
//! | stopping | `resume`                     | running  | `stopped` tells the job to continue                                  |
//! | stopped  | `resume`                     | running  | returns the job, to be run again                                     |
//! | any      | `end`: no more, or an error  | ended    | waiters are woken; unsent items are discarded                        |
//!
//! # Unsent items
//! Items that have been read and not been sent are kept here and nowhere else, so that `cancel` can always withdraw them.
//!
//! | unsent  | event                                | next    | counted                                              |
//! |---------|--------------------------------------|---------|------------------------------------------------------|
//! | nothing | `load`                               | here    |                                                      |
//! | here    | `offer`: it waits in the wait queue  | offered | the items sent at once                               |
//! | here    | `offer`: all is sent                 | nothing | all                                                  |
//! | here    | `offer`: it can never be sent        | here    | the items sent before                                |
//! | offered | `offer`, after all has been sent     | nothing | the items sent since the last count                  |
//! | offered | `cancel`, `take_back`                | here, or nothing | the items sent since: the difference to what is returned |
//! | offered | a caller asks for the counts         | offered | the items sent since the last count                  |
//!
//! While an offer waits, the channel sends items of it at any time. So counting the items that are left and withdrawing the offer are one
//! visit to the channel's section: items sent between two visits would not be counted.
//!
//! # Order of sections
//! The channel's section is entered inside this one, never the other way round.

use crate::credits::frames::FrameRange;
use crate::credits::{Bale, Channel, End, Offer, Waiter};
use crate::section::{Domain, Section};
use crate::wait::{Ticket, WaitQueue, Wake, Wakes};

/// The types of a transfer.
pub trait Parts {
    type Item;
    type Waker: Wake;
    type Domain: Domain;
    /// The data that its channels keep for the binding.
    type Extras;
    /// A reference to the channel in whose wait queue an offer is.
    type Channel: AsRef<Channel<Self::Item, Self::Waker, Self::Domain, FrameRange, Self::Extras>>;
    /// Does the work; kept here while it is not running.
    type Job;
    /// Why a transfer has ended.
    type Error;
}

type Proof<'a, P> = <<P as Parts>::Domain as Domain>::Proof<'a>;

/// The state, see the table at the head of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Running,
    Stopping,
    Stopped,
    Ended,
}

/// The numbers of items and bytes that have been delivered, or received and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub items: u64,
    pub bytes: u64,
}

impl Counts {
    pub fn add(&mut self, items: usize, bytes: usize) {
        self.items += items as u64;
        self.bytes += bytes as u64;
    }
}

/// The wake-ups and the channel reference that leave the section when an offer ends.
#[derive(Debug)]
#[must_use = "a wake-up that is not fired is lost"]
pub struct Left<P: Parts> {
    wakes: Wakes<P::Waker>,
    channel: Option<P::Channel>,
}

impl<P: Parts> Left<P> {
    fn nothing() -> Self {
        Self { wakes: Wakes::none(), channel: None }
    }

    /// Fires the wake-ups, then drops the rest. Outside every section.
    pub fn settle(self) {
        self.wakes.fire();
        drop(self.channel);
    }
}

/// The state of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// All of it was sent.
    Sent,
    /// It is in the channel's wait queue. The waker is woken when its state changes.
    Waiting,
    /// The weight of the next item, which is more than the channel's bound.
    TooHeavy(u64),
    /// The channel takes no more.
    Ended(End),
}

/// The items that have been read and not been sent yet: at most one range.
#[derive(Debug)]
enum Unsent<C> {
    Nothing,
    Here(FrameRange),
    Offered(UnsentBale<C>),
}

/// An offer in a channel's wait queue.
#[derive(Debug)]
struct UnsentBale<C> {
    channel: C,
    waiter: Waiter,
    /// At the last count: the number of items left, where the first of them begins and the last ends.
    count: usize,
    position: usize,
    end: usize,
}

impl<C> UnsentBale<C> {
    fn new(channel: C, range: &FrameRange) -> Self {
        let (count, position, end) = (range.count(), range.position(), range.end_position());
        Self { channel, waiter: Waiter::default(), count, position, end }
    }

    /// Counts what was sent since the last count. `left`: the number of items now, and where they begin.
    fn count(&mut self, counts: &mut Counts, left: Option<(usize, usize)>) {
        let (count, position) = left.unwrap_or((0, self.end));
        counts.add(self.count - count, position - self.position);
        (self.count, self.position) = (count, position);
    }
}

fn extent(range: &FrameRange) -> (usize, usize) {
    (range.count(), range.position())
}

#[derive(Debug)]
struct State<P: Parts> {
    stage: Stage,
    counts: Counts,
    unsent: Unsent<P::Channel>,
    job: Option<P::Job>,
    error: Option<P::Error>,
    /// Waiters for the end of the run.
    queue: WaitQueue<P::Waker>,
}

impl<P: Parts> State<P> {
    /// Counts what the channel has sent of an offer since the last count.
    fn catch_up(&mut self, proof: Proof<'_, P>) {
        if let Unsent::Offered(standing) = &mut self.unsent {
            let left = standing.channel.as_ref().with_offer(proof, &standing.waiter, extent);
            standing.count(&mut self.counts, left);
        }
    }

    /// Withdraws the offer, and counts the items that are not returned as sent.
    fn take_back(&mut self, proof: Proof<'_, P>) -> Left<P> {
        match std::mem::replace(&mut self.unsent, Unsent::Nothing) {
            Unsent::Offered(mut standing) => {
                let (wakes, rest) = standing.channel.as_ref().take_back(proof, &mut standing.waiter);
                standing.count(&mut self.counts, rest.as_ref().map(extent));
                self.keep(rest);
                Left { wakes, channel: Some(standing.channel) }
            }
            here => {
                self.unsent = here;
                Left::nothing()
            }
        }
    }

    fn keep(&mut self, rest: Option<FrameRange>) {
        self.unsent = rest.filter(|rest| rest.count() > 0).map_or(Unsent::Nothing, Unsent::Here);
    }

    fn offer(&mut self, proof: Proof<'_, P>, channel: impl FnOnce() -> P::Channel, waker: &P::Waker) -> (Left<P>, Offered) {
        let (mut standing, (wakes, offer)) = match std::mem::replace(&mut self.unsent, Unsent::Nothing) {
            Unsent::Nothing => return (Left::nothing(), Offered::Sent),
            Unsent::Here(range) => {
                let mut standing = UnsentBale::new(channel(), &range);
                let offered = standing.channel.as_ref().offer(proof, range, &mut standing.waiter, waker);
                (standing, offered)
            }
            Unsent::Offered(mut standing) => {
                let looked = standing.channel.as_ref().look_at_offer(proof, &mut standing.waiter);
                (standing, looked)
            }
        };
        let (rest, outcome) = match offer {
            Offer::Waiting => {
                self.unsent = Unsent::Offered(standing);
                return (Left { wakes, channel: None }, Offered::Waiting);
            }
            Offer::Sent => (None, Offered::Sent),
            Offer::TooHeavy(rest) => {
                let weight = rest.weight(0);
                (Some(rest), Offered::TooHeavy(weight))
            }
            Offer::Ended(rest, end) => (Some(rest), Offered::Ended(end)),
        };
        standing.count(&mut self.counts, rest.as_ref().map(extent));
        self.keep(rest);
        (Left { wakes, channel: Some(standing.channel) }, outcome)
    }
}

/// See the head of the file.
#[derive(Debug)]
pub struct Transfer<P: Parts> {
    section: Section<State<P>, P::Domain>,
}

impl<P: Parts> Default for Transfer<P> {
    /// Running.
    fn default() -> Self {
        Self {
            section: Section::new(State {
                stage: Stage::Running,
                counts: Counts::default(),
                unsent: Unsent::Nothing,
                job: None,
                error: None,
                queue: WaitQueue::default(),
            }),
        }
    }
}

/// The operations of the job.
impl<P: Parts> Transfer<P> {
    /// Runs `work`, which moves and counts items, unless the transfer is to stop: then `None`.
    pub fn step<R>(&self, proof: Proof<'_, P>, work: impl FnOnce(&mut Counts) -> R) -> Option<R> {
        self.section.with(proof, |state| (state.stage == Stage::Running).then(|| work(&mut state.counts)))
    }

    /// Adds to the counts, in any stage.
    pub fn count(&self, proof: Proof<'_, P>, items: usize, bytes: usize) {
        self.section.with(proof, |state| state.counts.add(items, bytes));
    }

    /// Stores a range that has been read, to be offered. Nothing may be unsent before it.
    pub fn load(&self, proof: Proof<'_, P>, range: FrameRange) {
        self.section.with(proof, |state| {
            debug_assert!(matches!(state.unsent, Unsent::Nothing), "one range at a time");
            state.keep(Some(range));
        });
    }

    /// True if something has been read and not been sent.
    pub fn has_unsent(&self, proof: Proof<'_, P>) -> bool {
        self.section.with(proof, |state| !matches!(state.unsent, Unsent::Nothing))
    }

    /// Offers what is unsent to the channel, or checks on the offer. `None` if the transfer is to stop.
    pub fn offer(
        &self,
        proof: Proof<'_, P>,
        channel: impl FnOnce() -> P::Channel,
        waker: &P::Waker,
    ) -> Option<(Left<P>, Offered)> {
        self.section.with(proof, |state| (state.stage == Stage::Running).then(|| state.offer(proof, channel, waker)))
    }

    /// Withdraws the offer; what the channel has not sent of it stays unsent.
    pub fn take_back(&self, proof: Proof<'_, P>) -> Left<P> {
        self.section.with(proof, |state| state.take_back(proof))
    }

    /// Called when the job stops: keeps the job, or returns it in `Err` if it is to continue.
    pub fn stopped(&self, proof: Proof<'_, P>, job: P::Job) -> Result<Wakes<P::Waker>, P::Job> {
        self.section.with(proof, |state| {
            if state.stage != Stage::Stopping {
                return Err(job);
            }
            state.stage = Stage::Stopped;
            state.job = Some(job);
            let mut wakes = Wakes::none();
            state.queue.release_all(&mut wakes);
            Ok(wakes)
        })
    }

    /// Ends the transfer. What is returned is to be dropped outside the section.
    pub fn end(&self, proof: Proof<'_, P>, error: Option<P::Error>) -> (Wakes<P::Waker>, Option<P::Error>) {
        self.section.with(proof, |state| {
            state.stage = Stage::Ended;
            if let Unsent::Here(_) = state.unsent {
                state.unsent = Unsent::Nothing; // it will not be offered again
            }
            let mut wakes = Wakes::none();
            state.queue.release_all(&mut wakes);
            (wakes, std::mem::replace(&mut state.error, error))
        })
    }
}

/// The operations of the transfer's users.
impl<P: Parts> Transfer<P> {
    /// Stops it: no item moves after this call.
    pub fn cancel(&self, proof: Proof<'_, P>) -> Left<P> {
        self.section.with(proof, |state| {
            if state.stage == Stage::Running {
                state.stage = Stage::Stopping;
            }
            state.take_back(proof)
        })
    }

    /// Continues it. If the job is not running, returns it, to be run.
    pub fn resume(&self, proof: Proof<'_, P>) -> Option<P::Job> {
        self.section.with(proof, |state| {
            if matches!(state.stage, Stage::Stopping | Stage::Stopped) {
                state.stage = Stage::Running;
            }
            state.job.take()
        })
    }

    pub fn stage(&self, proof: Proof<'_, P>) -> Stage {
        self.look(proof, |stage| stage)
    }

    /// Calls `look` with the stage, which does not change meanwhile.
    pub fn look<R>(&self, proof: Proof<'_, P>, look: impl FnOnce(Stage) -> R) -> R {
        self.section.with(proof, |state| look(state.stage))
    }

    /// The stage, the counts, and what `look` returns for the error.
    pub fn progress<R>(&self, proof: Proof<'_, P>, look: impl FnOnce(&P::Error) -> R) -> (Stage, Counts, Option<R>) {
        self.section.with(proof, |state| {
            state.catch_up(proof);
            (state.stage, state.counts, state.error.as_ref().map(look))
        })
    }

    /// Joins the wait queue for the end of the run, or keeps `place`.
    pub fn enter_line(&self, proof: Proof<'_, P>, place: Option<Ticket>, waker: &P::Waker) -> Ticket {
        self.section.with(proof, |state| match place {
            Some(place) if state.queue.contains(place) => place,
            _ => state.queue.join(waker.share(), 0),
        })
    }

    /// Leaves the wait queue. The waker is to be dropped outside the section.
    #[must_use = "the waker may run foreign code when dropped: carry it out of the section"]
    pub fn leave_line(&self, proof: Proof<'_, P>, place: Ticket) -> Option<P::Waker> {
        self.section.with(proof, |state| state.queue.leave(place))
    }

    /// Calls `look` with the job and the error that it keeps.
    pub fn with_kept<R>(&self, proof: Proof<'_, P>, look: impl FnOnce(Option<&P::Job>, Option<&P::Error>) -> R) -> R {
        self.section.with(proof, |state| look(state.job.as_ref(), state.error.as_ref()))
    }

    /// Removes and returns the job and the error that it keeps.
    pub fn clear(&self, proof: Proof<'_, P>) -> (Option<P::Job>, Option<P::Error>) {
        self.section.with(proof, |state| (state.job.take(), state.error.take()))
    }
}
