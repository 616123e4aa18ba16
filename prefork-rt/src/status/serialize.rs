//! How a status is written for other programs, with serde. An `Instant` means nothing to them, so it is written as the
//! seconds since it.

use std::time::Instant;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Status, WorkerStatus};
use crate::policy::State;

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Status { supervisor, started, restarts, workers } = self;
        let mut status = serializer.serialize_struct("Status", 4)?;
        status.serialize_field("supervisor", supervisor)?;
        status.serialize_field("started_seconds_ago", &seconds_since(started))?;
        status.serialize_field("restarts", restarts)?;
        status.serialize_field("workers", workers.as_slice())?;
        status.end()
    }
}

impl Serialize for WorkerStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let WorkerStatus { task_id, state, pid, started, restarts, last_beat, beats, connections } = self;
        let mut worker = serializer.serialize_struct("WorkerStatus", 8)?;
        worker.serialize_field("task_id", task_id)?;
        worker.serialize_field("state", state)?;
        worker.serialize_field("pid", pid)?;
        worker.serialize_field("started_seconds_ago", &started.as_ref().map(seconds_since))?;
        worker.serialize_field("restarts", restarts)?;
        worker.serialize_field("last_beat_seconds_ago", &last_beat.as_ref().map(seconds_since))?;
        worker.serialize_field("beats", beats)?;
        worker.serialize_field("connections", connections)?;
        worker.end()
    }
}

/// The word that is displayed.
impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn seconds_since(instant: &Instant) -> f64 {
    instant.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_test::{Token, assert_ser_tokens};

    use super::*;

    #[test]
    fn a_status_is_written_with_ages_for_instants_and_nothing_for_what_is_not_there() {
        // It is no time since then, however slow this test is.
        let later = Instant::now() + Duration::from_secs(3600);
        let worker = WorkerStatus {
            task_id: 1,
            state: State::Ready,
            pid: Some(4711),
            started: Some(later),
            restarts: 2,
            last_beat: None,
            beats: 0,
            connections: None,
        };
        let status = Status { supervisor: 42, started: later, restarts: 3, workers: vec![worker] };
        assert_ser_tokens(
            &status,
            &[
                Token::Struct { name: "Status", len: 4 },
                Token::Str("supervisor"),
                Token::U32(42),
                Token::Str("started_seconds_ago"),
                Token::F64(0.0),
                Token::Str("restarts"),
                Token::U64(3),
                Token::Str("workers"),
                Token::Seq { len: Some(1) },
                Token::Struct { name: "WorkerStatus", len: 8 },
                Token::Str("task_id"),
                Token::U64(1),
                Token::Str("state"),
                Token::Str("ready"),
                Token::Str("pid"),
                Token::Some,
                Token::U32(4711),
                Token::Str("started_seconds_ago"),
                Token::Some,
                Token::F64(0.0),
                Token::Str("restarts"),
                Token::U64(2),
                Token::Str("last_beat_seconds_ago"),
                Token::None,
                Token::Str("beats"),
                Token::U32(0),
                Token::Str("connections"),
                Token::None,
                Token::StructEnd,
                Token::SeqEnd,
                Token::StructEnd,
            ],
        );
    }
}
