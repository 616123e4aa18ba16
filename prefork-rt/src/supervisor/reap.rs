//! The end of a child: how it ended, and what it leaves in its process group.
//!
//! It must not know what an end means.

use std::ffi::c_int;
use std::io;
use std::time::{Duration, Instant};

use super::Supervisor;
use super::unreaped::LONGEST_PUT_OFF;
use crate::listen::Moment;
use crate::policy::{Event, Killer, ProcId, Status};
use crate::report;
use crate::sys::{self, End, News, Pid, Rest, Signal};

/// Longer than what is done between two looks through all children, but for a fork of a big process.
const SOON: Duration = LONGEST_PUT_OFF.saturating_mul(2);

impl Supervisor {
    /// Takes in children that have ended or stopped: first all of them are reaped, and then what is learned once is learned for
    /// all.
    pub(super) fn take_news(&mut self) {
        if !self.unreaped.is_any() {
            return;
        }
        let mut left = Vec::new();
        while let Some(pid) = self.unreaped.take_named() {
            // Where this fails, the look through all children asks for it again.
            let _ = sys::news_of(pid).and_then(|news| news.map_or(Ok(()), |news| self.take(news, &mut left)));
        }
        let (found, presses) = (!self.ends.is_empty(), self.deadline_presses());
        if self.unreaped.look_is_due(Instant::now(), found, presses) {
            self.look_through_all(&mut left);
        }
        tell_leftovers(&left);
        if self.ends.iter().any(|(proc, end)| self.is_unexplained(*proc, end)) {
            self.oom_kills.look();
        }
        for nth in 0..self.ends.len() {
            let (proc, end) = self.ends[nth];
            self.take_end(proc, &end);
        }
        self.ends.clear();
        if !self.ended.is_empty() {
            let repairs = self.service.listeners.inspect(Moment::Ends(&self.ended));
            self.ended.clear();
            self.tell_repairs(repairs);
        }
    }

    /// Whether something is due before children are looked through the next time. A process that has ended by then must not
    /// count as late.
    fn deadline_presses(&self) -> bool {
        self.policy.poll_timeout().is_some_and(|deadline| deadline <= self.clock.now().after(SOON))
    }

    fn look_through_all(&mut self, left: &mut Vec<Leftovers>) {
        loop {
            let asked = Instant::now();
            let taken = match sys::next_news() {
                Ok(Some(news)) => self.take(news, left),
                Ok(None) => return self.unreaped.looked(asked, Instant::now()),
                Err(error) => Err(error),
            };
            if taken.is_err() {
                return self.unreaped.failed(asked);
            }
        }
    }

    fn take(&mut self, news: News, left: &mut Vec<Leftovers>) -> io::Result<()> {
        match news {
            News::Ended(pid) => self.reap_child(pid).map(|leftovers| left.extend(leftovers)),
            News::Stopped(pid) => self.take_stop(pid),
        }
    }

    /// Reaps a child that has ended. What is left of the process group of a worker or a rehearsal is killed before, as long
    /// as the group's id can be no other's.
    fn reap_child(&mut self, pid: Pid) -> io::Result<Option<Leftovers>> {
        let proc = self.table.proc(pid);
        let rehearsal = self.rehearsal.as_ref().is_some_and(|rehearsal| rehearsal.pid == pid);
        if proc.is_none() && !rehearsal {
            // A stranger: its parent was this process before prefork, or ended, and this process is PID 1 or a subreaper.
            // It is only reaped, because its group may be a daemon's.
            return reap(pid).map(|_| None);
        }
        sys::kill_rest(pid);
        let end = reap(pid)?;
        let rest = self.rest_of(pid);
        match proc {
            Some(proc) => {
                self.table.remove(proc);
                self.ended.push((proc.task_id(), pid.as_raw()));
                self.ends.push((proc, end));
            }
            None => {
                if let Some(rehearsal) = self.rehearsal.take() {
                    self.judge(*rehearsal, &end);
                }
            }
        }
        Ok((rest != Rest::Nothing).then_some(Leftovers { task_id: proc.map(ProcId::task_id), leader: pid, rest }))
    }

    /// What is left of the group of a child that was reaped, without processes that had ended before the group was killed.
    fn rest_of(&self, leader: Pid) -> Rest {
        let mut rest = sys::rest_of(leader);
        let mut were_killed = false;
        // As PID 1 or subreaper, this process is now the parent of those that were killed.
        while rest == Rest::Ours {
            let stranger = sys::next_ended_in(leader).ok().flatten().filter(|&pid| self.table.proc(pid).is_none());
            let Some(end) = stranger.and_then(|pid| reap(pid).ok()) else { break };
            were_killed |= matches!(end, End::Killed { signal, .. } if signal == Signal::SIGKILL as c_int);
            rest = sys::rest_of(leader);
        }
        if were_killed && rest == Rest::Nothing { Rest::Ours } else { rest }
    }

    fn take_stop(&self, pid: Pid) -> io::Result<()> {
        let signal = sys::take_stop(pid)?;
        if let (Some(proc), Some(signal)) = (self.table.proc(pid), signal) {
            if signal == Signal::SIGTTIN as c_int || signal == Signal::SIGTTOU as c_int {
                report::stopped_by_terminal(proc.task_id(), pid, signal);
            }
        }
        Ok(())
    }

    /// Whether something else than this process killed it for good.
    fn is_unexplained(&self, proc: ProcId, end: &End) -> bool {
        matches!(end, End::Killed { signal, .. } if *signal == Signal::SIGKILL as c_int) && !self.table.was_killed(proc)
    }

    fn take_end(&mut self, proc: ProcId, end: &End) {
        let status = match *end {
            End::Exited(code) => Status::Exited(code),
            End::Killed { .. } if self.is_unexplained(proc, end) => {
                Status::KilledByOthers(self.oom_kills.explain().map_or(Killer::Unknown, Killer::OutOfMemory))
            }
            End::Killed { signal, dumped_core } => Status::Killed { signal, dumped_core },
        };
        if self.table.occupant(proc).is_some_and(|occupant| self.publisher.has_reports(proc.task_id(), &occupant)) {
            self.read_report(proc);
        }
        self.policy.handle(self.clock.now(), Event::Ended(proc, status));
    }
}

/// What a worker, or a rehearsal, has left in its process group.
struct Leftovers {
    task_id: Option<usize>,
    leader: Pid,
    rest: Rest,
}

/// Names what was left, but for zombies, which a worker leaves when it has not waited for its children.
fn tell_leftovers(left: &[Leftovers]) {
    if left.is_empty() {
        return;
    }
    let mut leaders: Vec<Pid> = Vec::new();
    for left in left {
        leaders.push(left.leader);
    }
    let members = sys::members(&leaders);
    for &Leftovers { task_id, leader, rest } in left {
        let (mut have_gone, mut running) = (true, Vec::new());
        for member in &members {
            if member.group == leader {
                have_gone = false;
                if !member.had_ended {
                    running.push(member);
                }
            }
        }
        // If none is left, those that were killed have gone already.
        if have_gone || !running.is_empty() {
            report::left_behind(task_id, leader, rest, &running);
        }
    }
}

/// Reaps a child that is known to have ended, and returns how it ended.
fn reap(pid: Pid) -> io::Result<End> {
    sys::reap(pid)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}
