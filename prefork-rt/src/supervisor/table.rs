//! Which process is which worker, looked up both ways, and which seat of the scoreboard the worker has.

use std::time::Duration;

use crate::policy::ProcId;
use crate::scoreboard::{Occupant, SEATS};
use crate::sys::{Pid, Uncopied, UncopiedVec};
use crate::upgrade::state::Process;

pub(super) struct Table {
    /// The process ids of the workers that are alive, by task id and seat; 0 in a seat that has none. They are looked through,
    /// so they lie close together.
    alive: UncopiedVec<[i32; SEATS]>,
    /// The task id of the worker that was removed last. Many workers mostly end in the order of their task ids.
    removed: usize,
    /// The last process in each seat of each task id. It stays after its end, as lines still name it.
    seats: UncopiedVec<[Option<Entry>; SEATS]>,
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
    /// With room for the seats of this many task ids.
    pub(super) fn for_workers(workers: usize, memory: &Uncopied) -> Table {
        Table { alive: memory.vec(workers), seats: memory.vec(workers), removed: 0 }
    }

    /// Enters a process in the seat that [`next_seat`](Table::next_seat) returned.
    pub(super) fn enter(&mut self, proc: ProcId, seat: usize, pid: Pid, started: Duration) {
        let task_ids = self.seats.len().max(proc.task_id() + 1);
        self.alive.grow_to(task_ids, [0; SEATS]);
        self.seats.grow_to(task_ids, [None; SEATS]);
        self.alive[proc.task_id()][seat] = pid.as_raw();
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
        let mut processes = Vec::new();
        for (seat, entry) in self.living() {
            processes.push(Process {
                task_id: entry.proc.task_id(),
                fork: entry.proc.fork(),
                pid: entry.pid.as_raw(),
                seat,
                started: entry.started,
                killed: entry.killed,
            });
        }
        processes
    }

    pub(super) fn remove(&mut self, proc: ProcId) {
        if let (task_id, Some(seat)) = (proc.task_id(), self.seat(proc)) {
            self.alive[task_id][seat] = 0;
            self.removed = task_id;
        }
    }

    /// The task id and the seat of a worker that is alive.
    fn place(&self, pid: Pid) -> Option<(usize, usize)> {
        let pid = pid.as_raw();
        let (before, after) = self.alive.split_at(self.removed.min(self.alive.len()));
        let in_part = |part: &[[i32; SEATS]]| part.iter().position(|pids| pids.contains(&pid)).filter(|_| pid != 0);
        let task_id = in_part(after).map(|place| before.len() + place).or_else(|| in_part(before))?;
        Some((task_id, self.alive[task_id].iter().position(|&other| other == pid)?))
    }

    /// A free seat for a process that is about to be forked.
    pub(super) fn next_seat(&self, task_id: usize) -> usize {
        let pids = self.alive.get(task_id);
        pids.and_then(|pids| pids.iter().position(|&pid| pid == 0)).unwrap_or(0)
    }

    fn seat(&self, proc: ProcId) -> Option<usize> {
        self.seats.get(proc.task_id())?.iter().position(|entry| entry.is_some_and(|entry| entry.proc == proc))
    }

    /// The worker that this process is, if it was not removed.
    pub(super) fn proc(&self, pid: Pid) -> Option<ProcId> {
        let (task_id, seat) = self.place(pid)?;
        self.seats[task_id][seat].as_ref().map(|entry| entry.proc)
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = (Pid, ProcId)> {
        self.living().map(|(_, entry)| (entry.pid, entry.proc))
    }

    /// Whether this task id ever had a process.
    pub(super) fn knows(&self, task_id: usize) -> bool {
        task_id < self.seats.len()
    }

    /// The processes of this task id that are alive.
    pub(super) fn alive_of(&self, task_id: usize) -> impl Iterator<Item = ProcId> {
        self.living_of(task_id).map(|(_, entry)| entry.proc)
    }

    /// Those that are alive, with their seats.
    fn living(&self) -> impl Iterator<Item = (usize, &Entry)> {
        (0..self.alive.len() * SEATS).filter_map(|place| self.living_at(place / SEATS, place % SEATS))
    }

    fn living_of(&self, task_id: usize) -> impl Iterator<Item = (usize, &Entry)> {
        (0..SEATS).filter_map(move |seat| self.living_at(task_id, seat))
    }

    /// The process in this seat, if it is alive.
    fn living_at(&self, task_id: usize, seat: usize) -> Option<(usize, &Entry)> {
        if self.alive.get(task_id)?[seat] == 0 {
            return None;
        }
        Some((seat, self.seats[task_id][seat].as_ref()?))
    }

    /// The process id of this worker, also after its end until another process has its seat.
    pub(super) fn pid(&self, proc: ProcId) -> Option<Pid> {
        self.entry(proc).map(|entry| entry.pid)
    }

    /// The process id, as long as no other process can have it: the worker may have been reaped since the policy chose to
    /// signal it.
    pub(super) fn living_pid(&self, proc: ProcId) -> Option<Pid> {
        self.living_of(proc.task_id()).find(|(_, entry)| entry.proc == proc).map(|(_, entry)| entry.pid)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: usize) -> Pid {
        Pid::from_raw(number as i32)
    }

    /// Each task id has a worker in seat 0, whose process id is 100 more than the task id.
    fn table(workers: usize) -> Table {
        let mut table = Table::for_workers(workers, &Uncopied::default());
        for task_id in 0..workers {
            table.enter(ProcId::of(task_id, task_id as u64), 0, pid(100 + task_id), Duration::ZERO);
        }
        table
    }

    #[test]
    fn a_worker_is_found_by_its_process_id_until_it_is_removed_whichever_was_removed_last() {
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]] {
            let mut table = table(5);
            let mut alive = Vec::from_iter(0..5);
            for task_id in order {
                table.remove(ProcId::of(task_id, task_id as u64));
                alive.retain(|&other| other != task_id);
                let found = (0..5).filter(|&task_id| table.proc(pid(100 + task_id)).is_some());
                assert_eq!(found.collect::<Vec<_>>(), alive);
                assert_eq!(table.pid(ProcId::of(task_id, task_id as u64)), Some(pid(100 + task_id)), "lines name it");
            }
            assert_eq!(table.proc(pid(0)), None, "an empty seat is no worker");
        }
    }

    #[test]
    fn a_replacement_has_the_other_seat_and_keeps_it_when_its_predecessor_is_removed() {
        let mut table = table(2);
        let (old, new) = (ProcId::of(1, 1), ProcId::of(1, 2));
        let seat = table.next_seat(1);
        table.enter(new, seat, pid(200), Duration::ZERO);
        assert_eq!((seat, table.alive_of(1).collect::<Vec<_>>()), (1, vec![old, new]));
        table.remove(old);
        table.remove(old);
        assert_eq!((table.proc(pid(101)), table.proc(pid(200)), table.next_seat(1)), (None, Some(new), 0));
        assert_eq!((table.living_pid(old), table.living_pid(new)), (None, Some(pid(200))));
    }
}
