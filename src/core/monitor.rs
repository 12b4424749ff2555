//! `Monitor`: a section with lines of those who wait at it, and what every primitive does with them in the same way.
//!
//! A primitive is its own state and a [`Lobby`] in it. It says whom its state lets go ([`Waits::settle_all`]); how one takes a place, keeps it,
//! steps aside and leaves, and what a fork leaves behind, is here.

use std::fmt;
use std::marker::PhantomData;

use crate::clock::{Clock, Nanos};
use crate::fork;
use crate::section::{Domain, Section};
use crate::wait::spot::Held;
use crate::wait::{Blocked, Line, Spot, Ticket, Wake, Wakes};

/// Which of a primitive's lines.
pub trait Side: Copy + PartialEq {
    fn index(self) -> usize;
}

impl Side for () {
    fn index(self) -> usize {
        0
    }
}

/// The lines of a primitive, and how long those in them have waited.
#[derive(Debug)]
pub struct Lobby<W, const N: usize> {
    lines: [Line<W>; N],
    blocked: [Blocked; N],
    pub(crate) clock: Clock<W>,
    generation: u64,
}

impl<W: Wake, const N: usize> Lobby<W, N> {
    pub(crate) fn new(clock: Clock<W>) -> Self {
        let (lines, blocked) = (std::array::from_fn(|_| Line::default()), std::array::from_fn(|_| Blocked::default()));
        Self { lines, blocked, clock, generation: fork::generation() }
    }

    #[inline]
    pub(crate) fn line(&self, side: impl Side) -> &Line<W> {
        &self.lines[side.index()]
    }

    #[inline]
    pub(crate) fn line_mut(&mut self, side: impl Side) -> &mut Line<W> {
        &mut self.lines[side.index()]
    }

    /// How long all waits in the line have taken together.
    pub(crate) fn blocked(&self, side: impl Side, now: Nanos) -> Nanos {
        self.blocked[side.index()].total(now)
    }

    /// For how long there was somebody in the line.
    pub(crate) fn occupied(&self, side: impl Side, now: Nanos) -> Nanos {
        self.blocked[side.index()].occupied(now)
    }

    /// Has the place that this operation holds in the line been woken? `None` if it holds none there: it comes as an arrival.
    pub(crate) fn is_woken<S: Side>(&mut self, side: S, spot: &mut Spot<S>) -> Option<bool> {
        let (_, ticket) = spot.place().filter(|(held, _)| *held == side)?;
        if self.line(side).contains(ticket) {
            return Some(self.line(side).may_try(ticket));
        }
        spot.0 = None; // forgotten after a fork: it comes again
        None
    }

    /// May the operation with this spot go, if there is something to go for? An arrival may while the door is open.
    pub(crate) fn has_turn<S: Side>(&mut self, side: S, spot: &mut Spot<S>) -> bool {
        self.is_woken(side, spot).unwrap_or_else(|| !self.line(side).door_is_shut())
    }

    /// The operation has to wait: it takes a place, or goes back to waiting in the one it has.
    pub(crate) fn stay<S: Side>(&mut self, side: S, want: u64, spot: &mut Spot<S>, waker: &W, wakes: &mut Wakes<W>) {
        if let Some(ticket) = self.keep_or_join(side, want, spot, waker, wakes) {
            self.line_mut(side).miss(ticket);
        }
    }

    /// The ticket of the place that the operation has in the line already; else it takes the last one.
    pub(crate) fn keep_or_join<S: Side>(
        &mut self,
        side: S,
        want: u64,
        spot: &mut Spot<S>,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Option<Ticket> {
        match spot.place() {
            Some((held, ticket)) if held == side && self.line(side).contains(ticket) => Some(ticket),
            _ => {
                self.vacate(spot, wakes);
                let since = self.clock.now();
                let ticket = self.line_mut(side).join(waker.share(), want);
                self.blocked[side.index()].begin(since);
                spot.0 = Some(Held { side, ticket, since });
                None
            }
        }
    }

    /// Every waker in every line, each once; none of the parent's after a fork.
    pub(crate) fn visit_wakers(&self, waker: impl FnMut(&W)) {
        if self.generation == fork::generation() {
            self.lines.iter().flat_map(Line::wakers).for_each(waker);
        }
    }

    /// The operation waits no longer.
    pub(crate) fn vacate<S: Side>(&mut self, spot: &mut Spot<S>, wakes: &mut Wakes<W>) {
        let Some(held) = spot.0.take() else { return };
        if let Some(waker) = self.line_mut(held.side).leave(held.ticket) {
            wakes.discard(waker);
            let now = self.clock.now();
            self.blocked[held.side.index()].end(held.since, now);
        }
    }
}

/// State in a monitor.
pub trait Waits<W: Wake, const N: usize> {
    type Side: Side;

    fn lobby(&self) -> &Lobby<W, N>;
    fn lobby_mut(&mut self) -> &mut Lobby<W, N>;

    /// Wakes whom the state now allows to go, in every line.
    fn settle_all(&mut self, wakes: &mut Wakes<W>);

    /// The operation waits no longer.
    fn vacate(&mut self, spot: &mut Spot<Self::Side>, wakes: &mut Wakes<W>) {
        self.lobby_mut().vacate(spot, wakes);
    }

    /// What else was the parent's, in the child of a fork.
    fn forget_more(&mut self) {}

    /// Every wait in the lines is the parent's; nothing of them is ours to touch. True if there was something to forget.
    #[inline]
    fn forget_after_fork(&mut self) -> bool {
        let is_foreign = self.lobby().generation != fork::generation();
        if is_foreign {
            self.forget();
        }
        is_foreign
    }

    #[cold]
    #[inline(never)]
    fn forget(&mut self) {
        let lobby = self.lobby_mut();
        lobby.generation = fork::generation();
        lobby.lines.iter_mut().for_each(Line::forget);
        lobby.blocked.iter_mut().for_each(Blocked::forget);
        self.forget_more();
    }
}

/// See the head of this file. `W` is how waiters are told, `D` what guards the section.
pub struct Monitor<T, W: Wake, D: Domain, const N: usize> {
    pub(crate) section: Section<T, D>,
    waker: PhantomData<fn() -> W>,
}

impl<T: Waits<W, N>, W: Wake, D: Domain, const N: usize> Monitor<T, W, D, N> {
    pub(crate) fn of(state: T) -> Self {
        Self { section: Section::new(state), waker: PhantomData }
    }

    /// One visit to the section that may wake others.
    #[inline]
    pub(crate) fn visit<R>(&self, proof: D::Proof<'_>, critical: impl FnOnce(&mut T, &mut Wakes<W>) -> R) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let result = self.section.with(proof, |state| critical(state, &mut wakes));
        (wakes, result)
    }

    /// Is this thread inside the section already? Every other operation would then panic.
    #[inline]
    pub fn is_entered(&self, proof: D::Proof<'_>) -> bool {
        self.section.is_entered(proof)
    }

    pub fn clock(&self, proof: D::Proof<'_>) -> Clock<W> {
        self.section.with(proof, |state| state.lobby().clock.clone())
    }

    /// Stops waiting. A wake-up that had been given goes to the next in line. Safe to call at any time, any number of times.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn leave(&self, proof: D::Proof<'_>, spot: &mut Spot<T::Side>) -> Wakes<W> {
        if !spot.is_held() {
            return Wakes::none();
        }
        self.visit(proof, |state, wakes| {
            state.vacate(spot, wakes);
            state.settle_all(wakes);
        })
        .0
    }

    /// Whoever holds this place is kept from coming (by a signal handler that waits in the middle of the wait): a turn it has been
    /// given goes to the next. It keeps its place until [`Monitor::step_back`].
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_aside(&self, proof: D::Proof<'_>, (side, ticket): (T::Side, Ticket)) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.lobby_mut().line_mut(side).step_aside(ticket);
            state.settle_all(wakes);
        })
        .0
    }

    /// Back in line after [`Monitor::step_aside`]; no effect without it.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_back(&self, proof: D::Proof<'_>, (side, ticket): (T::Side, Ticket)) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.lobby_mut().line_mut(side).step_back(ticket);
            state.settle_all(wakes);
        })
        .0
    }

    /// Every waker in every line, each once.
    pub fn visit_wakers(&self, proof: D::Proof<'_>, waker: impl FnMut(&W)) {
        self.section.with(proof, |state| state.lobby().visit_wakers(waker));
    }
}

impl<T, W: Wake, D: Domain, const N: usize> fmt::Debug for Monitor<T, W, D, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}
