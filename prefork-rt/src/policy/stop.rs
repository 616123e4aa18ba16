//! The end of the pool: graceful, immediate, and over.

use super::deadlines::{Alarm, Deadline};
use super::kill::KILL_TIMEOUT;
use super::notice::{KillReason, Notice};
use super::slot::{ProcState, Why};
use super::{Action, Exit, Phase, Policy, Signal, StopDelayed, Stopping};

impl Policy {
    /// A graceful stop was asked for, and begins after `drain_delay`. Until then the pool serves on and replaces workers
    /// that end. No turn begins. Those in progress end as when a reload is abandoned, and so does an upgrade.
    pub(super) fn delay_stop(&mut self, by: String) {
        let delay = self.rules.drain_delay;
        self.phase = Phase::StopDelayed(StopDelayed { by: by.clone(), asked_again: false });
        self.deadlines.set(Deadline::Stop, self.now.after(delay));
        self.tell(Notice::StopDelayed { by, alive: self.alive, delay });
        self.end_upgrade_before_a_stop();
        self.end_turns();
        self.exit_if_over();
    }

    /// The delay is over.
    pub(super) fn stop_is_due(&mut self) {
        let Phase::StopDelayed(StopDelayed { by, .. }) = &self.phase else { return };
        let exit = Exit::Stopped { by: by.clone(), killed: 0 };
        self.stop(exit, Some("drain_delay is over".to_owned()));
    }

    /// Begins a graceful stop.
    pub(super) fn stop(&mut self, exit: Exit, by: Option<String>) {
        self.close(exit);
        let graceful_timeout = self.rules.graceful_timeout;
        self.deadlines.set(Deadline::Kill, self.now.after(graceful_timeout));
        if self.alive > 0 {
            self.tell(Notice::Stopping { by, alive: self.alive, graceful_timeout });
        }
        self.signal_all(Signal::Terminate);
        self.exit_if_over();
    }

    /// Nothing is started from here on. The first reason to close the pool decides the exit status, also where that is a
    /// stop that was asked for and delayed. A process that was told to end before has no more time than it had.
    pub(super) fn close(&mut self, exit: Exit) {
        let (exit, asked_again) = match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::StopDelayed(StopDelayed { by, asked_again }) => (Exit::Stopped { by, killed: 0 }, asked_again),
            Phase::Running | Phase::Stopping(_) | Phase::Done => (exit, false),
        };
        let asked = matches!(exit, Exit::Stopped { .. });
        self.phase = Phase::Stopping(Stopping { exit, asked, asked_again, immediate: false });
        self.forget_turns();
        self.forget_upgrade();
        // No slot waits for a start any more.
        (0..self.slots.len()).for_each(|task_id| self.changed.push_back(task_id));
        self.deadlines.retain(|deadline| matches!(deadline, Deadline::Proc { alarm: Alarm::Kill, .. }));
        self.unwatch_all();
        self.actions.push_back(Action::CloseListeners);
    }

    /// A stop was asked for, and the one that is under way stays as it is.
    pub(super) fn already_stopping(&mut self, by: String) {
        match &mut self.phase {
            Phase::StopDelayed(delayed) => delayed.asked_again = true,
            Phase::Stopping(stopping) => (stopping.asked, stopping.asked_again) = (true, true),
            Phase::Running | Phase::Done => return,
        }
        self.tell(Notice::AlreadyStopping { by });
    }

    /// Turns a stop into an immediate one.
    pub(super) fn kill_all(&mut self, why: KillReason) {
        let to_kill = self.ids(&|proc| !matches!(proc.state, ProcState::Killed(_))).len();
        let Phase::Stopping(stopping) = &mut self.phase else { return };
        if std::mem::replace(&mut stopping.immediate, true) {
            return;
        }
        self.count_killed(to_kill);
        self.deadlines.clear_all();
        self.deadlines.set(Deadline::LeaveBehind, self.now.after(KILL_TIMEOUT));
        if self.alive > 0 {
            self.tell(Notice::Killing { alive: self.alive, why });
        }
        self.signal_all(Signal::Kill);
        self.exit_if_over();
    }

    pub(super) fn count_killed(&mut self, more: usize) {
        if let Phase::Stopping(Stopping { exit: Exit::Stopped { killed, .. }, .. }) = &mut self.phase {
            *killed += more;
        }
    }

    /// Sends SIGTERM or SIGKILL for the stop to all processes. For one that got this signal or SIGKILL before, only the
    /// reason changes.
    fn signal_all(&mut self, signal: Signal) {
        for id in self.ids(&|_| true) {
            let Some(proc) = self.proc(id) else { continue };
            match (&mut proc.state, signal) {
                (ProcState::Killed(why), _) | (ProcState::Ending(why), Signal::Terminate) => *why = Why::Stop,
                (state, _) => {
                    let kills = signal == Signal::Kill;
                    *state = if kills { ProcState::Killed(Why::Stop) } else { ProcState::Ending(Why::Stop) };
                    self.actions.push_back(Action::Signal(id, signal));
                }
            }
            self.touched(id.task_id);
        }
    }

    pub(super) fn exit_if_over(&mut self) {
        let over = match &self.phase {
            Phase::Running | Phase::StopDelayed(_) => {
                let is_settled = self.draining == 0 && !self.has_just_committed();
                self.headcount.finished() == self.size && self.alive == 0 && is_settled
            }
            Phase::Stopping(_) => self.alive == 0,
            Phase::Done => false,
        };
        if over {
            self.exit();
        }
    }

    pub(super) fn exit(&mut self) {
        let exit = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Stopping(_) if self.alive > 0 => Exit::Unkillable(self.ids(&|_| true)),
            Phase::Stopping(stopping) => stopping.exit,
            Phase::StopDelayed(StopDelayed { by, .. }) => Exit::Stopped { by, killed: 0 },
            Phase::Running | Phase::Done => Exit::Finished,
        };
        self.deadlines.clear_all();
        self.actions.push_back(Action::Exit(exit));
    }
}
