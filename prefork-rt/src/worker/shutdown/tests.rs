use std::io::Read;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;
use std::thread;

use super::*;

fn new() -> Shutdown {
    Shutdown { state: Box::leak(Box::new(State::new().unwrap())), key: None }
}

fn waiting(shutdown: &Shutdown) -> usize {
    shutdown.state.wakers().waiting.iter().flatten().count()
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// An executor for one future, which parks.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

fn poll(shutdown: &mut Shutdown, waker: &Waker) -> Poll<()> {
    Pin::new(shutdown).poll(&mut Context::from_waker(waker))
}

#[test]
fn all_that_wait_learn_of_the_request() {
    let shutdown = new();
    assert!(!shutdown.is_requested());
    assert!(!shutdown.wait_timeout(Duration::from_millis(1)));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| shutdown.wait());
            scope.spawn(|| assert!(shutdown.wait_timeout(Duration::MAX)));
            scope.spawn(|| block_on(shutdown.clone()));
        }
        while waiting(&shutdown) < 3 {
            thread::yield_now();
        }
        shutdown.state.request();
    });
    assert!(shutdown.is_requested() && shutdown.wait_timeout(Duration::ZERO));
    shutdown.wait();
    block_on(shutdown.clone());
    block_on(shutdown);
}

#[test]
fn a_request_repeated_or_read_stays_a_request() {
    let shutdown = new();
    shutdown.state.request();
    shutdown.state.request();
    for _ in 0..3 {
        assert!(sys::wait_readable(shutdown.as_fd(), Some(Duration::ZERO)));
        assert_eq!((&shutdown.state.readable).read(&mut [0; 8]).unwrap(), 0);
    }
}

#[test]
fn a_future_registers_one_waker_the_last_and_none_when_dropped() {
    let (first, last) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    let mut shutdown = new();
    for counter in [&first, &first, &last, &last] {
        assert_eq!(poll(&mut shutdown, &Arc::clone(counter).into()), Poll::Pending);
        assert_eq!(waiting(&shutdown), 1);
    }
    assert_eq!(Arc::strong_count(&first), 1);

    let mut other = shutdown.clone();
    assert_eq!(poll(&mut other, &Arc::clone(&first).into()), Poll::Pending);
    assert_eq!(waiting(&shutdown), 2);
    drop(other);
    assert_eq!(waiting(&shutdown), 1);
    assert_eq!(Arc::strong_count(&first), 1);

    shutdown.state.request();
    while last.0.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    assert_eq!((first.0.load(Ordering::SeqCst), last.0.load(Ordering::SeqCst)), (0, 1));
    assert_eq!(poll(&mut shutdown, Waker::noop()), Poll::Ready(()));
    assert_eq!(poll(&mut shutdown, Waker::noop()), Poll::Ready(()));
}

#[test]
fn a_waker_may_hold_a_handle() {
    struct Holds(#[expect(dead_code, reason = "it is dropped")] Shutdown);
    impl Wake for Holds {
        fn wake(self: Arc<Self>) {}
    }
    let mut shutdown = new();
    for _ in 0..3 {
        let mut held = shutdown.clone();
        assert_eq!(poll(&mut held, Waker::noop()), Poll::Pending);
        assert_eq!(poll(&mut shutdown, &Arc::new(Holds(held)).into()), Poll::Pending);
    }
    let state = shutdown.state;
    drop(shutdown);
    assert!(state.wakers().waiting.iter().all(Option::is_none));
}

#[test]
fn it_goes_wherever_a_future_may_have_to_go() {
    fn check(_: impl Future<Output = ()> + Clone + Unpin + Send + Sync + fmt::Debug + 'static) {}
    let shutdown = new();
    assert_eq!(format!("{shutdown:?}"), "Shutdown { is_requested: false }");
    check(shutdown);
}
