//! Which connections are open, which of them wait for their client and since when: which one is due, and which one goes
//! first where there is no room.
//!
//! It must not know sockets, tasks or HTTP, and the time comes in.

use std::time::{Duration, Instant};

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come from the client.
    New,
    /// A part of a request's head has come.
    Head,
    /// Requests are being answered, or the connection was upgraded.
    Busy,
    /// All requests that came were answered.
    Idle,
}

/// How long a connection may wait for its client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the head of a request, from its first byte on; for the first one, from the accept on.
    pub(super) header: Duration,
    /// For the next request.
    pub(super) idle: Duration,
    /// For the next request, once the worker was told to stop.
    pub(super) drain: Duration,
}

impl Patience {
    /// After a stop, half of the time until this worker is killed is enough for idle connections.
    pub(super) fn within(self, graceful_timeout: Option<Duration>) -> Patience {
        let drain = graceful_timeout.map_or(self.drain, |timeout| self.drain.min(timeout / 2));
        Patience { drain, ..self }
    }
}

/// Names a connection, and no other one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    slot: usize,
    id: u64,
}

/// All connections. `T` is what each of them is told by.
pub(super) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
    lines: [Line; 3],
    patience: Patience,
    stopped: Option<Instant>,
    last_id: u64,
    open: usize,
    told: usize,
}

struct Slot<T> {
    id: u64,
    content: Option<T>,
    phase: Phase,
    requests: usize,
    since: Instant,
    /// Whether it was told to close.
    is_told: bool,
    line: Option<usize>,
    before: Option<usize>,
    after: Option<usize>,
}

/// Connections that wait equally long, in the order in which they began: a list through the slots, so that each change
/// takes the time of a few stores.
#[derive(Clone, Copy, Default)]
struct Line {
    first: Option<usize>,
    last: Option<usize>,
}

/// The lines: for the head of the first request, of a later one, and for the beginning of the next one.
const FIRST_HEAD: usize = 0;
const LATER_HEAD: usize = 1;
const NEXT_REQUEST: usize = 2;

impl<T> Table<T> {
    pub(super) fn new(patience: Patience) -> Table<T> {
        let (slots, free, lines) = (Vec::new(), Vec::new(), [Line::default(); 3]);
        Table { slots, free, lines, patience, stopped: None, last_id: 0, open: 0, told: 0 }
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// How many were told to close and are still open.
    pub(super) fn told(&self) -> usize {
        self.told
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// A connection that was accepted now.
    pub(super) fn add(&mut self, content: T, now: Instant) -> Key {
        self.last_id += 1;
        let id = self.last_id;
        let (phase, content) = (Phase::New, Some(content));
        let (is_told, line, before, after) = (false, None, None, None);
        let new = Slot { id, content, phase, requests: 0, since: now, is_told, line, before, after };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = new;
                slot
            }
            None => {
                self.slots.push(new);
                self.slots.len() - 1
            }
        };
        self.open += 1;
        self.wait(slot, FIRST_HEAD, now);
        Key { slot, id }
    }

    /// The connection is closed.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slot(key)?;
        self.forgive(slot);
        self.leave(slot);
        self.open -= 1;
        self.slots[slot].id = 0;
        self.free.push(slot);
        self.slots[slot].content.take()
    }

    /// A request has come whole. Returns whether the connection was told to close before, and now is not to.
    pub(super) fn begin(&mut self, key: Key) -> bool {
        let Some(slot) = self.slot(key) else { return false };
        self.leave(slot);
        self.slots[slot].requests += 1;
        self.slots[slot].phase = Phase::Busy;
        self.forgive(slot)
    }

    /// The answer to a request has ended.
    pub(super) fn end(&mut self, key: Key, now: Instant) {
        let Some(slot) = self.slot(key) else { return };
        self.slots[slot].requests -= 1;
        if self.slots[slot].requests == 0 {
            self.idle(slot, now);
        }
    }

    /// Bytes have come, which were not a whole head. Returns whether the connection was told to close before, and now is
    /// not to.
    pub(super) fn receive(&mut self, key: Key, now: Instant) -> bool {
        let Some(slot) = self.slot(key) else { return false };
        match self.slots[slot].phase {
            Phase::New => {
                // The time for the first head goes on.
                self.slots[slot].phase = Phase::Head;
                false
            }
            Phase::Idle => {
                self.slots[slot].phase = Phase::Head;
                self.leave(slot);
                self.wait(slot, LATER_HEAD, now);
                self.forgive(slot)
            }
            Phase::Head | Phase::Busy => false,
        }
    }

    /// The client has opened the connection in a protocol that has more than heads (HTTP/2), so it waits for requests.
    pub(super) fn greet(&mut self, key: Key, now: Instant) {
        let Some(slot) = self.slot(key) else { return };
        match self.slots[slot].phase {
            Phase::New | Phase::Head => self.idle(slot, now),
            Phase::Idle | Phase::Busy => {}
        }
    }

    /// What the connection does, if it was told to close.
    pub(super) fn told_in(&self, key: Key) -> Option<Phase> {
        let slot = &self.slots[self.slot(key)?];
        slot.is_told.then_some(slot.phase)
    }

    /// A connection that was told to close waits for its client once more, and is told again when it is due.
    pub(super) fn wait_again(&mut self, key: Key, now: Instant) {
        if let Some(slot) = self.slot(key) {
            self.forgive(slot);
            self.idle(slot, now);
        }
    }

    /// The worker was told to stop: connections on which nothing has come have no more time than idle ones.
    pub(super) fn stop(&mut self, now: Instant) -> impl Iterator<Item = &T> {
        self.stopped.get_or_insert(now);
        for slot in 0..self.slots.len() {
            if self.slots[slot].id != 0 && self.slots[slot].phase == Phase::New {
                self.idle(slot, now);
            }
        }
        self.slots.iter().filter_map(|slot| slot.content.as_ref())
    }

    /// When the next connection is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        (0..self.lines.len()).filter_map(|line| self.due(line)).min()
    }

    /// The next connection that is due, which counts as told to close.
    pub(super) fn tell_due(&mut self, now: Instant) -> Option<&T> {
        let line = (0..self.lines.len()).find(|&line| self.due(line).is_some_and(|due| due <= now))?;
        self.tell_first(line)
    }

    /// Whether any connection waits for its client.
    pub(super) fn can_tell_longest(&self) -> bool {
        self.lines.iter().any(|line| line.first.is_some())
    }

    /// The connection that has waited for the longest, which counts as told to close.
    pub(super) fn tell_longest(&mut self) -> Option<&T> {
        let longest = (0..self.lines.len()).filter_map(|line| self.longest(line));
        let slot = longest.min_by_key(|&slot| self.slots[slot].since)?;
        self.tell(slot)
    }

    /// The connection that has waited for the longest in this line. The last that was accepted has its first request on the
    /// way, so it is not one.
    fn longest(&self, line: usize) -> Option<usize> {
        let first = self.lines[line].first?;
        let is_newest = self.slots[first].id == self.last_id && self.slots[first].phase == Phase::New;
        if is_newest { self.slots[first].after } else { Some(first) }
    }

    fn slot(&self, key: Key) -> Option<usize> {
        (self.slots[key.slot].id == key.id).then_some(key.slot)
    }

    fn due(&self, line: usize) -> Option<Instant> {
        let since = self.slots[self.lines[line].first?].since;
        // A time that the clock does not reach never comes.
        match (line, self.stopped) {
            (NEXT_REQUEST, Some(stopped)) => since.max(stopped).checked_add(self.patience.drain),
            (NEXT_REQUEST, None) => since.checked_add(self.patience.idle),
            (_, _) => since.checked_add(self.patience.header),
        }
    }

    fn tell_first(&mut self, line: usize) -> Option<&T> {
        let slot = self.lines[line].first?;
        self.tell(slot)
    }

    fn tell(&mut self, slot: usize) -> Option<&T> {
        self.leave(slot);
        if !self.slots[slot].is_told {
            self.slots[slot].is_told = true;
            self.told += 1;
        }
        self.slots[slot].content.as_ref()
    }

    /// Whether it was told to close, which no longer holds.
    fn forgive(&mut self, slot: usize) -> bool {
        let was_told = std::mem::take(&mut self.slots[slot].is_told);
        self.told -= usize::from(was_told);
        was_told
    }

    fn idle(&mut self, slot: usize, now: Instant) {
        self.slots[slot].phase = Phase::Idle;
        self.leave(slot);
        self.wait(slot, NEXT_REQUEST, now);
    }

    fn wait(&mut self, slot: usize, line: usize, now: Instant) {
        let last = self.lines[line].last.replace(slot);
        match last {
            Some(last) => self.slots[last].after = Some(slot),
            None => self.lines[line].first = Some(slot),
        }
        let new = &mut self.slots[slot];
        (new.since, new.line, new.before, new.after) = (now, Some(line), last, None);
    }

    fn leave(&mut self, slot: usize) {
        let Some(line) = self.slots[slot].line.take() else { return };
        let (before, after) = (self.slots[slot].before, self.slots[slot].after);
        match before {
            Some(before) => self.slots[before].after = after,
            None => self.lines[line].first = after,
        }
        match after {
            Some(after) => self.slots[after].before = before,
            None => self.lines[line].last = before,
        }
    }
}

#[cfg(test)]
mod tests;
