//! What the HTTP library refuses by itself gets the form of every other error.
//!
//! A head that is none, or too large, never becomes a request: the library writes a bare status and closes. On its way
//! out that is replaced.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::edge;

/// A connection whose bare refusals are replaced.
pub(super) struct Refusing {
    stream: TcpStream,
    /// What stands in for a refusal, and how much of it is written.
    replacement: (Vec<u8>, usize),
}

impl Refusing {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, replacement: (Vec::new(), 0) }
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

/// The status of a bare refusal. All answers of the gateway itself have a request's id.
fn refused(bytes: &[u8]) -> Option<StatusCode> {
    let code = bytes.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    if code[0] != b'4' {
        return None;
    }
    let name = edge::REQUEST_ID;
    let id = name.as_str().as_bytes();
    let has_id = bytes.windows(id.len()).any(|part| part.eq_ignore_ascii_case(id));
    if has_id { None } else { StatusCode::from_bytes(code).ok() }
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
                self.replacement.0 = edge::refusal(status);
                Poll::Ready(Ok(buf.len()))
            }
            None => Pin::new(&mut self.stream).poll_write(cx, buf),
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
                Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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
