//! `Late`: the parts of an object whose subclass may have an `__init__` of its own.
//!
//! Our objects are initialised in `__new__`, from its arguments, and do not change afterwards. A subclass whose `__init__` takes other arguments
//! passes the ones for our class only there, by `super().__init__(...)`. So `__new__` leaves such an object *unmade*, and `__init__` of our class
//! gives it the parts of a plain object of our class that is created with the same arguments.
//!
//! | the class of the object                        | `__new__`                | `__init__` of ours       |
//! |------------------------------------------------|--------------------------|--------------------------|
//! | ours, or a subclass without an `__init__`      | makes it                 | no effect                |
//! | a subclass with a `__new__` of its own         | makes it                 | no effect                |
//! | a subclass with an `__init__` and no `__new__` | leaves it unmade         | makes it; again: no effect |
//!
//! Until it is made an object has placeholder parts, so that it can be inspected; operations call [`Late::ready`] first, which raises.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use pyo3::{PyTypeCheck, PyTypeInfo};

use super::kept::interned;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Late<T> {
    made: OnceLock<Arc<T>>,
    stand_in: Option<Box<T>>,
}

impl<T> Late<T> {
    pub(crate) fn made(parts: T) -> Self {
        Self { made: OnceLock::from(Arc::new(parts)), stand_in: None }
    }

    pub(crate) fn unmade(stand_in: T) -> Self {
        Self { made: OnceLock::new(), stand_in: Some(Box::new(stand_in)) }
    }

    #[inline]
    pub(crate) fn is_made(&self) -> bool {
        self.made.get().is_some()
    }

    /// Shares the parts of `like`, unless the object has its own already.
    pub(crate) fn make_like(&self, like: &Self) {
        if let Some(parts) = like.made.get() {
            let _ = self.made.set(Arc::clone(parts));
        }
    }

    /// Raises RuntimeError if it has not been made.
    #[inline]
    pub(crate) fn ready(&self) -> PyResult<()> {
        if self.is_made() { Ok(()) } else { Err(unmade()) }
    }
}

impl<T> Deref for Late<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self.made.get() {
            Some(parts) => parts,
            None => self.stand_in.as_ref().expect("an object that is unmade has one"),
        }
    }
}

/// The error for the use of an object that has not been made.
#[cold]
pub(crate) fn unmade() -> PyErr {
    PyRuntimeError::new_err("the object's __init__() has not been called: call super().__init__(...) first")
}

/// True if an instance of `class`, which is `C` or a subclass of it, gets its parts in `__init__`.
pub(crate) fn is_made_later<C: PyTypeInfo>(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let (py, ours) = (class.py(), class.py().get_type::<C>());
    if class.is(&ours) {
        return Ok(false);
    }
    let own = |name: &Bound<'_, PyString>| class.getattr(name)?.ne(ours.getattr(name)?);
    Ok(own(interned!(py, "__init__"))? && !own(interned!(py, "__new__"))?)
}

/// A plain instance of our class of `this`, created with these arguments.
fn plain_like<'py>(
    this: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = this.py();
    for class in this.get_type().mro() {
        // Not one that is written in Python, whose `__init__` this comes from.
        let is_built = class.getattr(interned!(py, "__dict__"))?.contains(interned!(py, "__new__"))?;
        if is_built && class.getattr(interned!(py, "__module__"))?.eq("sluicegate")? {
            return class.call(args, kwargs);
        }
    }
    Err(unmade())
}

/// `__init__` of our class: unless the object is made, `take_over` gives it the parts of a plain one that is created with these arguments.
pub(crate) fn init<'py, C: PyTypeCheck>(
    this: &Bound<'py, C>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
    is_made: bool,
    take_over: impl FnOnce(&Bound<'py, C>) -> PyResult<()>,
) -> PyResult<()> {
    if is_made { Ok(()) } else { take_over(plain_like(this.as_any(), args, kwargs)?.cast::<C>()?) }
}

/// The errors of a constructor for more positional arguments than the one it takes, and for unknown keywords.
pub(crate) fn refuse_more(class: &str, more: &Bound<'_, PyTuple>, unknown: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
    if !more.is_empty() {
        let given = more.len() + 1;
        return Err(PyTypeError::new_err(format!("{class}() takes 1 positional argument but {given} were given")));
    }
    let Some(name) = unknown.and_then(|unknown| unknown.keys().get_item(0).ok()) else { return Ok(()) };
    Err(PyTypeError::new_err(format!("{class}() got an unexpected keyword argument {}", name.repr()?)))
}

/// Gives a class with a field `parts`, a [`Late`], what all such classes have: the fields of its parts, and `__init__`.
macro_rules! made_late {
    ($class:ty, $parts:ty) => {
        impl std::ops::Deref for $class {
            type Target = $parts;

            #[inline]
            fn deref(&self) -> &$parts {
                &self.parts
            }
        }

        #[pyo3::pymethods]
        impl $class {
            /// Called by a subclass with an `__init__` of its own.
            #[pyo3(signature = (*args, **kwargs))]
            fn __init__(
                slf: &pyo3::Bound<'_, Self>,
                args: &pyo3::Bound<'_, pyo3::types::PyTuple>,
                kwargs: Option<&pyo3::Bound<'_, pyo3::types::PyDict>>,
            ) -> pyo3::PyResult<()> {
                let parts = &slf.get().parts;
                $crate::rt::late::init(slf, args, kwargs, parts.is_made(), |like| Ok(parts.make_like(&like.get().parts)))
            }
        }
    };
}
pub(crate) use made_late;

/// Gives a class `__new__` with one argument of its own, by position or by name, and `clock` and `name`. The class has the functions
/// `unmade(py)`, which returns an object that waits for its `__init__`, and `made(argument, common)`.
macro_rules! constructor {
    ($class:ty as $class_name:literal, $argument:ident, $text_signature:literal) => {
        #[pyo3::pymethods]
        impl $class {
            #[new]
            #[classmethod]
            #[pyo3(
                signature = ($argument = $crate::rt::arguments::Argument::MISSING, *more, clock = None, name = None, **unknown),
                text_signature = $text_signature
            )]
            fn new(
                class: &pyo3::Bound<'_, pyo3::types::PyType>,
                $argument: $crate::rt::arguments::Argument<'_, '_>,
                more: &pyo3::Bound<'_, pyo3::types::PyTuple>,
                clock: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
                name: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
                unknown: Option<&pyo3::Bound<'_, pyo3::types::PyDict>>,
            ) -> pyo3::PyResult<pyo3::PyClassInitializer<Self>> {
                if $crate::rt::late::is_made_later::<Self>(class)? {
                    return Ok(Self::unmade(class.py()));
                }
                $crate::rt::late::refuse_more($class_name, more, unknown)?;
                Self::made($argument.given(), $crate::rt::class::Common::new(class.py(), name, clock)?)
            }
        }
    };
}
pub(crate) use constructor;
