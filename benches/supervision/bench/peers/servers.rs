//! How each peer is started, with nothing to serve, and where it is looked for.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::getuid;

use crate::bench::programs;

pub struct Server {
    pub name: &'static str,
    /// What to install where it is not found.
    pub package: &'static str,
    /// The program that it is, if it is installed.
    pub find: fn() -> Option<PathBuf>,
    /// The command that runs it with this many workers, in the foreground. Its files are in the directory, and it may write
    /// there.
    pub command: fn(&Path, &Path, usize) -> Command,
    /// Whether its workers end with it when it gets SIGTERM.
    pub stops_its_workers: bool,
    /// Slow ones take part in fewer rounds: every second one and so on.
    pub every: usize,
    /// Slow ones have no more workers than this.
    pub most_workers: usize,
}

pub const SERVERS: [Server; 6] = [
    Server {
        name: "limit",
        package: "",
        find: || Some(programs::path("limit")),
        command: contender,
        stops_its_workers: true,
        every: 1,
        most_workers: usize::MAX,
    },
    Server {
        name: "prefork",
        package: "",
        find: || Some(programs::path("pool")),
        command: contender,
        stops_its_workers: true,
        every: 1,
        most_workers: usize::MAX,
    },
    Server {
        name: "nginx",
        package: "Debian's nginx-light",
        find: || find(|name| name == "nginx"),
        command: nginx,
        stops_its_workers: true,
        every: 1,
        most_workers: 1024,
    },
    Server {
        name: "php-fpm",
        package: "Debian's php-fpm",
        find: || find(is_php_fpm),
        command: php_fpm,
        stops_its_workers: true,
        every: 1,
        most_workers: 1024,
    },
    Server {
        name: "gunicorn",
        package: "gunicorn, by pip, into an environment whose bin is in PATH",
        find: || find(|name| name == "gunicorn"),
        command: gunicorn,
        stops_its_workers: true,
        every: 3,
        most_workers: 128,
    },
    Server {
        name: "Tornado",
        package: "tornado, by pip, into an environment whose bin is in PATH",
        find: python_with_tornado,
        command: tornado,
        stops_its_workers: false,
        every: 1,
        most_workers: 1024,
    },
];

fn contender(program: &Path, _: &Path, workers: usize) -> Command {
    let mut command = Command::new(program);
    command.args(["wait", &workers.to_string()]).env_clear();
    command
}

fn nginx(program: &Path, directory: &Path, workers: usize) -> Command {
    let pid_file = directory.join("nginx.pid");
    let configuration = format!(
        "daemon off; worker_processes {workers}; error_log /dev/null; pid {}; events {{ worker_connections 64; }}",
        pid_file.display()
    );
    let mut command = Command::new(program);
    command.arg("-e").arg("/dev/null").arg("-p").arg(directory);
    command.arg("-c").arg(write(directory, "nginx.conf", &configuration));
    command
}

fn php_fpm(program: &Path, directory: &Path, workers: usize) -> Command {
    let user = if getuid().is_root() { "user = root\ngroup = root\n" } else { "" };
    let configuration = format!(
        "[global]\nerror_log = /dev/null\ndaemonize = no\n[pool]\nlisten = {}\n{user}pm = static\npm.max_children = {workers}\n",
        directory.join("php-fpm.sock").display()
    );
    let mut command = Command::new(program);
    command.args(["--nodaemonize", "--allow-to-run-as-root", "--fpm-config"]);
    command.arg(write(directory, "php-fpm.conf", &configuration));
    command
}

fn gunicorn(program: &Path, directory: &Path, workers: usize) -> Command {
    write(directory, "idle.py", "def application(environ, start_response):\n    raise NotImplementedError\n");
    let mut command = Command::new(program);
    command.arg("--chdir").arg(directory).args(["--preload", "--workers", &workers.to_string()]);
    // Newer versions make a socket to be controlled by, there or in the user's home.
    command.env("XDG_RUNTIME_DIR", directory).env_remove("GUNICORN_CMD_ARGS");
    command.arg("--bind").arg(format!("unix:{}", directory.join("gunicorn.sock").display())).arg("idle:application");
    command
}

/// The workers wait for the end of standard input, which comes when the process that measures ends, however it ends.
fn tornado(python: &Path, _: &Path, workers: usize) -> Command {
    let script = format!(
        "import os, tornado.process\n\
         tornado.process.fork_processes({workers}, max_restarts=10**9)\n\
         os.read(0, 1)"
    );
    let mut command = Command::new(python);
    command.args(["-c", &script]);
    command
}

fn python_with_tornado() -> Option<PathBuf> {
    let has_tornado = |python: &PathBuf| {
        let found = Command::new(python).args(["-c", "import tornado.process"]).output();
        found.is_ok_and(|output| output.status.success())
    };
    programs_called(|name| name == "python3").find(has_tornado)
}

/// As `php-fpm` or `php-fpm8.2`.
fn is_php_fpm(name: &str) -> bool {
    let version = name.strip_prefix("php-fpm");
    version.is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

fn find(is_it: impl Fn(&str) -> bool) -> Option<PathBuf> {
    programs_called(is_it).next()
}

/// In the directories of PATH, and where servers are that only root is expected to start.
fn programs_called(is_it: impl Fn(&str) -> bool) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let files = Vec::from_iter(places).into_iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    files.filter(move |file| file.file_name().to_str().is_some_and(&is_it)).map(|file| file.path())
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).expect("the directory is ours");
    path
}
