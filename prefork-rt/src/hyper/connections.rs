//! The connections of one `serve`, which its accept loop and the task of each connection share: what one side changes, the
//! other learns.
//!
//! It must not know HTTP or sockets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::table::{Key, Patience, Phase, Table};

/// All connections of one `serve`.
pub(super) struct Connections {
    state: Mutex<State>,
    /// Wakes the accept loop.
    bell: Notify,
    limit: usize,
}

struct State {
    table: Table<Arc<Notify>>,
    /// When the accept loop wakes by itself.
    armed: Option<Instant>,
    /// Whether the accept loop waits for a connection to close, or to begin to wait for its client.
    wants_room: bool,
}

/// One connection, as its socket, its task and its requests know it.
pub(super) struct Link {
    connections: Arc<Connections>,
    key: Key,
    told: Arc<Notify>,
    /// Whether bytes have come since the last request began or ended.
    has_received: AtomicBool,
    /// Whether the client has opened it in HTTP/2.
    is_http2: AtomicBool,
    /// Whether the client does not take what is written.
    is_blocked: AtomicBool,
    /// Whether the client has taken bytes since this was asked.
    has_taken: AtomicBool,
}

impl Connections {
    pub(super) fn new(patience: Patience, limit: usize) -> Connections {
        let state = State { table: Table::new(patience), armed: None, wants_room: false };
        Connections { state: Mutex::new(state), bell: Notify::new(), limit: limit.max(1) }
    }

    /// A connection that was accepted now. Where that is one too many, the one that has waited for the longest is closed.
    pub(super) fn add(self: &Arc<Self>) -> Arc<Link> {
        let told = Arc::new(Notify::new());
        let mut state = self.state();
        let key = state.table.add(Arc::clone(&told), Instant::now());
        drop(state);
        let (has_received, is_http2, is_blocked, has_taken) = Default::default();
        Arc::new(Link { connections: Arc::clone(self), key, told, has_received, is_http2, is_blocked, has_taken })
    }

    /// Resolves when something has changed that the accept loop waits for.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.bell.notified()
    }

    /// Tells the connections that are due to close. Takes the time at which the accept loop wakes by itself, and returns the
    /// one at which it has to: an early one stays, because a busy connection puts its time off with each request.
    pub(super) fn tell_due(&self, armed: Option<Instant>) -> Option<Instant> {
        let mut state = self.state();
        if state.table.next_due().is_some() {
            let now = Instant::now();
            while let Some(told) = state.table.tell_due(now) {
                told.notify_one();
            }
        }
        let next = state.table.next_due();
        state.armed = armed.filter(|&armed| next.is_none_or(|next| armed <= next)).or(next);
        state.armed
    }

    /// Whether another connection may be accepted: below the limit, and at the limit where one that waits for its client can
    /// go instead. If not, a change is told of.
    pub(super) fn have_room(&self) -> bool {
        let mut state = self.state();
        let State { table, wants_room, .. } = &mut *state;
        while table.open() > self.limit + table.told() {
            let Some(told) = table.tell_longest() else { break };
            told.notify_one();
        }
        let has_room = table.open() < self.limit || (table.open() == self.limit && table.can_tell_longest());
        *wants_room = !has_room;
        has_room
    }

    /// Tells the connection that has waited for its client for the longest to close, because descriptors or memory are
    /// short, unless one is about to. Returns whether there is one; when it is closed, that is told of.
    pub(super) fn tell_longest(&self) -> bool {
        let mut state = self.state();
        state.wants_room = true;
        if state.table.told() > 0 {
            return true;
        }
        let told = state.table.tell_longest();
        told.inspect(|told| told.notify_one()).is_some()
    }

    /// The worker was told to stop.
    pub(super) fn stop(&self) {
        self.state().table.stop(Instant::now()).for_each(|told| told.notify_one());
    }

    pub(super) fn are_closed(&self) -> bool {
        self.state().table.open() == 0
    }

    /// Changes something that the accept loop may wait for.
    fn change<R>(&self, change: impl FnOnce(&mut Table<Arc<Notify>>) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state.table);
        let is_due_before = |armed| state.table.next_due().is_some_and(|due| due < armed);
        let is_late = state.armed.map_or_else(|| state.table.next_due().is_some(), is_due_before);
        let is_last = state.table.is_stopped() && state.table.open() == 0;
        if is_late || is_last || state.wants_room {
            state.wants_room = false;
            self.bell.notify_one();
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that panics runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Resolves when the connection is told to close, or the worker to stop.
    pub(super) fn told(&self) -> Notified<'_> {
        self.told.notified()
    }

    /// What the connection does, if it was told to close.
    pub(super) fn told_in(&self) -> Option<Phase> {
        self.connections.state().table.told_in(self.key)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.connections.state().table.is_stopped()
    }

    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    /// Whether the client has taken bytes since the last call.
    pub(super) fn has_taken(&self) -> bool {
        self.has_taken.swap(false, Ordering::Relaxed)
    }

    pub(super) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
        if !is_blocked {
            self.has_taken.store(true, Ordering::Relaxed);
        }
    }

    /// Bytes have come.
    pub(super) fn receive(&self) {
        self.has_received.store(true, Ordering::Relaxed);
    }

    /// The client speaks HTTP/2.
    pub(super) fn greet(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
        self.connections.change(|table| table.greet(self.key, Instant::now()));
    }

    /// Bytes that have come and made no request are a part of a head.
    pub(super) fn settle(&self) {
        if self.has_received.swap(false, Ordering::Relaxed) && !self.is_http2() {
            self.connections.change(|table| table.receive(self.key, Instant::now()));
        }
    }

    /// Whether there is one connection more than there may be, which the accept loop makes room for.
    pub(super) fn is_crowded(&self) -> bool {
        let state = self.connections.state();
        state.table.open() > self.connections.limit && !state.table.is_stopped()
    }

    /// A connection that was told to close waits for its client once more, and is told again when it is due.
    pub(super) fn wait_again(&self) {
        self.connections.change(|table| table.wait_again(self.key, Instant::now()));
    }

    /// The socket is closed.
    pub(super) fn close(&self) {
        // Its own handle of `told` is dropped with the link.
        drop(self.connections.change(|table| table.remove(self.key)));
    }
}

/// A request, until its answer has ended.
pub(super) struct Flight {
    link: Arc<Link>,
    ends: bool,
}

impl Flight {
    pub(super) fn begin(link: &Arc<Link>) -> Flight {
        link.has_received.store(false, Ordering::Relaxed);
        // An accept loop that counts on a connection which is told to close learns that it stays.
        let mut state = link.connections.state();
        if state.table.begin(link.key) && state.wants_room {
            link.connections.bell.notify_one();
        }
        drop(state);
        Flight { link: Arc::clone(link), ends: true }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.link.is_stopping()
    }

    /// The connection was upgraded: it is not idle until its socket is closed.
    pub(super) fn stay(&mut self) {
        self.ends = false;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.ends {
            self.link.has_received.store(false, Ordering::Relaxed);
            self.link.connections.change(|table| table.end(self.link.key, Instant::now()));
        }
    }
}
