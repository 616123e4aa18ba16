//! What may be an argument of `main`, what each needs before the first fork, and how it is filled in the worker: here
//! the task id and the handles, listeners in `listener.rs`, what `preload` returned in `preload.rs`.

use std::any::{Any, TypeId, type_name};

use super::Worker;
use super::preload;
use super::shutdown::{self, Shutdown};
use crate::error::Error;
use crate::grammar::Kind;
use crate::listen::{self, Label, Wanted};

/// What may be an argument of a `#[prefork]` function, and asked for with [`Worker::get`]. Sealed.
///
/// | type | what it is given |
/// |---|---|
/// | `usize`, `u32` | the task id |
/// | [`Worker`] | the handle of this worker |
/// | [`Shutdown`] | the handle that says when this worker is told to stop: [`Worker::shutdown`], called before the body runs |
/// | [`std::net::TcpListener`] | the TCP listener, where `listen` has exactly one TCP address |
/// | [`std::os::unix::net::UnixListener`] | the Unix socket, where `listen` has exactly one |
/// | [`std::net::UdpSocket`] | the UDP socket, where `listen` has exactly one UDP address |
/// | `Vec` of one of these three | all of that kind, in the order of `listen` |
/// | `tokio::net::TcpListener`, `UnixListener`, `UdpSocket`, and `Vec` of these, with the cargo feature `tokio` | the same, in non-blocking mode and registered with the runtime: for the body of an `async fn main` |
/// | `&T`, `&'static T` | what `preload` returned |
///
/// ```no_run
/// use std::net::TcpListener;
///
/// use prefork_rt::{Worker, prefork};
///
/// #[prefork(workers = 4, listen = "127.0.0.1:8080", preload = load)]
/// fn main(task_id: usize, worker: Worker, listener: TcpListener, words: &Vec<String>) {
///     println!("worker {task_id} of {} has {} words and {listener:?}", worker.workers(), words.len());
/// }
///
/// fn load() -> Vec<String> {
///     vec!["fork".to_owned()]
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a `#[prefork]` function",
    label = "not something prefork can pass to a worker",
    note = "what a `preload` function returned is lent: if it is that, write `&{Self}`",
    note = "accepted: `usize` or `u32` (the task id), `prefork_rt::Worker`, `prefork_rt::Shutdown`, `std::net::TcpListener`, `UnixListener`, `UdpSocket` or a `Vec` of these (with `listen`), and `&T` for what `preload` returned",
    note = "for the types of `tokio::net` enable prefork-rt's cargo feature `tokio`; for those of another async runtime take the standard library's and convert it in the body, for example with `from_std`"
)]
pub trait FromWorker: Sized + sealed::Sealed {
    /// What must exist before the first fork.
    #[doc(hidden)]
    fn needs() -> Needs;

    /// Fills the argument, in the worker.
    #[doc(hidden)]
    fn from_worker(worker: Worker) -> Result<Self, Error>;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// What an argument needs before the first fork.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Needs(pub(crate) Need);

impl Needs {
    pub(crate) fn listener(wanted: Wanted) -> Needs {
        Needs(Need::Listener(wanted))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    Nothing,
    TaskId,
    Listener(Wanted),
    Preloaded { type_id: fn() -> TypeId, type_name: fn() -> &'static str },
}

macro_rules! task_id_as {
    ($($integer:ty),*) => {$(
        impl sealed::Sealed for $integer {}
        #[diagnostic::do_not_recommend]
        impl FromWorker for $integer {
            fn needs() -> Needs {
                Needs(Need::TaskId)
            }
            fn from_worker(worker: Worker) -> Result<Self, Error> {
                <$integer>::try_from(worker.task_id()).map_err(|_| Error::Argument {
                    reason: format!("task id {} does not fit a {}: use usize", worker.task_id(), stringify!($integer)),
                })
            }
        }
    )*};
}
task_id_as!(usize, u32);

impl sealed::Sealed for Worker {}
#[diagnostic::do_not_recommend]
impl FromWorker for Worker {
    fn needs() -> Needs {
        Needs(Need::Nothing)
    }
    fn from_worker(worker: Worker) -> Result<Self, Error> {
        Ok(worker)
    }
}

impl sealed::Sealed for Shutdown {}
#[diagnostic::do_not_recommend]
impl FromWorker for Shutdown {
    fn needs() -> Needs {
        Needs(Need::Nothing)
    }
    fn from_worker(_: Worker) -> Result<Self, Error> {
        Ok(shutdown::shutdown())
    }
}

impl<T: Any + Sync> sealed::Sealed for &'static T {}
#[diagnostic::do_not_recommend]
impl<T: Any + Sync> FromWorker for &'static T {
    fn needs() -> Needs {
        Needs(Need::Preloaded { type_id: TypeId::of::<T>, type_name: type_name::<T> })
    }
    fn from_worker(_: Worker) -> Result<Self, Error> {
        preload::lent()
    }
}

/// Whether what the arguments need is there, before anything is forked.
pub(crate) fn check_needs(needs: &[Needs], labels: &[Label], explain: impl Fn(Error) -> Error) -> Result<(), Error> {
    let mut all: Vec<&Label> = Vec::new();
    for label in labels {
        all.push(label);
    }
    let mut task_ids = 0;
    for Needs(need) in needs {
        match need {
            Need::Nothing => {}
            Need::TaskId => task_ids += 1,
            Need::Listener(wanted) => listen::check(&all, *wanted, None).map_err(&explain)?,
            Need::Preloaded { type_id, type_name } => preload::check(type_id(), type_name())?,
        }
    }
    if task_ids > 1 {
        return Err(Error::Argument {
            reason: "two arguments of main are integers, and both would be the task id: keep one, and ask \
                     Worker::workers() for the number of workers"
                .to_owned(),
        });
    }
    Kind::ALL.into_iter().try_for_each(|kind| check_takers(needs, kind))
}

/// Each kind of listener is given to one argument, in one mode.
fn check_takers(needs: &[Needs], kind: Kind) -> Result<(), Error> {
    let takers = takers(needs, kind);
    let ty = kind.type_name();
    let reason = match takers[..] {
        [] | [_] => return Ok(()),
        [first, ref more @ ..] if more.iter().any(|other| other.nonblocking != first.nonblocking) => format!(
            "one argument of main takes the {ty} of the standard library and another that of tokio, but a socket is in \
             blocking mode or not, for both: keep one"
        ),
        _ => format!(
            "two arguments of main take the {ty}, but a worker is given each listener once: keep one, and use \
             try_clone() for a second handle"
        ),
    };
    Err(Error::Argument { reason })
}

fn takers(needs: &[Needs], kind: Kind) -> Vec<Wanted> {
    let mut takers = Vec::new();
    for Needs(need) in needs {
        match *need {
            Need::Listener(wanted) if wanted.kind == kind => takers.push(wanted),
            Need::Listener(_) | Need::Nothing | Need::TaskId | Need::Preloaded { .. } => {}
        }
    }
    takers
}

/// Whether an argument of main takes listeners of this kind as a type of tokio.
pub(crate) fn needs_nonblocking(needs: &[Needs], kind: Kind) -> bool {
    takers(needs, kind).iter().any(|wanted| wanted.nonblocking)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn labels(kinds: &[Kind]) -> Vec<Label> {
        kinds.iter().map(|&kind| Label { kind, name: None }).collect()
    }

    #[test]
    fn what_can_be_given_once_is_asked_for_once() {
        let listener = <TcpListener as FromWorker>::needs();
        let listeners = <Vec<TcpListener> as FromWorker>::needs();
        let (id, worker) = (<u32 as FromWorker>::needs(), <Worker as FromWorker>::needs());
        let (one, two) = (labels(&[Kind::Tcp]), labels(&[Kind::Tcp; 2]));
        assert!(check_needs(&[worker, listener, id, worker], &one, |error| error).is_ok());
        assert!(check_needs(&[listeners], &two, |error| error).is_ok());
        for twice in [[listener, listeners], [listener, listener], [listeners, listeners], [id, id]] {
            assert!(check_needs(&twice, &one, |error| error).is_err());
        }
        assert!(check_needs(&[listener], &two, |error| error).is_err());
        assert!(check_needs(&[listeners], &[], |error| error).is_err());
    }

    #[test]
    fn one_of_each_kind_is_given_by_type() {
        let each = [
            <TcpListener as FromWorker>::needs(),
            <UnixListener as FromWorker>::needs(),
            <UdpSocket as FromWorker>::needs(),
        ];
        assert!(check_needs(&each, &labels(&[Kind::Udp, Kind::Tcp, Kind::Unix]), |error| error).is_ok());
        let why = |labels: &[Label]| check_needs(&each, labels, |error| error).unwrap_err().to_string();
        assert!(why(&labels(&[Kind::Tcp, Kind::Udp])).contains("listen has no Unix socket"));
        assert!(why(&labels(&[Kind::Tcp, Kind::Unix, Kind::Udp, Kind::Udp])).contains("has 2 UDP addresses"));
        assert!(why(&labels(&[Kind::Udp, Kind::Unix])).contains("listen has no TCP address"));
        assert!(why(&[]).contains("nothing is listened on: give an address"));
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn the_mode_of_a_socket_is_decided_once() {
        let (std, tokio) =
            (<TcpListener as FromWorker>::needs(), <Vec<tokio::net::TcpListener> as FromWorker>::needs());
        let why = check_needs(&[std, tokio], &labels(&[Kind::Tcp]), |error| error).unwrap_err().to_string();
        assert!(why.contains("blocking mode"), "{why}");
    }
}
