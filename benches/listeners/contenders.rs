//! The servers: this same program, started afresh for every measurement. All answer with the same code.

use std::io::{self, BufRead, BufReader};
use std::net::{self, SocketAddr};
use std::process::{Child, ChildStderr, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use axum::Router;
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use prefork_rt::{BalancedListener, Prefork, Worker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::contest;

pub const REQUEST: &[u8; 32] = b"GET / HTTP/1.1\r\nhost: localh\r\n\r\n";
/// Digits of the number of the worker that answers; the body of an answer begins with it.
pub const NUMBER: usize = 4;
/// The bytes of a body.
pub const BODY: usize = 128;

pub fn contend(name: &str, workers: usize) -> ExitCode {
    let pool = Prefork::new().workers(workers).listen("127.0.0.1:0").ready_timeout("1m");
    match name {
        "shared" => pool.run(|worker| in_its_runtime(worker, plain)),
        "balanced" => pool.run(|worker| in_its_runtime(worker, balanced)),
        "per slot" => pool.reuse_port(true).run(|worker| in_its_runtime(worker, plain)),
        "threads" => a_runtime_for_each_thread(workers),
        "HTTP, serve" => pool.run(|worker| in_its_runtime(worker, http_serve)),
        "HTTP, shared" => pool.run(|worker| in_its_runtime(worker, http_plain)),
        "HTTP, process" => one_process(workers, http_plain),
        _ => one_process(workers, plain),
    }
}

fn one_process<F>(threads: usize, serve: fn(Option<Worker>, TcpListener) -> F) -> ExitCode
where
    F: Future<Output = io::Result<()>>,
{
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let served = runtime.expect("threads").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        eprintln!("listening on {}, ready after 0 ms", listener.local_addr()?);
        serve(None, listener).await
    });
    served.expect("it serves until it is killed");
    ExitCode::SUCCESS
}

fn one_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn in_its_runtime<F>(worker: Worker, serve: fn(Option<Worker>, TcpListener) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    one_thread()?.block_on(async {
        let listener = worker.get().map_err(io::Error::other)?;
        serve(Some(worker), listener).await
    })
}

async fn plain(worker: Option<Worker>, listener: TcpListener) -> io::Result<()> {
    let number = worker.map_or(0, Worker::task_id);
    if let Some(worker) = worker {
        worker.ready();
    }
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        tokio::spawn(answer(connection, number));
    }
}

async fn balanced(worker: Option<Worker>, listener: TcpListener) -> io::Result<()> {
    let worker = worker.expect("it is in a pool");
    let mut listener = BalancedListener::new(worker, listener).map_err(io::Error::other)?;
    worker.ready();
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        tokio::spawn(answer(connection, worker.task_id()));
    }
}

async fn http_serve(worker: Option<Worker>, listener: TcpListener) -> io::Result<()> {
    let worker = worker.expect("it is in a pool");
    let body = body(worker.task_id());
    prefork_rt::hyper::serve(worker, listener, Router::new().route("/", get(async || body))).await
}

/// With the same libraries, and no bounds, no balance and no drain.
async fn http_plain(worker: Option<Worker>, listener: TcpListener) -> io::Result<()> {
    let body = body(worker.map_or(0, Worker::task_id));
    let service = TowerToHyperService::new(Router::new().route("/", get(async || body)));
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new());
    let http = Arc::new(http);
    if let Some(worker) = worker {
        worker.ready();
    }
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        let (http, service) = (Arc::clone(&http), service.clone());
        tokio::spawn(async move { http.serve_connection(TokioIo::new(connection), service).await.map_err(drop) });
    }
}

fn body(number: usize) -> String {
    format!("{number:0NUMBER$}{:!<1$}", "", BODY - NUMBER)
}

/// One process with a runtime for each thread: each connection goes to the thread that has the fewest.
fn a_runtime_for_each_thread(threads: usize) -> ExitCode {
    let start = || {
        let runtime = one_thread().expect("a runtime");
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        (handle, Arc::new(AtomicUsize::new(0)))
    };
    let threads: Vec<(Handle, Arc<AtomicUsize>)> = (0..threads).map(|_| start()).collect();
    let listener = net::TcpListener::bind("127.0.0.1:0").expect("an address");
    eprintln!("listening on {}, ready after 0 ms", listener.local_addr().expect("an address"));
    for connection in listener.incoming() {
        let connection = connection.expect("a connection");
        connection.set_nonblocking(true).and_then(|()| connection.set_nodelay(true)).expect("options");
        let least = threads.iter().min_by_key(|(_, open)| open.load(Ordering::Relaxed));
        let (handle, open) = least.expect("at least one");
        let open = Arc::clone(open);
        open.fetch_add(1, Ordering::Relaxed);
        handle.spawn(async move {
            let _ = answer(TcpStream::from_std(connection)?, 0).await;
            open.fetch_sub(1, Ordering::Relaxed);
            io::Result::Ok(())
        });
    }
    ExitCode::SUCCESS
}

/// Until the client goes away.
async fn answer(mut connection: impl AsyncRead + AsyncWrite + Unpin, number: usize) -> io::Result<()> {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n{}", body(number)).into_bytes();
    let mut request = [0; REQUEST.len()];
    while connection.read_exact(&mut request).await.is_ok() {
        connection.write_all(&answer).await?;
    }
    Ok(())
}

/// A contender that runs, and its end.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// Open, so that nothing that is said fails.
    _lines: BufReader<ChildStderr>,
}

impl Server {
    pub fn start(name: &str, workers: usize) -> Server {
        let mut command = contest::contender(name, workers);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        let mut address = None;
        // A pool says both, and a process that accepts from the start says both in one line.
        while address.is_none() || !line.contains("ready after") {
            line.clear();
            assert!(lines.read_line(&mut line).expect("text") > 0, "{name} does not get ready");
            if let Some((_, text)) = line.trim().split_once("listening on ") {
                address = text.split(',').next().map(|text| text.parse().expect("an address"));
            }
        }
        let address = address.expect("it listens");
        Server { child, address, _lines: lines }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
