//! What `preload` returned: stored once before the first fork, and lent to every worker for its whole life.

use std::any::{Any, TypeId, type_name};
use std::sync::OnceLock;

use crate::error::Error;

static VALUE: OnceLock<Preloaded> = OnceLock::new();

struct Preloaded {
    value: &'static (dyn Any + Sync),
    type_name: &'static str,
}

/// Stores what the function returned.
pub(crate) fn store<T: Any + Sync>(value: T) -> Result<(), Error> {
    let preloaded = Preloaded { value: Box::leak(Box::new(value)), type_name: type_name::<T>() };
    VALUE.set(preloaded).map_err(|_| Error::AlreadyStarted)
}

/// The value, where its type is `T`.
pub(crate) fn lent<T: Any>() -> Result<&'static T, Error> {
    check(TypeId::of::<T>(), type_name::<T>())?;
    let value: Option<&'static (dyn Any + Sync)> = VALUE.get().map(|preloaded| preloaded.value);
    value.and_then(|value| (value as &dyn Any).downcast_ref()).ok_or_else(|| missing(type_name::<T>()))
}

/// Whether there is a value and it has this type.
pub(crate) fn check(type_id: TypeId, type_name: &str) -> Result<(), Error> {
    let preloaded = VALUE.get().ok_or_else(|| missing(type_name))?;
    if (preloaded.value as &dyn Any).type_id() == type_id {
        return Ok(());
    }
    let returned = preloaded.type_name;
    Err(Error::Argument {
        reason: format!(
            "main or Worker::get asks for `&{type_name}`, but preload returned `{returned}`: ask for `&{returned}`"
        ),
    })
}

fn missing(type_name: &str) -> Error {
    Error::Argument {
        reason: format!(
            "main or Worker::get asks for `&{type_name}`, which only preload can provide: add `preload = \
             path::to::function` to #[prefork], naming a function that returns it; with the builder, let the body \
             capture the value"
        ),
    }
}
