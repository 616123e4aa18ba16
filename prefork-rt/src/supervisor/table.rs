//! Which process is which worker, looked up both ways, and which seat of the scoreboard the worker has.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::policy::ProcId;
use crate::scoreboard::{Occupant, SEATS};
use crate::sys::Pid;
use crate::upgrade::state::Process;

#[derive(Default)]
pub(super) struct Table {
    /// The workers that are alive. Not a hash map, whose random keys all workers would share.
    alive: BTreeMap<Pid, ProcId>,
    /// The last process in each seat of each task id. It stays after its end, as lines still name it.
    seats: Vec<[Option<Entry>; SEATS]>,
}

#[derive(Clone, Copy)]
struct Entry {
    proc: ProcId,
    pid: Pid,
    /// Since the scoreboard was made.
    started: Duration,
    /// SIGKILL was sent to it.
    killed: bool,
}

impl Table {
    /// Enters a process in the seat that [`next_seat`](Table::next_seat) returned.
    pub(super) fn enter(&mut self, proc: ProcId, seat: usize, pid: Pid, started: Duration) {
        self.alive.insert(pid, proc);
        self.seats.resize(self.seats.len().max(proc.task_id() + 1), [None; SEATS]);
        self.seats[proc.task_id()][seat] = Some(Entry { proc, pid, started, killed: false });
    }

    /// Enters a process that the previous binary has forked.
    pub(super) fn adopt(&mut self, proc: ProcId, process: &Process) {
        self.enter(proc, process.seat, Pid::from_raw(process.pid), process.started);
        if process.killed {
            self.note_kill(proc);
        }
    }

    /// The processes that are alive, for the next binary.
    pub(super) fn snapshot(&self) -> Vec<Process> {
        let entries =
            self.seats.iter().flat_map(|seats| (0..).zip(seats)).filter_map(|(seat, entry)| Some((seat, (*entry)?)));
        let alive = entries.filter(|(_, entry)| self.is_alive(entry));
        let process = |(seat, entry): (usize, Entry)| Process {
            task_id: entry.proc.task_id(),
            fork: entry.proc.fork(),
            pid: entry.pid.as_raw(),
            seat,
            started: entry.started,
            killed: entry.killed,
        };
        alive.map(process).collect()
    }

    pub(super) fn remove(&mut self, pid: Pid) {
        self.alive.remove(&pid);
    }

    /// A free seat for a process that is about to be forked.
    pub(super) fn next_seat(&self, task_id: usize) -> usize {
        let Some(seats) = self.seats.get(task_id) else { return 0 };
        let is_free = |entry: &Option<Entry>| !entry.is_some_and(|entry| self.is_alive(&entry));
        seats.iter().position(is_free).unwrap_or(0)
    }

    fn seat(&self, proc: ProcId) -> Option<usize> {
        self.seats.get(proc.task_id())?.iter().position(|entry| entry.is_some_and(|entry| entry.proc == proc))
    }

    /// The worker that this process is, if it was not removed.
    pub(super) fn proc(&self, pid: Pid) -> Option<ProcId> {
        self.alive.get(&pid).copied()
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = (Pid, ProcId)> {
        self.alive.iter().map(|(&pid, &proc)| (pid, proc))
    }

    /// Whether this task id ever had a process.
    pub(super) fn knows(&self, task_id: usize) -> bool {
        task_id < self.seats.len()
    }

    /// The processes of this task id that are alive.
    pub(super) fn alive_of(&self, task_id: usize) -> impl Iterator<Item = ProcId> {
        let entries = self.seats.get(task_id).into_iter().flatten().flatten();
        entries.filter(|entry| self.is_alive(entry)).map(|entry| entry.proc)
    }

    /// The process id of this worker, also after its end until another process has its seat.
    pub(super) fn pid(&self, proc: ProcId) -> Option<Pid> {
        self.entry(proc).map(|entry| entry.pid)
    }

    /// The process id, as long as no other process can have it: the worker may have been reaped since the policy chose to
    /// signal it.
    pub(super) fn living_pid(&self, proc: ProcId) -> Option<Pid> {
        self.entry(proc).filter(|entry| self.is_alive(entry)).map(|entry| entry.pid)
    }

    pub(super) fn note_kill(&mut self, proc: ProcId) {
        let entries = self.seats.get_mut(proc.task_id()).into_iter().flatten().flatten();
        entries.filter(|entry| entry.proc == proc).for_each(|entry| entry.killed = true);
    }

    pub(super) fn was_killed(&self, proc: ProcId) -> bool {
        self.entry(proc).is_some_and(|entry| entry.killed)
    }

    /// As the scoreboard shows it.
    pub(super) fn occupant(&self, proc: ProcId) -> Option<Occupant> {
        let &Entry { pid, started, .. } = self.entry(proc)?;
        Some(Occupant { pid: pid.as_raw(), fork: proc.fork(), seat: self.seat(proc)?, started })
    }

    fn entry(&self, proc: ProcId) -> Option<&Entry> {
        self.seats.get(proc.task_id())?.iter().flatten().find(|entry| entry.proc == proc)
    }

    fn is_alive(&self, entry: &Entry) -> bool {
        self.alive.get(&entry.pid) == Some(&entry.proc)
    }
}
