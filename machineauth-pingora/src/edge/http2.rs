//! How long a client is waited for that sends a body over HTTP/2.
//!
//! Pingora has a read timeout for HTTP/1 only: over HTTP/2 it waits for the rest of a body without an end, and polls nothing of
//! ours meanwhile. So such a request gets a session of another kind, which is Pingora's own in all but this.
//!
//! Not on its way to a server that may speak HTTP/2, though. There, of a session of another kind, Pingora does not notice that
//! the client takes its request back while the server takes nothing; and it drops the `te` that gRPC needs.

use std::mem;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use http::header::HOST;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::custom::CustomMessageWrite;
use pingora_core::protocols::http::custom::server::Session as CustomSession;
use pingora_core::protocols::http::v2::server::HttpSession;
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use tokio::time::timeout;

type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync>;

/// Ends the wait for the rest of a request of HTTP/2 to `server` when its client is silent for longer than `patience`.
pub(super) fn time_body(session: &mut Session, server: &HttpPeer, patience: Duration) {
    let is_http1 = server.options.alpn.get_max_http_version() == 1;
    if !is_http1 || !session.is_http2() || session.is_body_done() {
        return;
    }
    let downstream = session.as_downstream_mut();
    let nobody = ServerSession::new_custom(Box::new(()));
    *downstream = match mem::replace(downstream, nobody) {
        ServerSession::H2(stream) => {
            ServerSession::new_custom(Box::new(TimedStream::new(stream, patience)))
        }
        other => other,
    };
}

/// A stream of HTTP/2 whose client may not be silent for too long while it owes a part of its request.
struct TimedStream {
    stream: HttpSession,
    patience: Option<Duration>,
    /// The answer is given, all of it.
    is_answered: bool,
}

impl TimedStream {
    fn new(mut stream: HttpSession, patience: Duration) -> Self {
        let request = stream.req_header_mut();
        if request.uri.authority().is_some() {
            // It says the same (RFC 9113 §8.3.1). For sessions of its own kind Pingora has the authority go on in its place; for
            // others it would leave both as they are.
            request.remove_header(&HOST);
        }
        Self {
            stream,
            patience: Some(patience),
            is_answered: false,
        }
    }

    /// The next part of the body; `None` is its end.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        // In the middle of an answer, what a client says next may depend on the rest of that.
        let is_hearing = self.stream.response_written().is_some() && !self.is_answered;
        let Some(patience) = self.patience.filter(|_| !is_hearing) else {
            return self.stream.read_body_bytes().await;
        };
        match timeout(patience, self.stream.read_body_bytes()).await {
            Ok(part) => part,
            Err(_) => Error::e_explain(ErrorType::ReadTimedout, "the client is silent"),
        }
    }
}

#[async_trait]
impl CustomSession for TimedStream {
    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.read().await
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.stream.is_body_done() {
            return self.stream.read_body_or_idle(no_body_expected).await;
        }
        self.read().await
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.patience = timeout;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.patience
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        self.is_answered = self.stream.response_duplex_vec(tasks).await?;
        Ok(self.is_answered)
    }

    // From here on, Pingora's own.

    fn req_header(&self) -> &RequestHeader {
        self.stream.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.stream.req_header_mut()
    }

    fn is_body_done(&mut self) -> bool {
        self.stream.is_body_done()
    }

    fn is_body_empty(&mut self) -> bool {
        self.stream.is_body_empty()
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.stream.drain_request_body().await
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.stream.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.stream.get_total_drain_timeout()
    }

    fn body_bytes_read(&self) -> usize {
        self.stream.body_bytes_read()
    }

    fn enable_retry_buffering(&mut self) {
        self.stream.enable_retry_buffering();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.stream.retry_buffer_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.stream.get_retry_buffer()
    }

    async fn write_response_header(
        &mut self,
        header: Box<ResponseHeader>,
        end: bool,
    ) -> Result<()> {
        self.stream.write_response_header(header, end)
    }

    async fn write_response_header_ref(
        &mut self,
        header: &ResponseHeader,
        end: bool,
    ) -> Result<()> {
        self.stream.write_response_header_ref(header, end)
    }

    async fn write_body(&mut self, part: Bytes, end: bool) -> Result<()> {
        self.stream.write_body(part, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.stream.write_trailers(trailers)
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.stream.response_written()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.stream.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.stream.get_write_timeout()
    }

    fn body_bytes_sent(&self) -> usize {
        self.stream.body_bytes_sent()
    }

    async fn finish(&mut self) -> Result<()> {
        self.stream.finish()
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.stream.shutdown();
    }

    fn digest(&self) -> Option<&Digest> {
        self.stream.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.stream.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.stream.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.stream.server_addr()
    }

    fn request_summary(&self) -> String {
        self.stream.request_summary()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.stream.pseudo_raw_h1_request_header()
    }

    // Protocols other than HTTP have messages beside the bodies.

    fn take_custom_message_reader(&mut self) -> Option<Messages> {
        None
    }

    fn restore_custom_message_reader(&mut self, _reader: Messages) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }
}
