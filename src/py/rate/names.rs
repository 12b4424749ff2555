//! `Names`: the names of the members of a set, and the amounts requested of them.
//!
//! A member is a limiter, a semaphore, or another set, whose members are then members of the outer set too. The *leaves* of a set are all
//! limiters in it, in order; its *gates* are all semaphores.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use sluicegate_core::rate::{Scale, Units};

use super::amounts::amount;
use crate::rt::arguments;

#[derive(Clone, Debug)]
pub(super) enum Member {
    /// A limiter, with its scale.
    Leaf(Scale),
    Gate,
    Set(Arc<Names>),
}

impl Member {
    pub(super) fn is_leaf(&self) -> bool {
        matches!(self, Self::Leaf(_))
    }

    fn leaves(&self) -> usize {
        match self {
            Self::Leaf(_) => 1,
            Self::Gate => 0,
            Self::Set(names) => names.leaves,
        }
    }

    fn gates(&self) -> usize {
        match self {
            Self::Leaf(_) => 0,
            Self::Gate => 1,
            Self::Set(names) => names.gates,
        }
    }
}

/// The members of a set by name, in order.
#[derive(Debug)]
pub(crate) struct Names {
    members: Vec<(String, Member)>,
    pub(super) leaves: usize,
    pub(super) gates: usize,
}

/// The requested amounts, one for each leaf and each gate.
#[derive(Debug)]
pub(super) struct Amounts<'py> {
    pub(super) units: Vec<Option<Units>>,
    pub(super) gates: Vec<Option<Bound<'py, PyAny>>>,
}

/// Which members have to be named in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// Every member.
    All,
    /// Every limiter; semaphores need not be named.
    Limiters,
    /// Any of the limiters.
    Some,
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

impl Names {
    pub(super) fn new(members: Vec<(String, Member)>) -> Self {
        let leaves = members.iter().map(|(_, member)| member.leaves()).sum();
        let gates = members.iter().map(|(_, member)| member.gates()).sum();
        Self { members, leaves, gates }
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Member)> {
        self.members.iter().map(|(name, member)| (name.as_str(), member))
    }

    /// Each member with its first leaf and its first gate.
    fn placed(&self) -> impl Iterator<Item = (&str, &Member, usize, usize)> {
        self.iter().scan((0, 0), |(leaf, gate), (name, member)| {
            let place = (name, member, *leaf, *gate);
            (*leaf, *gate) = (*leaf + member.leaves(), *gate + member.gates());
            Some(place)
        })
    }

    /// The name of a leaf; inside a nested set, `outer.inner`.
    pub(super) fn path(&self, leaf: usize) -> String {
        let inside = |(_, member, first, _): &(&str, &Member, usize, usize)| (*first..first + member.leaves()).contains(&leaf);
        match self.placed().find(inside) {
            Some((name, Member::Set(names), first, _)) => format!("{name}.{}", names.path(leaf - first)),
            Some((name, ..)) => name.to_owned(),
            None => String::new(),
        }
    }

    /// The same for a gate.
    pub(super) fn gate_path(&self, gate: usize) -> String {
        let inside = |(_, member, _, first): &(&str, &Member, usize, usize)| (*first..first + member.gates()).contains(&gate);
        match self.placed().find(inside) {
            Some((name, Member::Set(names), _, first)) => format!("{name}.{}", names.gate_path(gate - first)),
            Some((name, ..)) => name.to_owned(),
            None => String::new(),
        }
    }

    /// The same amount for each leaf and gate.
    pub(super) fn each<'py>(&self, n: &Bound<'py, PyAny>) -> PyResult<Amounts<'py>> {
        let mut amounts = Amounts { units: vec![None; self.leaves], gates: vec![None; self.gates] };
        self.fill_each("n", n, &mut amounts, (0, 0))?;
        Ok(amounts)
    }

    fn fill_each<'py>(
        &self,
        name: &str,
        n: &Bound<'py, PyAny>,
        amounts: &mut Amounts<'py>,
        (leaves, gates): (usize, usize),
    ) -> PyResult<()> {
        for (_, member, leaf, gate) in self.placed() {
            match member {
                Member::Leaf(scale) => amounts.units[leaves + leaf] = Some(amount(name, n, *scale)?),
                Member::Gate => amounts.gates[gates + gate] = Some(n.clone()),
                Member::Set(names) => names.fill_each(name, n, amounts, (leaves + leaf, gates + gate))?,
            }
        }
        Ok(())
    }

    /// Amounts by name. The amount of a nested set is a number, for each of its members, or a mapping of amounts by name.
    pub(super) fn by_name<'py>(&self, function: &str, given: Option<&Bound<'py, PyDict>>, asks: Asks) -> PyResult<Amounts<'py>> {
        let mut amounts = Amounts { units: vec![None; self.leaves], gates: vec![None; self.gates] };
        let pairs =
            given.into_iter().flatten().map(|(name, value)| Ok((name.extract()?, value))).collect::<PyResult<Vec<_>>>()?;
        self.fill(function, &pairs, asks, &mut amounts, (0, 0))?;
        Ok(amounts)
    }

    fn fill<'py>(
        &self,
        function: &str,
        given: &[(String, Bound<'py, PyAny>)],
        asks: Asks,
        amounts: &mut Amounts<'py>,
        (leaves, gates): (usize, usize),
    ) -> PyResult<()> {
        let has = |member: &Member| asks == Asks::All || !matches!(member, Member::Gate);
        let known = |name: &str| self.iter().any(|(known, member)| known == name && has(member));
        let unknown: Vec<_> = given.iter().map(|(name, _)| name.as_str()).filter(|name| !known(name)).collect();
        if !unknown.is_empty() {
            let (unknown, known) =
                (quoted(unknown.into_iter()), quoted(self.iter().filter(|(_, m)| has(m)).map(|(name, _)| name)));
            return Err(PyTypeError::new_err(format!("{function}() got an unknown limit {unknown}; the limits are {known}")));
        }
        for (name, member, leaf, gate) in self.placed() {
            let Some((_, value)) = given.iter().find(|(given, _)| given == name) else { continue };
            let place = (leaves + leaf, gates + gate);
            match member {
                Member::Leaf(scale) => amounts.units[place.0] = Some(amount(name, value, *scale)?),
                Member::Gate => amounts.gates[place.1] = Some(value.clone()),
                Member::Set(names) => match arguments::pairs(value)? {
                    Some(items) => names.fill(function, &items, asks, amounts, place)?,
                    None => names.fill_each(name, value, amounts, place)?,
                },
            }
        }
        let given = |name: &str| given.iter().any(|(given, _)| given == name);
        let missing = quoted(self.iter().filter(|(name, member)| has(member) && !given(name)).map(|(name, _)| name));
        if asks != Asks::Some && !missing.is_empty() {
            return Err(PyTypeError::new_err(format!(
                "{function}() with amounts by name must name every limit; missing: {missing}"
            )));
        }
        Ok(())
    }

    /// The amounts of `settle`, by name.
    pub(super) fn named(&self, function: &str, given: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<Option<Units>>> {
        Ok(self.by_name(function, given, Asks::Some)?.units)
    }

    /// The amounts of a call: one for all members, or amounts by name.
    pub(super) fn amounts<'py>(
        &self,
        function: &str,
        args: &Bound<'py, PyTuple>,
        given: Option<&Bound<'py, PyDict>>,
        asks: Asks,
    ) -> PyResult<Amounts<'py>> {
        let given = given.filter(|given| !given.is_empty());
        let by_keyword = given.map(|given| given.get_item("n")).transpose()?.flatten();
        match (args.len(), by_keyword, given) {
            (0, None, Some(_)) => self.by_name(function, given, asks),
            (0, None, None) => self.each(&1_u8.into_pyobject(args.py())?.into_any()),
            (1, None, None) => self.each(&args.get_item(0)?),
            (0, Some(n), Some(given)) if given.len() == 1 => self.each(&n),
            (0 | 1, ..) => {
                Err(PyTypeError::new_err(format!("{function}() takes one amount for all limits, or amounts by name, not both")))
            }
            (count, ..) => {
                Err(PyTypeError::new_err(format!("{function}() takes at most 1 positional argument but {count} were given")))
            }
        }
    }

    /// The amounts of all leaves, by name and in tokens.
    pub(super) fn tokens<'py>(&self, py: Python<'py>, units: &[Units]) -> PyResult<Bound<'py, PyDict>> {
        let by_name = PyDict::new(py);
        for (name, member, leaf, _) in self.placed() {
            match member {
                Member::Leaf(scale) => by_name.set_item(name, scale.tokens(units[leaf].into()))?,
                Member::Gate => {}
                Member::Set(names) => by_name.set_item(name, names.tokens(py, &units[leaf..leaf + names.leaves])?)?,
            }
        }
        Ok(by_name)
    }
}
