//! `Transfer`: moves items between a channel and something else. It can be stopped, resumed and waited for, and its counts are exact.
//!
//! The work is done by a *job*, which the transfer keeps while nothing runs. The job moves items in steps ([`Transfer::step`]), each of them
//! one visit to this object's section with a look at the stage; so nothing moves once `cancel` has returned.
//!
//! | stage    | event                        | next     | also                                                                 |
//! |----------|------------------------------|----------|----------------------------------------------------------------------|
//! | running  | `cancel`                     | stopping | no item moves from this moment on; what the channel has not sent is taken back |
//! | stopping | the job notices: `stopped`   | stopped  | the job is kept; who waits is told                                   |
//! | stopping | `resume`                     | running  | the job is told by `stopped` to go on                                |
//! | stopped  | `resume`                     | running  | the job comes out, to be run again                                   |
//! | any      | `end`: no more, or an error  | ended    | who waits is told; what is unsent is given up                        |
//!
//! # What has been read and not been sent
//! It has one home, here, so that `cancel` reaches it wherever it is.
//!
//! | unsent  | event                                | next    | counted                                              |
//! |---------|--------------------------------------|---------|------------------------------------------------------|
//! | nothing | `load`                               | here    |                                                      |
//! | here    | `offer`: the channel keeps it in line | offered | what was sent at once                                |
//! | here    | `offer`: all is sent                 | nothing | all                                                  |
//! | here    | `offer`: it can never go             | here    | what was sent before                                 |
//! | offered | `offer`, once all has gone           | nothing | what had gone since                                  |
//! | offered | `cancel`, `take_back`                | here, or nothing | what had gone since: the difference to what comes back |
//! | offered | somebody asks for the counts         | offered | what had gone since                                  |
//!
//! The channel sends of an offer by itself, at any time. So what has gone is never asked in one visit to the channel and taken back in
//! another: between the two it would send more, which nobody would count.
//!
//! # Order of sections
//! The channel's section is entered inside this one, never the other way round.

use crate::credits::frames::FrameRange;
use crate::credits::{Bale, Channel, End, Offer, Spot};
use crate::section::{Domain, Section};
use crate::wait::{Line, Ticket, Wake, Wakes};

/// The types of a transfer.
pub trait Parts {
    type Item;
    type Waker: Wake;
    type Domain: Domain;
    /// The data that its channels keep for the binding.
    type Extras;
    /// A reference to the channel that an offer stands in.
    type Channel: AsRef<Channel<Self::Item, Self::Waker, Self::Domain, FrameRange, Self::Extras>>;
    /// What does the work; kept here while nothing runs.
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

/// How many items, and how many bytes, have been delivered, or received and written.
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

/// What leaves the section when an offer ends: wake-ups, and the reference to its channel.
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
    /// It is waiting in the channel's line. The waker is woken when there is something to see.
    Standing,
    /// The weight of the next item, which is more than the channel's bound.
    TooHeavy(u64),
    /// The channel takes no more.
    Ended(End),
}

/// What has been read and not been sent yet: at most one range.
#[derive(Debug)]
enum Unsent<C> {
    Nothing,
    Here(FrameRange),
    Offered(Standing<C>),
}

/// An offer in a channel's line.
#[derive(Debug)]
struct Standing<C> {
    channel: C,
    spot: Spot,
    /// As of the last count: the number of items left, where the first of them begins and the last ends.
    count: usize,
    position: usize,
    end: usize,
}

impl<C> Standing<C> {
    fn new(channel: C, range: &FrameRange) -> Self {
        let (count, position, end) = (range.count(), range.position(), range.end_position());
        Self { channel, spot: Spot::default(), count, position, end }
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
    line: Line<P::Waker>,
}

impl<P: Parts> State<P> {
    /// Counts what the channel has sent of an offer since the last count.
    fn catch_up(&mut self, proof: Proof<'_, P>) {
        if let Unsent::Offered(standing) = &mut self.unsent {
            let left = standing.channel.as_ref().with_offer(proof, &standing.spot, extent);
            standing.count(&mut self.counts, left);
        }
    }

    /// Withdraws the offer, and counts by what comes back.
    fn take_back(&mut self, proof: Proof<'_, P>) -> Left<P> {
        match std::mem::replace(&mut self.unsent, Unsent::Nothing) {
            Unsent::Offered(mut standing) => {
                let (wakes, rest) = standing.channel.as_ref().take_back(proof, &mut standing.spot);
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
                let mut standing = Standing::new(channel(), &range);
                let offered = standing.channel.as_ref().offer(proof, range, &mut standing.spot, waker);
                (standing, offered)
            }
            Unsent::Offered(mut standing) => {
                let looked = standing.channel.as_ref().look_at_offer(proof, &mut standing.spot);
                (standing, looked)
            }
        };
        let (rest, outcome) = match offer {
            Offer::Standing => {
                self.unsent = Unsent::Offered(standing);
                return (Left { wakes, channel: None }, Offered::Standing);
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
                line: Line::default(),
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

    /// Whether something has been read and not been sent.
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

    /// The job stops and is kept. It comes back in `Err` if it is to go on after all.
    pub fn stopped(&self, proof: Proof<'_, P>, job: P::Job) -> Result<Wakes<P::Waker>, P::Job> {
        self.section.with(proof, |state| {
            if state.stage != Stage::Stopping {
                return Err(job);
            }
            state.stage = Stage::Stopped;
            state.job = Some(job);
            let mut wakes = Wakes::none();
            state.line.release_all(&mut wakes);
            Ok(wakes)
        })
    }

    /// Ends the transfer. What is returned is to be dropped outside the section.
    pub fn end(&self, proof: Proof<'_, P>, error: Option<P::Error>) -> (Wakes<P::Waker>, Option<P::Error>) {
        self.section.with(proof, |state| {
            state.stage = Stage::Ended;
            if let Unsent::Here(_) = state.unsent {
                state.unsent = Unsent::Nothing; // nobody will offer it again
            }
            let mut wakes = Wakes::none();
            state.line.release_all(&mut wakes);
            (wakes, std::mem::replace(&mut state.error, error))
        })
    }
}

/// The operations of everybody else.
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

    /// Continues it. If nothing runs, the job comes out, to be run.
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

    /// Takes a place in the line of waiters for the end of the run, or keeps `place`.
    pub fn enter_line(&self, proof: Proof<'_, P>, place: Option<Ticket>, waker: &P::Waker) -> Ticket {
        self.section.with(proof, |state| match place {
            Some(place) if state.line.contains(place) => place,
            _ => state.line.join(waker.share(), 0),
        })
    }

    /// Leaves the line. The waker is to be dropped outside the section.
    #[must_use = "the waker may run foreign code when dropped: carry it out of the section"]
    pub fn leave_line(&self, proof: Proof<'_, P>, place: Ticket) -> Option<P::Waker> {
        self.section.with(proof, |state| state.line.leave(place))
    }

    /// Shows what it keeps.
    pub fn with_kept<R>(&self, proof: Proof<'_, P>, look: impl FnOnce(Option<&P::Job>, Option<&P::Error>) -> R) -> R {
        self.section.with(proof, |state| look(state.job.as_ref(), state.error.as_ref()))
    }

    /// Gives up what it keeps.
    pub fn clear(&self, proof: Proof<'_, P>) -> (Option<P::Job>, Option<P::Error>) {
        self.section.with(proof, |state| (state.job.take(), state.error.take()))
    }
}
