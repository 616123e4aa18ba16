//! A pool that looks at itself: a table of all workers, drawn again and again by one of them.
//!
//! Worker 1 crashes now and then, worker 2 asks to be recycled, the others work and send heartbeats. Ctrl-C ends it; where
//! standard output is no terminal, one table is printed after another.
//!
//! `cargo run --example status 2>status.log`: log lines would be written over the table.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crossterm::style::{Color, Stylize};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, size};
use crossterm::{cursor::MoveTo, queue};
use prefork_rt::{EXIT_GIVE_UP, State, Status, Worker, WorkerStatus, prefork, status};

#[prefork(workers = 6, max_restarts = "unlimited", heartbeat_timeout = "5s", graceful_timeout = "2s")]
fn main(worker: Worker) {
    let shutdown = worker.shutdown();
    let id = worker.task_id() as u64;
    let pause = Duration::from_millis(if id == 0 { 250 } else { 20 * id });
    for round in 1_u64.. {
        worker.heartbeat();
        match (id, round) {
            // The reader is gone, and trying again will not help.
            (0, _) if draw(&status().expect("this is a worker")).is_err() => std::process::exit(EXIT_GIVE_UP.into()),
            (1, 200) => std::process::exit(3),
            (2, 250) => worker.recycle(),
            _ => {}
        }
        if shutdown.wait_timeout(pause) {
            break;
        }
    }
}

/// In one write, so that no reader sees half of it.
fn draw(status: &Status) -> io::Result<()> {
    let mut screen = Vec::new();
    if !io::stdout().is_terminal() {
        table(status).iter().try_for_each(|(line, _)| writeln!(screen, "{line}"))?;
        return io::stdout().write_all(&screen);
    }
    let (columns, rows) = size()?;
    let fits = |line: &str| line.chars().take(columns.into()).collect::<String>();
    queue!(screen, BeginSynchronizedUpdate, MoveTo(0, 0))?;
    for (row, (line, color)) in (0..rows.saturating_sub(1)).zip(table(status)) {
        queue!(screen, MoveTo(0, row), Clear(ClearType::CurrentLine))?;
        write!(screen, "{}", fits(&line).with(color))?;
    }
    queue!(screen, MoveTo(0, rows.saturating_sub(1).min(status.workers.len() as u16 + 2)))?;
    queue!(screen, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
    io::stdout().write_all(&screen).and_then(|()| io::stdout().flush())
}

fn table(status: &Status) -> Vec<(String, Color)> {
    let up = status.started.elapsed().as_secs();
    let first = format!("supervisor {}, up {up} s, {} restarts counted", status.supervisor, status.restarts);
    let head = "task  state          pid     age  restarts  heartbeats       last".to_owned();
    let rows = status.workers.iter().map(|worker| (row(worker), color(worker.state)));
    [(first, Color::Reset), (head, Color::DarkGrey)].into_iter().chain(rows).collect()
}

fn row(worker: &WorkerStatus) -> String {
    let pid = worker.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    let age = worker.started.map_or_else(|| "-".to_owned(), |started| format!("{} s", started.elapsed().as_secs()));
    let last = worker.last_beat.map_or_else(|| "-".to_owned(), |last| format!("{} ms", last.elapsed().as_millis()));
    let WorkerStatus { task_id, state, restarts, beats, .. } = worker;
    format!("{task_id:>4}  {state:<8}  {pid:>8}  {age:>6}  {restarts:>8}  {beats:>10}  {last:>9}")
}

fn color(state: State) -> Color {
    match state {
        State::Ready => Color::Green,
        State::Waiting => Color::Red,
        State::Finished => Color::DarkGrey,
        _ => Color::Yellow,
    }
}
