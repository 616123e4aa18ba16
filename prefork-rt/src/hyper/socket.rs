//! The socket of a connection, which notices what comes and goes, and when it is closed: with the connection, or later,
//! where a handler has it (an upgrade).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connections::Link;
use crate::balance::OpenConnection;

/// What a client of HTTP/2 begins with (RFC 9113, 3.4). hyper-util finds the version by it and does not tell which.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) struct Socket<T> {
    stream: T,
    link: Arc<Link>,
    /// How much of the preface has come, while only that has.
    preface: Option<usize>,
    _open: OpenConnection,
}

impl<T> Socket<T> {
    pub(super) fn new(stream: T, open: OpenConnection, link: Arc<Link>) -> Socket<T> {
        Socket { stream, link, preface: Some(0), _open: open }
    }

    fn receive(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.link.receive();
        if let Some(begun) = self.preface {
            let rest = &PREFACE[begun..];
            let length = rest.len().min(bytes.len());
            let is_preface = rest[..length] == bytes[..length];
            self.preface = (is_preface && length < rest.len()).then_some(begun + length);
            if is_preface && length == rest.len() {
                self.link.greet();
            }
        }
    }

    fn wrote<R>(&self, result: Poll<R>) -> Poll<R> {
        self.link.set_blocked(result.is_pending());
        result
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (this, before) = (self.get_mut(), buffer.filled().len());
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        this.receive(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.wrote(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<T> Drop for Socket<T> {
    fn drop(&mut self) {
        self.link.close();
    }
}
