//! The turns in progress: which slots are being replaced, and what each of them waits for.
//!
//! It must not know which slot comes next, nor what follows from the end of a turn.

use super::ProcId;

/// At most one turn of each slot, and what is left of turns that were given up.
#[derive(Default)]
pub(super) struct InProgress {
    /// In the order of their slots.
    turns: Vec<Turn>,
    /// Processes that were told to end in turns that were given up. Each still takes the place of a turn.
    leaving: Vec<ProcId>,
}

/// One slot's replacement in progress.
#[derive(Clone, Copy)]
struct Turn {
    task_id: usize,
    cause: Cause,
    awaits: Awaits,
}

/// What a turn is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The reload in progress.
    Reload,
    /// The slot's worker is recycled.
    Recycle,
    /// What was abandoned since. The turn ends for the sake of its slot.
    Abandoned,
}

/// What a turn waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    /// The old worker is gone, and its replacement is about to be started.
    Start,
    /// The replacement was forked, and is not ready yet.
    Ready(ProcId),
    /// The old worker was told to end.
    End(ProcId),
    /// The replacement was told to end, because the reload was abandoned. The old worker stays.
    Gone(ProcId),
}

impl InProgress {
    /// How many turns there are, with those that were given up and whose processes have not ended.
    pub(super) fn count(&self) -> usize {
        self.turns.len() + self.leaving.len()
    }

    pub(super) fn begin(&mut self, task_id: usize, cause: Cause, awaits: Awaits) {
        let turn = Turn { task_id, cause, awaits };
        match self.position(task_id) {
            Ok(index) => self.turns[index] = turn,
            Err(index) => self.turns.insert(index, turn),
        }
    }

    /// Ends the slot's turn, if it has one, and says what that was for.
    pub(super) fn end(&mut self, task_id: usize) -> Option<Cause> {
        let index = self.position(task_id).ok()?;
        Some(self.turns.remove(index).cause)
    }

    pub(super) fn cause(&self, task_id: usize) -> Option<Cause> {
        Some(self.turns[self.position(task_id).ok()?].cause)
    }

    pub(super) fn awaits(&self, task_id: usize) -> Option<Awaits> {
        Some(self.turns[self.position(task_id).ok()?].awaits)
    }

    /// From now on the slot's turn, if it has one, waits for this.
    pub(super) fn await_next(&mut self, task_id: usize, awaits: Awaits) {
        if let Ok(index) = self.position(task_id) {
            self.turns[index].awaits = awaits;
        }
    }

    pub(super) fn any_of_reload(&self) -> bool {
        self.turns.iter().any(|turn| turn.cause == Cause::Reload)
    }

    /// The reload is abandoned. Returns what its turns wait for: they end for the sake of their slots.
    pub(super) fn abandon_reload(&mut self) -> Vec<Awaits> {
        self.abandon(&|cause| cause == Cause::Reload)
    }

    /// All turns end for the sake of their slots. Returns what they wait for.
    pub(super) fn abandon_all(&mut self) -> Vec<Awaits> {
        self.abandon(&|_| true)
    }

    fn abandon(&mut self, is_abandoned: &dyn Fn(Cause) -> bool) -> Vec<Awaits> {
        let mut awaited = Vec::new();
        for turn in &mut self.turns {
            if is_abandoned(turn.cause) {
                turn.cause = Cause::Abandoned;
                awaited.push(turn.awaits);
            }
        }
        awaited
    }

    /// Gives all turns up. What is left of those that were given up before still takes their place.
    pub(super) fn give_up(&mut self) {
        self.turns.clear();
    }

    /// This process was told to end in a turn that was given up.
    pub(super) fn add_leaver(&mut self, id: ProcId) {
        self.leaving.push(id);
    }

    /// This process has ended, or is not waited for any more.
    pub(super) fn forget_leaver(&mut self, id: ProcId) {
        self.leaving.retain(|&leaving| leaving != id);
    }

    /// Where the slot's turn is, or where it would be inserted.
    fn position(&self, task_id: usize) -> Result<usize, usize> {
        self.turns.binary_search_by_key(&task_id, |turn| turn.task_id)
    }
}
