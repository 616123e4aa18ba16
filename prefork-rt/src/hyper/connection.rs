//! The task of one connection: hyper serves it until it ends by itself or is told to close.

use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::Request;
use hyper::Response;
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::Answering;
use super::connections::Link;
use super::socket::Socket;
use super::table::Phase;

/// Serves this connection to its end. What goes wrong on it is the affair of its client alone.
pub(super) async fn serve<T, S, B>(http: Arc<Builder<TokioExecutor>>, socket: Socket<T>, link: Arc<Link>, service: S)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let service = Answering { service: TowerToHyperService::new(service), link: Arc::clone(&link) };
    let mut connection = pin!(http.serve_connection_with_upgrades(TokioIo::new(socket), service));
    let mut told = pin!(link.told());
    let mut has_parted = false;
    poll_fn(|context| {
        loop {
            // What the client has sent is read before the connection is closed.
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            link.settle();
            // HTTP/2 has a word for the end (GOAWAY), which loses no request.
            if link.is_http2() && !has_parted && link.is_stopping() {
                has_parted = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            if told.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            told.set(link.told());
            match link.told_in() {
                Some(Phase::New | Phase::Head) => return Poll::Ready(()),
                Some(Phase::Idle) if !has_parted => {
                    has_parted = true;
                    connection.as_mut().graceful_shutdown();
                    // A client of HTTP/2 has to answer, and may take its time unless another one needs the place.
                    if connection.as_mut().poll(context).is_ready() || link.is_crowded() {
                        return Poll::Ready(());
                    }
                    link.wait_again();
                }
                // The client takes its answers slowly, which hyper may hold as a whole: they are finished.
                Some(Phase::Idle) if link.has_taken() || (link.is_blocked() && link.is_stopping()) => link.wait_again(),
                Some(Phase::Idle) => return Poll::Ready(()),
                Some(Phase::Busy) | None => {}
            }
        }
    })
    .await;
}
