//! A pool of database connections, opened in the body: each worker has connections of its own.
//!
//! `cargo run -p gallery-database` in the folder `examples/gallery`, then `curl http://127.0.0.1:8080/` a few times: the
//! number of visits goes on whichever worker answers, and through `kill -9` and `kill -HUP`.
//!
//! A connection that is opened before the fork (in `preload`, say) would be one for all workers, and their queries would
//! mix: prefork refuses to fork then. A URL of a server, such as PostgreSQL's, is used in the same way.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use prefork_rt::hyper::serve;
use prefork_rt::{Worker, prefork};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::net::TcpListener;

/// Of each worker: what the server allows is shared by all of them.
const CONNECTIONS: u32 = 4;

#[prefork(listen = "127.0.0.1:8080", ready_timeout = "10s", max_restarts = "unlimited")]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: Worker, listener: TcpListener) -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/tmp/prefork-visits.db".to_owned());
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(10));
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS visits (task_id INTEGER NOT NULL)").execute(&pool).await?;
    let visit = move |State(pool): State<SqlitePool>| visit(worker.task_id(), pool);
    // It says that the worker is ready, which it is from here on.
    serve(worker, listener, Router::new().route("/", get(visit)).with_state(pool.clone())).await?;
    // Every request was answered, so that no connection is in use.
    pool.close().await;
    Ok(())
}

async fn visit(task_id: usize, pool: SqlitePool) -> Result<String, (StatusCode, String)> {
    let failed = |error: sqlx::Error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
    let insert = sqlx::query("INSERT INTO visits VALUES (?)").bind(task_id as i64);
    let visit = insert.execute(&pool).await.map_err(failed)?.last_insert_rowid();
    Ok(format!("hello from worker {task_id}, pid {}: visit {visit}\n", std::process::id()))
}
