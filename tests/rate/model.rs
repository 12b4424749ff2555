//! A limiter as one would write it down who had all the time in the world: a list of what has happened, read from the beginning each time.
//! To take something back is to strike it out of the list.

use std::collections::BTreeMap;

use sluicegate_core::clock::Nanos;
use sluicegate_core::rate::Units;

use super::TOKEN;

/// Amounts in units, rates in whole units a nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Bucket { per_nano: u32, burst: Units },
    Shaper { per_nano: u32, capacity: usize },
    Window { limit: Units, period: Nanos },
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Take(Units),
    Refund(Units),
    Rule(Rule),
    Struck,
}

#[derive(Clone, Debug)]
struct Waiting {
    who: usize,
    n: Units,
    since: Nanos,
}

/// What becomes of one who comes, or looks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Goes,
    NeverFits,
    WaitQueueFull(Nanos),
    Until(Nanos),
    /// If it is the first in line: until then.
    Waits(Option<Nanos>),
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    first: Rule,
    debt: Units,
    rule: Rule,
    events: Vec<(Nanos, Event)>,
    line: Vec<Waiting>,
    /// Who has been granted something and has not come for it: where that stands in the list.
    granted: BTreeMap<usize, usize>,
    unfit: Vec<usize>,
    pub(crate) paused_until: Nanos,
    /// Nobody goes before what let it go.
    not_before: Nanos,
}

impl Model {
    pub(crate) fn new(rule: Rule, debt: Units) -> Self {
        Self {
            first: rule,
            debt,
            rule,
            events: Vec::new(),
            line: Vec::new(),
            granted: BTreeMap::new(),
            unfit: Vec::new(),
            paused_until: 0,
            not_before: 0,
        }
    }

    pub(crate) fn rule(&self) -> Rule {
        self.rule
    }

    /// A bucket's or a shaper's debt after everything in the list, and as of when.
    fn debt(&self) -> (u128, Nanos) {
        let (mut debt, mut last, mut rule) = (u128::from(self.debt), 0, self.first);
        for &(at, event) in &self.events {
            assert!(at >= last, "out of order: {:?}", self.events);
            debt = debt.saturating_sub(Self::came_in(rule, at - last));
            last = at;
            match event {
                Event::Take(n) => debt += u128::from(n),
                Event::Refund(n) => debt = debt.saturating_sub(n.into()),
                Event::Rule(new) => {
                    if let (Rule::Bucket { burst, .. }, Rule::Bucket { burst: larger, .. }) = (rule, new) {
                        debt = (debt + u128::from(larger)).saturating_sub(burst.into()); // what is there stays, if it fits
                    }
                    rule = new;
                }
                Event::Struck => {}
            }
        }
        (debt, last)
    }

    fn came_in(rule: Rule, time: Nanos) -> u128 {
        match rule {
            Rule::Bucket { per_nano, .. } | Rule::Shaper { per_nano, .. } => u128::from(per_nano) * u128::from(time),
            Rule::Window { .. } => 0,
        }
    }

    /// A window's log: what was taken, less what was refunded, the last first.
    fn log(&self) -> Vec<(Nanos, Units)> {
        let mut log: Vec<(Nanos, Units)> = Vec::new();
        for &(at, event) in &self.events {
            match event {
                Event::Take(n) => log.push((at, n)),
                Event::Refund(mut n) => {
                    for (_, taken) in log.iter_mut().rev() {
                        let back = n.min(*taken);
                        *taken -= back;
                        n -= back;
                    }
                }
                Event::Rule(_) | Event::Struck => {}
            }
        }
        log
    }

    pub(crate) fn largest(&self) -> Units {
        match self.rule {
            Rule::Bucket { burst, .. } => burst,
            Rule::Shaper { .. } => Units::MAX,
            Rule::Window { limit, .. } => limit,
        }
    }

    /// The first moment, not before `from`, at which `n` may go.
    pub(crate) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        let (per_nano, allowed) = match self.rule {
            Rule::Bucket { per_nano, burst } => (per_nano, u128::from(burst - n)),
            Rule::Shaper { per_nano, .. } => (per_nano, 0),
            Rule::Window { limit, period } => {
                let log = self.log();
                let last = log.last().map_or(0, |(at, _)| *at);
                let candidates = log.iter().map(|(at, _)| at + period).chain([from.max(last)]);
                let fits = |at: &Nanos| {
                    let used: Units = log.iter().filter(|(taken, _)| taken + period > *at).map(|(_, n)| n).sum();
                    *at >= from.max(last) && used + n <= limit
                };
                return candidates.filter(fits).min().expect("an empty window has room");
            }
        };
        let (debt, last) = self.debt();
        let wait = debt.saturating_sub(allowed).div_ceil(per_nano.into());
        from.max(last + Nanos::try_from(wait).unwrap())
    }

    fn moment(&self, waiting: &Waiting) -> Nanos {
        self.ready_at(waiting.n, waiting.since.max(self.paused_until).max(self.not_before))
    }

    pub(crate) fn due(&self) -> Option<Nanos> {
        self.line.first().map(|head| self.moment(head))
    }

    /// Those whose moment has come are granted, in order, each as of its own.
    pub(crate) fn settle(&mut self, now: Nanos) {
        while let Some(at) = self.due().filter(|at| *at <= now) {
            let head = self.line.remove(0);
            let entry = self.take(head.n, at);
            self.granted.insert(head.who, entry);
        }
    }

    pub(crate) fn level(&self, now: Nanos) -> i128 {
        match self.rule {
            Rule::Window { limit, period } => {
                let used: Units = self.log().iter().filter(|(at, _)| at + period > now).map(|(_, n)| n).sum();
                i128::from(limit) - i128::from(used)
            }
            Rule::Bucket { burst, .. } => i128::from(burst) - self.owed(now),
            Rule::Shaper { .. } => i128::from(TOKEN) - self.owed(now),
        }
    }

    fn owed(&self, now: Nanos) -> i128 {
        let (debt, last) = self.debt();
        debt.saturating_sub(Self::came_in(self.rule, now - last)).try_into().unwrap()
    }

    /// When `n` could go after everybody in line.
    pub(crate) fn foresee(&self, n: Units, now: Nanos) -> Nanos {
        let mut later = self.clone();
        let from = now.max(self.paused_until).max(self.not_before);
        for waiting in &self.line {
            let at = later.ready_at(waiting.n, from);
            later.events.push((at, Event::Take(waiting.n)));
        }
        later.ready_at(n, from)
    }

    pub(crate) fn try_now(&mut self, n: Units, now: Nanos) -> bool {
        let goes = self.line.is_empty() && now >= self.paused_until && self.ready_at(n, now) == now;
        if goes {
            self.events.push((now, Event::Take(n)));
        }
        goes
    }

    pub(crate) fn arrive(&mut self, who: usize, n: Units, deadline: Option<Nanos>, now: Nanos) -> Answer {
        if n > self.largest() {
            return Answer::NeverFits;
        }
        if self.try_now(n, now) {
            return Answer::Goes;
        }
        if let Rule::Shaper { capacity, .. } = self.rule {
            if self.line.len() >= capacity {
                let free = self.due().filter(|_| capacity > 0);
                return Answer::WaitQueueFull(free.unwrap_or_else(|| self.foresee(0, now)));
            }
        }
        if let Some(at) = deadline.map(|_| self.foresee(n, now)).filter(|at| Some(*at) > deadline) {
            return Answer::Until(at);
        }
        self.line.push(Waiting { who, n, since: now });
        self.look(who)
    }

    /// One in line looks again.
    pub(crate) fn look(&mut self, who: usize) -> Answer {
        if self.granted.remove(&who).is_some() {
            return Answer::Goes;
        }
        if let Some(index) = self.unfit.iter().position(|unfit| *unfit == who) {
            self.unfit.remove(index);
            return Answer::NeverFits;
        }
        Answer::Waits(self.due().filter(|_| self.line[0].who == who))
    }

    /// In line, or called and on its way.
    pub(crate) fn has_been_called(&self, who: usize) -> bool {
        self.granted.contains_key(&who) || self.unfit.contains(&who)
    }

    pub(crate) fn someone_is_on_its_way(&self) -> bool {
        !self.granted.is_empty()
    }

    pub(crate) fn leave(&mut self, who: usize, now: Nanos) {
        if let Some(index) = self.granted.remove(&who) {
            self.events[index].1 = Event::Struck;
        }
        self.unfit.retain(|unfit| *unfit != who);
        self.line.retain(|waiting| waiting.who != who);
        self.changed(now);
    }

    pub(crate) fn refund(&mut self, n: Units, now: Nanos) {
        self.events.push((now, Event::Refund(n)));
        self.changed(now);
    }

    pub(crate) fn debit(&mut self, n: Units, now: Nanos) {
        self.events.push((now, Event::Take(n)));
    }

    pub(crate) fn set(&mut self, rule: Rule, now: Nanos) {
        self.events.push((now, Event::Rule(rule)));
        self.rule = rule;
        let largest = self.largest();
        let (fit, unfit): (Vec<_>, Vec<_>) = std::mem::take(&mut self.line).into_iter().partition(|waiting| waiting.n <= largest);
        self.line = fit;
        self.unfit.extend(unfit.into_iter().map(|waiting| waiting.who));
        self.changed(now);
    }

    /// Where it stands in the list.
    fn take(&mut self, n: Units, at: Nanos) -> usize {
        self.events.push((at, Event::Take(n)));
        self.events.len() - 1
    }

    fn changed(&mut self, now: Nanos) {
        self.not_before = now;
        self.settle(now);
    }
}

/// A set of two limiters, of which nobody waits for one alone. It takes what its head is promised when the moment comes, and keeps the
/// members from promising that to others.
#[derive(Debug)]
pub(crate) struct SetModel {
    pub(crate) members: [Model; 2],
    line: Vec<(usize, [Units; 2], Nanos)>,
    promised: Option<Nanos>,
    granted: BTreeMap<usize, [Option<usize>; 2]>,
    unfit: Vec<usize>,
    not_before: Nanos,
}

impl SetModel {
    pub(crate) fn new(rules: [Rule; 2]) -> Self {
        Self {
            members: rules.map(|rule| Model::new(rule, 0)),
            line: Vec::new(),
            promised: None,
            granted: BTreeMap::new(),
            unfit: Vec::new(),
            not_before: 0,
        }
    }

    pub(crate) fn due(&self) -> Option<Nanos> {
        self.promised
    }

    /// A window's level knows of what is promised for later, a bucket's does not: that may come in until then.
    pub(crate) fn level(&self, index: usize, now: Nanos) -> i128 {
        let promised = self.line.first().filter(|_| self.promised.is_some()).map_or(0, |(_, amounts, _)| amounts[index]);
        let window = matches!(self.members[index].rule(), Rule::Window { .. });
        self.members[index].level(now) - if window { promised.into() } else { 0 }
    }

    pub(crate) fn never_fits(&self, amounts: [Units; 2]) -> bool {
        self.members.iter().zip(amounts).any(|(member, n)| n > member.largest())
    }

    fn ready_at(&self, amounts: [Units; 2], from: Nanos) -> Nanos {
        let asked = self.members.iter().zip(amounts).filter(|(_, n)| *n > 0);
        asked.map(|(member, n)| member.ready_at(n, from)).fold(from, Nanos::max)
    }

    fn take(&mut self, amounts: [Units; 2], at: Nanos) -> [Option<usize>; 2] {
        let mut entries = [None; 2];
        for index in 0..2 {
            entries[index] = (amounts[index] > 0).then(|| self.members[index].take(amounts[index], at));
        }
        entries
    }

    pub(crate) fn settle(&mut self, now: Nanos) {
        while let Some(&(who, amounts, since)) = self.line.first() {
            let at = self.promised.unwrap_or_else(|| self.ready_at(amounts, since.max(self.not_before)));
            self.promised = Some(at);
            if at > now {
                break;
            }
            let entries = self.take(amounts, at);
            self.granted.insert(who, entries);
            self.line.remove(0);
            self.promised = None;
            self.not_before = at;
        }
    }

    pub(crate) fn try_now(&mut self, amounts: [Units; 2], now: Nanos) -> bool {
        let goes = self.line.is_empty() && self.ready_at(amounts, now) == now;
        if goes {
            self.take(amounts, now);
        }
        goes
    }

    /// Somebody who is not of the set: what the head is promised stays promised.
    pub(crate) fn try_member(&mut self, index: usize, n: Units, now: Nanos) -> bool {
        let member = &mut self.members[index];
        let mut after = member.clone();
        let mut goes = after.try_now(n, now);
        if let (Some(at), Some((_, amounts, _))) = (self.promised, self.line.first()) {
            goes &= amounts[index] == 0 || after.ready_at(amounts[index], at) == at;
        }
        if goes {
            *member = after;
        }
        goes
    }

    pub(crate) fn arrive(&mut self, who: usize, amounts: [Units; 2], now: Nanos) -> Answer {
        if self.never_fits(amounts) {
            return Answer::NeverFits;
        }
        if self.try_now(amounts, now) {
            return Answer::Goes;
        }
        self.line.push((who, amounts, now));
        self.settle(now);
        self.look(who)
    }

    pub(crate) fn look(&mut self, who: usize) -> Answer {
        if self.granted.remove(&who).is_some() {
            return Answer::Goes;
        }
        if let Some(index) = self.unfit.iter().position(|unfit| *unfit == who) {
            self.unfit.remove(index);
            return Answer::NeverFits;
        }
        Answer::Waits(self.due().filter(|_| self.line[0].0 == who))
    }

    pub(crate) fn leave(&mut self, who: usize, now: Nanos) {
        for (member, entry) in self.members.iter_mut().zip(self.granted.remove(&who).unwrap_or_default()) {
            if let Some(entry) = entry {
                member.events[entry].1 = Event::Struck;
            }
        }
        self.unfit.retain(|unfit| *unfit != who);
        self.promised = None;
        self.line.retain(|(waiting, ..)| *waiting != who);
        self.not_before = now;
        self.settle(now);
    }

    /// Something has changed in a member: the head may go earlier, or no more.
    pub(crate) fn changed(&mut self, now: Nanos) {
        if self.promised.take().is_some() {
            self.not_before = now;
        }
        let line = std::mem::take(&mut self.line);
        let (unfit, fit) = line.into_iter().partition(|(_, amounts, _)| self.never_fits(*amounts));
        self.line = fit;
        let unfit: Vec<_> = unfit;
        self.unfit.extend(unfit.into_iter().map(|(who, ..)| who));
        self.settle(now);
    }

    pub(crate) fn has_been_called(&self, who: usize) -> bool {
        self.granted.contains_key(&who) || self.unfit.contains(&who)
    }

    pub(crate) fn someone_is_on_its_way(&self) -> bool {
        !self.granted.is_empty()
    }
}
