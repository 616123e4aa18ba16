//! The service with an eye on its requests: which are in flight, and what an answer says once the worker was told to stop.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::service::TowerToHyperService;
use pin_project_lite::pin_project;

use super::connections::{Flight, Link};

/// The service of one connection.
pub(super) struct Answering<S> {
    pub(super) service: TowerToHyperService<S>,
    pub(super) link: Arc<Link>,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Answering<S>
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone,
{
    type Response = Response<Counted<B>>;
    type Error = S::Error;
    type Future = Answer<<TowerToHyperService<S> as hyper::service::Service<Request<Incoming>>>::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let flight = Some(Flight::begin(&self.link));
        let (is_connect, version) = (request.method() == Method::CONNECT, request.version());
        Answer { future: self.service.call(request), flight, is_connect, version }
    }
}

pin_project! {
    /// The answer to one request, until its head is there.
    pub(super) struct Answer<F> {
        #[pin]
        future: F,
        flight: Option<Flight>,
        is_connect: bool,
        version: Version,
    }
}

impl<F, B, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Counted<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.future.poll(context))?;
        let mut flight = this.flight.take();
        if let Some(flight) = &mut flight {
            if is_upgrade(&response, *this.is_connect) {
                flight.stay();
            } else if *this.version < Version::HTTP_2 && flight.is_stopping() {
                // hyper closes the connection after this answer, and the client knows that it will.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        Poll::Ready(Ok(response.map(|body| Counted { body, flight })))
    }
}

fn is_upgrade<B>(response: &Response<B>, is_connect: bool) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS || (is_connect && response.status().is_success())
}

pin_project! {
    /// The body of an answer, which hyper drops when it has taken all of it.
    pub(super) struct Counted<B> {
        #[pin]
        body: B,
        flight: Option<Flight>,
    }
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
