//! What the HTTP library refuses by itself gets the form of every other error.
//!
//! A head that is none, or too large, never becomes a request: the library writes a bare status and closes. On its way
//! out that is replaced.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// The whole answer, as bytes, to what was no request: what the HTTP library makes of it is the status.
pub type Refusal = fn(StatusCode) -> Vec<u8>;

/// All answers of a service itself have the request's id.
const REQUEST_ID: &[u8] = b"x-request-id";
/// How long a client may take none of its answer.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// A connection whose bare refusals are replaced, and whose client has to take its answers.
pub(crate) struct Refusing {
    stream: TcpStream,
    refusal: Refusal,
    /// When what waits to be written is given up; none while nothing waits.
    write_deadline: Option<Pin<Box<Sleep>>>,
    /// What stands in for a refusal, and how much of it is written.
    replacement: (Vec<u8>, usize),
}

impl Refusing {
    pub(crate) fn new(stream: TcpStream, refusal: Refusal) -> Self {
        Self { stream, refusal, write_deadline: None, replacement: (Vec::new(), 0) }
    }

    /// Ends a write that waits for too long: an answer holds memory until it is taken.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_deadline = None;
            return written;
        }
        let sleep = self.write_deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_DEADLINE)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn write_replacement(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (bytes, written) = &mut self.replacement;
        while *written < bytes.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *written += count,
            }
        }
        *bytes = Vec::new();
        *written = 0;
        Poll::Ready(Ok(()))
    }
}

/// The status of a bare refusal: a head, whole, alone, and without an id. A part of a body may begin like one, but no JSON
/// has such lines.
fn refused(bytes: &[u8]) -> Option<StatusCode> {
    let head = bytes.strip_prefix(b"HTTP/1.1 ")?.strip_suffix(b"\r\n\r\n")?;
    let code = head.get(..3)?;
    let has = |words: &[u8]| head.windows(words.len()).any(|part| part.eq_ignore_ascii_case(words));
    if code[0] != b'4' || has(b"\r\n\r\n") || has(REQUEST_ID) || !has(b"\r\ncontent-length: 0") {
        return None;
    }
    StatusCode::from_bytes(code).ok()
}

impl AsyncRead for Refusing {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Refusing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.write_replacement(cx))?;
        match refused(buf) {
            Some(status) => {
                self.replacement.0 = (self.refusal)(status);
                Poll::Ready(Ok(buf.len()))
            }
            None => {
                let written = Pin::new(&mut self.stream).poll_write(cx, buf);
                self.bounded(cx, written)
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs.iter().find(|buf| !buf.is_empty()) {
            Some(first) if refused(first).is_some() => self.poll_write(cx, first),
            _ => {
                ready!(self.write_replacement(cx))?;
                let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
                self.bounded(cx, written)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_replacement(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_replacement(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_head_of_the_library_is_a_refusal() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(refused(bare.as_bytes()), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        for other in [
            &bare.replace("close", "close\r\nx-request-id: 1"),
            &bare.replace("431", "500"),
            &format!("{bare}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            "HTTP/1.1 400 HTTP/1.1 400 HTTP/1.1 400 ",
            "HTTP/1.1 400 content-length: 0",
            "HTTP/1.1 4",
            "",
        ] {
            assert_eq!(refused(other.as_bytes()), None, "{other}");
        }
    }
}
