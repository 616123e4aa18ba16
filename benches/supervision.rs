//! What supervision costs: prefork against a bare loop of fork and waitpid, in ratios.
//!
//! `cargo bench` takes about a minute and a half, `cargo bench -- --quick` a few seconds and says less. A word selects
//! rows (`cargo bench -- restart`), `--rounds 60` sharpens them. Linux only. By default the workers reseed the
//! generators of three cargo features, as the tests need it; `cargo bench --no-default-features` measures what a user
//! has who asks for none.
//!
//! # What is measured
//!
//! | row | from | to |
//! |---|---|---|
//! | start | just before the first fork | the last worker's first statement |
//! | restart | just before SIGKILL to one worker | its replacement's first statement |
//! | stop | just before SIGTERM to the supervisor | the supervisor is gone, and had reaped every worker |
//!
//! The bare loop is the least that keeps N workers alive: it forks them, waits, replaces a worker that died, passes
//! SIGTERM on and reaps. It checks nothing, blocks no signals, logs nothing, makes no process groups, and leaves
//! orphans when it is killed. What prefork does on top of it is what a ratio above 1 pays for.
//!
//! Both contenders are this same program, started afresh for every round, so they have the same pages to copy on fork.
//! Workers report by writing the time (CLOCK_MONOTONIC) into memory shared with the process that measures; the last
//! one awaited wakes it with a byte. Nothing is polled. prefork's backoff and budget are switched off, as the bare loop
//! has none; its lines go to /dev/null, or in the rows that say so to a pipe that is read.
//!
//! # How to read the figures
//!
//! Only ratios: other work on the machine moves the times, but it moves both. The contenders take turns within a round,
//! in changing order; `ratio` is the median of all of prefork's samples over the median of all of the bare loop's, and
//! `rounds` are the lowest and the highest ratio of a single round. `same` is the bare loop run a second time in every
//! round, over itself: what it differs from 1 is what this run cannot tell from nothing. A ratio is a finding only when
//! it is further from 1 than `same` is, in run after run.
//!
//! The aim is 1.15 in each row; an idle supervisor is to do nothing at all. `set-up` is the time from the call of `run`
//! to the first fork, paid once: options, environment, fork check, first line; the bare loop has nothing to set up.
//!
//! `heartbeat` is the time of one call of `Worker::heartbeat` in a worker, with `heartbeat_timeout` set. `wakeups` counts
//! how often the supervisor runs while nothing happens but time, with time-based options set, and against that the
//! deadlines that fell due meanwhile: there must be no more than one wakeup for each.

#[cfg(target_os = "linux")]
mod bench {
    use std::env;
    use std::fs::{self, File};
    use std::io::{self, Read};
    use std::mem::size_of;
    use std::num::NonZeroUsize;
    use std::os::fd::AsFd;
    use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::SeqCst};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::sys::mman::{MapFlags, ProtFlags, mmap};
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
    use nix::sys::wait::waitpid;
    use nix::time::{ClockId, clock_gettime};
    use nix::unistd::{ForkResult, Pid, fork, ftruncate, getpid, getppid, pause, write};
    use prefork_rt::{Prefork, Worker};

    const AIM: f64 = 1.15;
    const MOST_WORKERS: usize = 1024;
    const DEADLINE: Duration = Duration::from_secs(60);
    /// How many calls are measured at once.
    const BEATS: u64 = 10_000_000;
    const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(2);
    /// How often `max_memory` is looked after.
    const WEIGH_EVERY: Duration = Duration::from_secs(10);
    /// After the last worker's first statement its supervisor still has to come to rest.
    const SETTLE: Duration = Duration::from_millis(3);

    pub fn main() -> ExitCode {
        let arguments: Vec<String> = env::args().skip(1).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments[..] {
            ["--contender", name, workers] => contend(name, workers.parse().expect("a number of workers")),
            // `cargo bench` says so; `cargo test --benches` does not, and wants no long job.
            _ if !arguments.contains(&"--bench") => {
                println!("nothing is measured without --bench: run `cargo bench`");
                ExitCode::SUCCESS
            }
            _ => compare(&Options::read(&arguments)),
        }
    }

    // The contenders.

    /// Memory shared by the process that measures, a contender and its workers.
    #[repr(C)]
    struct Board {
        /// When supervision was asked for.
        called: AtomicU64,
        first_fork: AtomicU64,
        /// How many workers have reported, and which one of them wakes the process that measures.
        reports: AtomicU64,
        awaited: AtomicU64,
        slots: [Slot; MOST_WORKERS],
    }

    /// The latest worker of a task id.
    #[repr(C)]
    struct Slot {
        pid: AtomicI32,
        running_since: AtomicU64,
        picoseconds_a_beat: AtomicU64,
    }

    static BOARD: OnceLock<&'static Board> = OnceLock::new();

    fn board() -> &'static Board {
        BOARD.get().expect("mapped at the start")
    }

    fn map(file: impl AsFd) -> &'static Board {
        let size = NonZeroUsize::new(size_of::<Board>()).expect("not empty");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses a free address, and the mapping is never undone.
        let address = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, file, 0) }.expect("mmap(2)");
        // SAFETY: the mapping is page-aligned, as long as a Board, readable, writable and zeroed by the kernel; a Board
        // is made of atomics only, for which every byte pattern is valid and other processes' writes are no race.
        unsafe { address.cast::<Board>().as_ref() }
    }

    /// Nanoseconds of a clock that all processes share.
    fn now() -> u64 {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every system has this clock");
        Duration::from(time).as_nanos().try_into().expect("centuries")
    }

    /// The supervisor's process: standard input is the board, standard output wakes the process that measures.
    fn contend(name: &str, workers: usize) -> ExitCode {
        let parent = env::var("BENCH_PARENT").expect("set by the process that measures");
        nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).expect("prctl(2)");
        if getppid().to_string() != parent {
            return ExitCode::FAILURE;
        }
        let _ = BOARD.set(map(io::stdin()));
        // SAFETY: the handler only reads a clock and sets an atomic.
        let failed = unsafe { libc::pthread_atfork(Some(before_fork), None, None) };
        assert_eq!(failed, 0);
        board().called.store(now(), SeqCst);
        match name {
            "prefork" => Prefork::new()
                .workers(workers)
                .max_restarts("unlimited")
                .backoff("0s")
                .run(|worker| -> () { work(worker.task_id()) }),
            "heartbeat" => Prefork::new().workers(workers).heartbeat_timeout("1s").run(|worker| -> () { beat(worker) }),
            "wakeups" => Prefork::new()
                .workers(workers)
                .heartbeat_timeout(HEARTBEAT_TIMEOUT)
                .max_memory("1TiB")
                .run(|worker| -> () { beat_at_intervals(worker) }),
            _ => bare_loop(workers),
        }
    }

    /// Measures a call, and reports it in place of a time.
    fn beat(worker: Worker) -> ! {
        worker.heartbeat();
        let start = now();
        for _ in 0..BEATS {
            worker.heartbeat();
        }
        let slot = &board().slots[worker.task_id()];
        slot.picoseconds_a_beat.store((now() - start) * 1000 / BEATS, SeqCst);
        work(worker.task_id())
    }

    fn beat_at_intervals(worker: Worker) -> ! {
        worker.heartbeat();
        report(worker.task_id());
        loop {
            sleep(HEARTBEAT_TIMEOUT / 4);
            worker.heartbeat();
        }
    }

    extern "C" fn before_fork() {
        let first_fork = &board().first_fork;
        if first_fork.load(SeqCst) == 0 {
            first_fork.store(now(), SeqCst);
        }
    }

    /// The body of every worker.
    fn work(task_id: usize) -> ! {
        report(task_id);
        loop {
            pause();
        }
    }

    fn report(task_id: usize) {
        let board = board();
        let slot = &board.slots[task_id];
        slot.running_since.store(now(), SeqCst);
        slot.pid.store(getpid().as_raw(), SeqCst);
        if board.reports.fetch_add(1, SeqCst) + 1 == board.awaited.load(SeqCst) {
            write(io::stdout(), b".").expect("the process that measures reads it");
        }
    }

    static PIDS: [AtomicI32; MOST_WORKERS] = [const { AtomicI32::new(0) }; MOST_WORKERS];
    static STOPPING: AtomicBool = AtomicBool::new(false);

    /// The bare loop.
    fn bare_loop(workers: usize) -> ExitCode {
        set_sigterm(SigHandler::Handler(stop_workers));
        for task_id in 0..workers {
            fork_worker(task_id);
        }
        loop {
            match waitpid(None, None) {
                Ok(_) if STOPPING.load(SeqCst) => {}
                Ok(status) => {
                    let pid = status.pid().expect("a process ended").as_raw();
                    let task_id = PIDS.iter().position(|worker| worker.load(SeqCst) == pid).expect("a worker");
                    fork_worker(task_id);
                }
                Err(Errno::EINTR) => {}
                Err(_) => return ExitCode::SUCCESS,
            }
        }
    }

    fn fork_worker(task_id: usize) {
        // SAFETY: this process has one thread.
        match unsafe { fork() }.expect("fork(2)") {
            ForkResult::Parent { child } => {
                PIDS[task_id].store(child.as_raw(), SeqCst);
                if STOPPING.load(SeqCst) {
                    // The handler ran before this worker was noted.
                    let _ = kill(child, Signal::SIGTERM);
                }
            }
            ForkResult::Child => {
                set_sigterm(SigHandler::SigDfl);
                work(task_id)
            }
        }
    }

    extern "C" fn stop_workers(_: i32) {
        STOPPING.store(true, SeqCst);
        for worker in PIDS.iter().map(|pid| pid.load(SeqCst)).take_while(|&pid| pid != 0) {
            let _ = kill(Pid::from_raw(worker), Signal::SIGTERM);
        }
    }

    fn set_sigterm(handler: SigHandler) {
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler only reads and sets atomics and calls kill(2).
        unsafe { sigaction(Signal::SIGTERM, &action) }.expect("sigaction(2)");
    }

    // The process that measures.

    struct Options {
        rounds: usize,
        idle: Duration,
        /// Words of which a row must have one; none: every row.
        rows: Vec<String>,
    }

    impl Options {
        fn read(arguments: &[&str]) -> Options {
            let quick = arguments.contains(&"--quick");
            let mut options = Options {
                rounds: if quick { 4 } else { 24 },
                idle: Duration::from_secs(if quick { 2 } else { 10 }),
                rows: Vec::new(),
            };
            let mut arguments = arguments.iter();
            while let Some(&argument) = arguments.next() {
                match argument {
                    "--bench" | "--quick" => {}
                    "--rounds" => {
                        let rounds = arguments.next().and_then(|rounds| rounds.parse().ok());
                        options.rounds = rounds.expect("--rounds takes a number");
                    }
                    word => options.rows.push(word.to_owned()),
                }
            }
            options
        }

        fn wants(&self, row: &str) -> bool {
            self.rows.is_empty() || self.rows.iter().any(|word| row.contains(word.as_str()))
        }
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Log {
        Null,
        Pipe,
    }

    /// A supervisor that runs, and its workers.
    struct Contender {
        process: Child,
        wakes: ChildStdout,
        board: &'static Board,
        workers: usize,
    }

    impl Contender {
        /// Starts one and waits until all workers run.
        fn start(name: &str, workers: usize, log: Log) -> Contender {
            let shared = memfd_create("board", MFdFlags::MFD_CLOEXEC).expect("memfd_create(2)");
            ftruncate(&shared, size_of::<Board>().try_into().expect("small")).expect("ftruncate(2)");
            let board = map(&shared);
            board.awaited.store(workers as u64, SeqCst);
            let mut command = Command::new(env::current_exe().expect("/proc"));
            command.args(["--contender", name, &workers.to_string()]);
            command.stdin(File::from(shared)).stdout(Stdio::piped());
            command.stderr(if log == Log::Pipe { Stdio::piped() } else { Stdio::null() });
            command.env_clear().env("BENCH_PARENT", getpid().to_string());
            let mut process = command.spawn().expect("this program runs");
            if let Some(mut lines) = process.stderr.take() {
                std::thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
            }
            let wakes = process.stdout.take().expect("piped");
            let mut contender = Contender { process, wakes, board, workers };
            contender.wait_for_report();
            contender
        }

        fn wait_for_report(&mut self) {
            self.wait_for(PollFlags::POLLIN);
            self.wakes.read_exact(&mut [0]).expect("a report");
        }

        /// POLLIN: a report is there. POLLHUP: every process that could report is gone.
        fn wait_for(&self, event: PollFlags) {
            let mut ready = [PollFd::new(self.wakes.as_fd(), event & PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(DEADLINE).expect("fits");
            assert_eq!(poll(&mut ready, timeout), Ok(1), "waited in vain for {event:?}");
        }

        fn pid(&self) -> Pid {
            Pid::from_raw(self.process.id().try_into().expect("a process id"))
        }

        fn worker(&self, task_id: usize) -> Pid {
            Pid::from_raw(self.board.slots[task_id].pid.load(SeqCst))
        }

        /// From before the first fork to the last worker running.
        fn start_time(&self) -> u64 {
            let slots = self.board.slots[..self.workers].iter();
            let last = slots.map(|slot| slot.running_since.load(SeqCst)).max().expect("a worker");
            last - self.board.first_fork.load(SeqCst)
        }

        fn set_up_time(&self) -> u64 {
            self.board.first_fork.load(SeqCst) - self.board.called.load(SeqCst)
        }

        /// Kills a worker and waits for its replacement.
        fn restart_time(&mut self, task_id: usize) -> u64 {
            let before = self.worker(task_id);
            self.board.awaited.store(self.board.reports.load(SeqCst) + 1, SeqCst);
            let start = now();
            kill(before, Signal::SIGKILL).expect("the worker is alive");
            self.wait_for_report();
            assert_ne!(self.worker(task_id), before, "the replacement has the same task id");
            self.board.slots[task_id].running_since.load(SeqCst) - start
        }

        /// Stops the supervisor and waits until it is gone, which it may be only after its workers.
        fn stop_time(mut self) -> u64 {
            let start = now();
            kill(self.pid(), Signal::SIGTERM).expect("the supervisor is alive");
            self.wait_for(PollFlags::POLLHUP);
            let status = self.process.wait().expect("it is our child");
            let end = now();
            assert!(status.success(), "the supervisor stops in order: {status}");
            for task_id in 0..self.workers {
                assert_eq!(kill(self.worker(task_id), None), Err(Errno::ESRCH), "a worker is left behind");
            }
            end - start
        }

        /// Context switches, CPU ticks.
        fn activity(&self) -> (u64, u64) {
            let read = |name| fs::read_to_string(format!("/proc/{}/{name}", self.pid())).expect("it is alive");
            let status = read("status");
            let switches = status.lines().filter(|line| line.contains("voluntary_ctxt_switches:")).map(last_number);
            let stat = read("stat");
            let (_, after_name) = stat.rsplit_once(") ").expect("a name in parentheses");
            // Fields 14 and 15 of proc_pid_stat(5); the state is the third.
            let ticks = after_name.split(' ').skip(14 - 3).take(2).map(last_number);
            (switches.sum(), ticks.sum())
        }

        /// How often it went to sleep of its own accord.
        fn wakeups(&self) -> u64 {
            let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it is alive");
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:"));
            last_number(line.expect("a line of status"))
        }

        fn private_dirty_kilobytes(&self) -> u64 {
            let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).expect("it is alive");
            let line = rollup.lines().find(|line| line.starts_with("Private_Dirty:")).expect("a line of smaps_rollup");
            last_number(line.trim_end_matches(" kB"))
        }
    }

    impl Drop for Contender {
        /// Nothing is left behind, also when an assertion fails.
        fn drop(&mut self) {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            let _ = self.process.kill();
            let _ = self.process.wait();
            for worker in (0..self.workers).map(|task_id| self.worker(task_id)).filter(|pid| pid.as_raw() != 0) {
                let _ = kill(worker, Signal::SIGKILL);
            }
        }
    }

    fn last_number(line: &str) -> u64 {
        line.split_whitespace().last().and_then(|word| word.parse().ok()).expect("ends with a number")
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Action {
        /// Start, then stop: two rows.
        StartAndStop,
        Restart,
    }

    struct Case {
        action: Action,
        workers: usize,
        log: Log,
        /// How often in a round, per contender.
        times: usize,
    }

    const CASES: [Case; 7] = [
        Case { action: Action::StartAndStop, workers: 2, log: Log::Null, times: 6 },
        Case { action: Action::StartAndStop, workers: 16, log: Log::Null, times: 4 },
        Case { action: Action::StartAndStop, workers: 128, log: Log::Null, times: 2 },
        Case { action: Action::StartAndStop, workers: 1024, log: Log::Null, times: 1 },
        Case { action: Action::Restart, workers: 8, log: Log::Null, times: 10 },
        Case { action: Action::StartAndStop, workers: 128, log: Log::Pipe, times: 2 },
        Case { action: Action::Restart, workers: 8, log: Log::Pipe, times: 10 },
    ];

    const BARE: usize = 0;
    const PREFORK: usize = 1;
    const SAME: usize = 2;
    const NAMES: [&str; 3] = ["bare", "prefork", "bare"];

    /// One line of the table: the samples of each round of each contender.
    struct Row {
        name: String,
        workers: usize,
        rounds: [Vec<Vec<u64>>; 3],
    }

    impl Row {
        fn new(what: &str, case: &Case) -> Row {
            let pipe = if case.log == Log::Pipe { ", lines to a pipe" } else { "" };
            Row { name: format!("{what}{pipe}"), workers: case.workers, rounds: Default::default() }
        }

        /// The median of all samples.
        fn median(&self, contender: usize) -> f64 {
            median(self.rounds[contender].concat())
        }

        fn ratio(&self, contender: usize) -> f64 {
            self.median(contender) / self.median(BARE)
        }

        fn print(&self) {
            let rounds = self.rounds[PREFORK].iter().zip(&self.rounds[BARE]);
            let ratios: Vec<f64> =
                rounds.map(|(prefork, bare)| median(prefork.clone()) / median(bare.clone())).collect();
            println!(
                "{:<26} {:>5} {:>10} {:>10} {:>6.2} {:>6.2}..{:<6.2} {:>5.2}",
                self.name,
                self.workers,
                time(self.median(BARE)),
                time(self.median(PREFORK)),
                self.ratio(PREFORK),
                ratios.iter().copied().fold(f64::INFINITY, f64::min),
                ratios.iter().copied().fold(0.0, f64::max),
                self.ratio(SAME),
            );
        }
    }

    fn median(mut samples: Vec<u64>) -> f64 {
        samples.sort_unstable();
        let middle = samples.len() / 2;
        if samples.len() % 2 == 1 {
            samples[middle] as f64
        } else {
            (samples[middle - 1] + samples[middle]) as f64 / 2.0
        }
    }

    fn time(nanoseconds: f64) -> String {
        if nanoseconds < 1e6 { format!("{:.0} us", nanoseconds / 1e3) } else { format!("{:.2} ms", nanoseconds / 1e6) }
    }

    fn compare(options: &Options) -> ExitCode {
        let cases: Vec<&Case> =
            CASES.iter().filter(|case| rows_of(case).iter().any(|row| options.wants(row))).collect();
        let mut rows: Vec<Vec<Row>> =
            cases.iter().map(|case| rows_of(case).iter().map(|what| Row::new(what, case)).collect()).collect();
        let mut set_up = Vec::new();
        for round in 0..options.rounds {
            for (case, rows) in cases.iter().zip(&mut rows) {
                for row in &mut *rows {
                    row.rounds.iter_mut().for_each(|rounds| rounds.push(Vec::new()));
                }
                for turn in 0..case.times {
                    for contender in order(round + turn) {
                        let mut samples = sample(case, contender, &mut set_up);
                        for (row, samples) in rows.iter_mut().zip(&mut samples) {
                            row.rounds[contender].last_mut().expect("begun").append(samples);
                        }
                    }
                    if case.action == Action::Restart {
                        // All the kills of a round are of one supervisor.
                        break;
                    }
                }
            }
        }
        let mut rows: Vec<Row> = rows.into_iter().flatten().collect();
        rows.retain(|row| options.wants(&row.name));
        rows.sort_by_key(|row| row.name.ends_with("pipe"));
        println!("{} rounds; prefork over a bare loop of fork and waitpid, aim {AIM}", options.rounds);
        if cfg!(feature = "reseed") {
            println!("every worker reseeds three generators here: --no-default-features measures without");
        }
        println!();
        println!(
            "{:<26} {:>5} {:>10} {:>10} {:>6} {:^14} {:>5}",
            "median", "N", "bare", "prefork", "ratio", "rounds", "same"
        );
        rows.iter().for_each(Row::print);
        if !set_up.is_empty() {
            println!("set-up: {}", time(median(set_up)));
        }
        if options.wants("idle") {
            idle(options.idle);
        }
        if options.wants("heartbeat") {
            heartbeat();
        }
        if options.wants("wakeups") {
            wakeups(options.idle);
        }
        let over: Vec<&str> = rows.iter().filter(|row| row.ratio(PREFORK) > AIM).map(|row| row.name.as_str()).collect();
        match over[..] {
            [] => println!("\nevery ratio is within the aim"),
            _ => println!("\nabove the aim: {}", over.join("; ")),
        }
        ExitCode::SUCCESS
    }

    fn rows_of(case: &Case) -> &'static [&'static str] {
        match (case.action, case.workers, case.log) {
            (Action::Restart, ..) => &["restart"],
            (_, 128, Log::Null) => &["start", "stop"],
            // Only a stop has lines enough to tell.
            (_, _, Log::Pipe) => &["stop"],
            _ => &["start"],
        }
    }

    /// Every order of the three comes up equally often.
    fn order(turn: usize) -> [usize; 3] {
        let mut order = [BARE, PREFORK, SAME];
        order.rotate_left(turn % 3);
        if turn / 3 % 2 == 1 {
            order.reverse();
        }
        order
    }

    /// One contender's turn: the samples for each row of the case.
    fn sample(case: &Case, contender: usize, set_up: &mut Vec<u64>) -> Vec<Vec<u64>> {
        let mut running = Contender::start(NAMES[contender], case.workers, case.log);
        sleep(SETTLE);
        let samples = match (case.action, case.log) {
            (Action::StartAndStop, Log::Null) => {
                let start = running.start_time();
                if contender == PREFORK {
                    set_up.push(running.set_up_time());
                }
                vec![vec![start], vec![running.stop_time()]]
            }
            (Action::StartAndStop, Log::Pipe) => vec![vec![running.stop_time()]],
            (Action::Restart, _) => {
                let times = (0..case.times).map(|time| {
                    let sample = running.restart_time(time % case.workers);
                    sleep(SETTLE);
                    sample
                });
                let times = times.collect();
                running.stop_time();
                vec![times]
            }
        };
        // What the kernel still has to clear up is not the next one's burden.
        sleep(SETTLE);
        samples
    }

    /// A call in each of two workers that run at the same time.
    fn heartbeat() {
        let contender = Contender::start("heartbeat", 2, Log::Null);
        let calls = [0, 1].map(|task_id| contender.board.slots[task_id].picoseconds_a_beat.load(SeqCst));
        let [first, second] = calls.map(|picoseconds| picoseconds as f64 / 1e3);
        println!("\nheartbeat: {first:.1} ns and {second:.1} ns a call, in two workers at once");
        contender.stop_time();
    }

    /// At rest but for the time-based options. Switches that the supervisor did not ask for are not wakeups.
    fn wakeups(time: Duration) {
        const WORKERS: usize = 8;
        let contender = Contender::start("wakeups", WORKERS, Log::Null);
        sleep(Duration::from_millis(200));
        let before = contender.wakeups();
        let start = Instant::now();
        sleep(time);
        let (wakeups, time) = (contender.wakeups() - before, start.elapsed().as_secs_f64());
        // A worker that beats has its deadline one timeout after its last beat that was seen: at least three quarters
        // of a timeout after it was looked at.
        let beats = time / (HEARTBEAT_TIMEOUT.as_secs_f64() * 0.75);
        let deadlines = WORKERS as f64 * (beats.ceil() + (time / WEIGH_EVERY.as_secs_f64()).ceil());
        println!("\nwakeups in {time:.0} s, N = {WORKERS}: {wakeups}, of at most {deadlines:.0} deadlines");
        contender.stop_time();
    }

    /// Both at rest, side by side.
    fn idle(time: Duration) {
        let contenders = ["bare", "prefork"].map(|name| Contender::start(name, 8, Log::Null));
        sleep(Duration::from_millis(200));
        let before = contenders.each_ref().map(Contender::activity);
        let start = Instant::now();
        sleep(time);
        let after = contenders.each_ref().map(Contender::activity);
        let [bare, prefork] = contenders.each_ref().map(Contender::private_dirty_kilobytes);
        println!("\nidle for {:.0} s, N = 8", start.elapsed().as_secs_f64());
        println!("{:<26} {:>10} {:>10}", "", "bare", "prefork");
        let [switches, ticks] = [|activity: (u64, u64)| activity.0, |activity: (u64, u64)| activity.1]
            .map(|part| [0, 1].map(|contender| part(after[contender]) - part(before[contender])));
        println!("{:<26} {:>10} {:>10}", "context switches", switches[0], switches[1]);
        println!("{:<26} {:>10} {:>10}", "CPU ticks", ticks[0], ticks[1]);
        let ratio = prefork as f64 / bare as f64;
        println!("{:<26} {:>7} kB {:>7} kB {ratio:>6.2}", "private dirty memory", bare, prefork);
        for contender in contenders {
            contender.stop_time();
        }
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    bench::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the benchmark reads /proc and shares memory as Linux does");
}
