//! The bounds of a server and their defaults.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;

use super::table::Patience;
use crate::sys;

/// hyper panics below this size.
const LEAST_HEADER_BYTES: usize = 8 * 1024;

#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) patience: Patience,
    pub(super) header_bytes: usize,
    /// `None`: as many as descriptors allow.
    pub(super) connections: Option<usize>,
    pub(super) http2_streams: u32,
    pub(super) http2_pending_resets: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        let seconds = Duration::from_secs;
        Bounds {
            patience: Patience { header: seconds(10), idle: seconds(75), drain: seconds(2) },
            header_bytes: 64 * 1024,
            connections: None,
            http2_streams: 200,
            http2_pending_resets: 20,
        }
    }
}

impl Bounds {
    pub(super) fn connections(&self) -> io::Result<usize> {
        self.connections.map_or_else(|| sys::free_descriptors().map(|free| free - free / 4), Ok)
    }

    pub(super) fn http(&self) -> Builder<TokioExecutor> {
        let bytes = self.header_bytes.max(LEAST_HEADER_BYTES);
        let mut http = Builder::new(TokioExecutor::new());
        // hyper's own timeout for heads closes idle connections, too.
        http.http1().max_buf_size(bytes).header_read_timeout(None);
        http.http2()
            .max_header_list_size(u32::try_from(bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(self.http2_streams)
            .max_pending_accept_reset_streams(self.http2_pending_resets);
        http
    }
}
