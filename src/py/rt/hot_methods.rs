//! `hot_methods!`: makes the types that implement [`Hot`](crate::rt::hot::Hot) from a syntax like that of a Python function.

/// The position of a name in a list. `usize::MAX`: it is not there.
pub(crate) const fn position(name: &str, names: &[&str]) -> usize {
    let mut at = 0;
    while at < names.len() {
        let (one, other) = (name.as_bytes(), names[at].as_bytes());
        let mut same = 0;
        while same < one.len() && same < other.len() && one[same] == other[same] {
            same += 1;
        }
        if same == one.len() && same == other.len() {
            return at;
        }
        at += 1;
    }
    usize::MAX
}

/// The hot methods of a class, and the function that installs them:
///
/// ```ignore
/// hot_methods! {
///     fn install() for PySemaphore as "Semaphore";
///
///     /// The docstring.
///     fn acquire(this, n = 1, *, timeout = None) {
///         fast: ...,
///         general: ...,
///     }
/// }
/// ```
///
/// `at_once: ..., otherwise: ...,` may precede `fast`, for calls with the required arguments alone: see [`Hot::at_once`](crate::rt::hot::Hot::at_once).
///
/// `often: name => ...,` may precede both: the form of a call with the required arguments and this keyword, see
/// [`Hot::often`](crate::rt::hot::Hot::often).
///
/// In all forms, a parameter without a default is the argument itself, and a parameter with a default is an `Option` of it. Without
/// `general`, a call that `fast` declines returns [`crate::rt::aio::wait_marker`], so that the coroutine waits. `guarded` precedes a `fast` that might
/// panic.
macro_rules! hot_methods {
    (
        $visibility:vis fn $install:ident() for $class:ty as $class_name:expr;
        $(
            $(#[doc = $doc:expr])*
            fn $name:ident($this:ident $(, $parameter:ident $(= $default:tt)?)* $(, * $(, $keyword:ident = $otherwise:tt)+)?) {
                $(guarded $guarded:literal,)?
                $(often: $often:ident => $oftener:expr,)?
                $(at_once: $at_once:expr, otherwise: $rest:expr,)?
                fast: $fast:expr,
                $(general: $general:expr,)?
            }
        )*
    ) => {
        $visibility fn $install(class: &pyo3::Bound<'_, pyo3::types::PyType>) -> pyo3::PyResult<()> {
            use $crate::rt::hot::{Arguments, Hot, Parameter, Fast, install, method};

            install::<$class>(class, &[$({
                struct Method;
                const POSITIONAL: usize = <[&str]>::len(&[$(stringify!($parameter)),*]);
                #[allow(dead_code, reason = "if no parameter is given often")]
                const NAMES: &[&str] = &[$(stringify!($parameter),)* $($(stringify!($keyword)),+)?];
                const N: usize = POSITIONAL $($(+ <[&str]>::len(&[stringify!($keyword)]))+)?;

                impl Hot<N> for Method {
                    type Class = $class;
                    const CLASS: &'static str = $class_name;
                    const NAME: &'static str = stringify!($name);
                    const DOC: &'static str = concat!(
                        stringify!($name), "($self" $(, ", ", stringify!($parameter) $(, "=", stringify!($default))?)*,
                        $(", *" $(, ", ", stringify!($keyword), "=", stringify!($otherwise))+,)?
                        ")\n--\n\n" $(, $doc, "\n")*
                    );
                    const REQUIRED: usize = POSITIONAL $($(- <[&str]>::len(&[stringify!($default)]))?)*;
                    const POSITIONAL: usize = POSITIONAL;
                    $(const GUARDED: bool = $guarded;)?
                    $(const OFTEN: usize = $crate::rt::hot_methods::position(stringify!($often), NAMES);)?
                    const AT_ONCE: bool = !<[&str]>::is_empty(&[$(stringify!($at_once))?]);

                    fn parameters() -> [&'static Parameter; N] {
                        [
                            $({
                                static PARAMETER: Parameter = Parameter::new(stringify!($parameter));
                                &PARAMETER
                            },)*
                            $($({
                                static PARAMETER: Parameter = Parameter::new(stringify!($keyword));
                                &PARAMETER
                            },)+)?
                        ]
                    }

                    #[inline(always)]
                    #[allow(unused_variables, reason = "by a method without this form")]
                    fn at_once<'py>(
                        $this: pyo3::Borrowed<'_, 'py, $class>,
                        [$($parameter,)* $($($keyword),+)?]: Arguments<'_, 'py, N>,
                    ) -> Option<pyo3::Py<pyo3::PyAny>> {
                        $($crate::rt::hot_methods::hot_methods!(@required $parameter $(= $default)?);)*
                        $crate::rt::hot_methods::hot_methods!(@at_once $($at_once)?)
                    }

                    #[inline(always)]
                    #[allow(unused_variables, reason = "as above")]
                    fn often<'py>(
                        $this: pyo3::Borrowed<'_, 'py, $class>,
                        [$($parameter,)* $($($keyword),+)?]: Arguments<'_, 'py, N>,
                    ) -> Fast {
                        $($crate::rt::hot_methods::hot_methods!(@required $parameter $(= $default)?);)*
                        $crate::rt::hot_methods::hot_methods!(@otherwise $($oftener)?)
                    }

                    #[inline(always)]
                    #[allow(unused_variables, reason = "as above")]
                    fn otherwise<'py>(
                        $this: pyo3::Borrowed<'_, 'py, $class>,
                        [$($parameter,)* $($($keyword),+)?]: Arguments<'_, 'py, N>,
                    ) -> Fast {
                        $($crate::rt::hot_methods::hot_methods!(@required $parameter $(= $default)?);)*
                        $crate::rt::hot_methods::hot_methods!(@fast $this, $crate::rt::hot_methods::hot_methods!(@otherwise $($rest)?) $(, $general)?)
                    }

                    #[inline(always)]
                    #[allow(unused_variables, reason = "a parameter that only the protocol asks for")]
                    fn fast<'py>(
                        $this: pyo3::Borrowed<'_, 'py, $class>,
                        [$($parameter,)* $($($keyword),+)?]: Arguments<'_, 'py, N>,
                    ) -> Fast {
                        $($crate::rt::hot_methods::hot_methods!(@given $parameter $(= $default)?);)*
                        $crate::rt::hot_methods::hot_methods!(@fast $this, $fast $(, $general)?)
                    }

                    #[allow(unused_variables, reason = "by a coroutine's fast path, or as above")]
                    fn general<'py>(
                        $this: &pyo3::Bound<'py, $class>,
                        [$($parameter,)* $($($keyword),+)?]: Arguments<'_, 'py, N>,
                    ) -> pyo3::PyResult<pyo3::Py<pyo3::PyAny>> {
                        $($crate::rt::hot_methods::hot_methods!(@required $parameter $(= $default)?);)*
                        $crate::rt::hot_methods::hot_methods!(@general $this $(, $general)?)
                    }
                }

                method::<Method, N>()
            }),*])
        }
    };
    (@given $parameter:ident) => {
        let Some($parameter) = $parameter else { return Fast::Declined };
    };
    (@required $parameter:ident) => {
        let $parameter = $parameter.expect("required");
    };
    (@$any:ident $parameter:ident = $default:tt) => {};
    (@at_once) => {
        None
    };
    (@at_once $at_once:expr) => {
        $at_once
    };
    (@otherwise) => {
        Fast::Declined
    };
    (@otherwise $rest:expr) => {
        $rest
    };
    (@fast $this:ident, $fast:expr) => {
        Fast::or_wait($fast, $this.py())
    };
    (@fast $this:ident, $fast:expr, $general:expr) => {
        $fast
    };
    (@general $this:ident) => {
        Ok($crate::rt::aio::wait_marker($this.py()))
    };
    (@general $this:ident, $general:expr) => {
        $general
    };
}
pub(crate) use hot_methods;
