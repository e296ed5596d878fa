//! Reads what is left of a body that was answered before its end.
//!
//! A connection that is closed with a body still coming in is reset, and its sender, busy writing, never sees the
//! answer that tells it why.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use futures::StreamExt as _;
use hyper::body::{Frame, SizeHint};

/// No more than this is read for the sake of an answer.
const LEFT_BYTES_MAX: usize = 4 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);

struct Lingering(Option<Body>);

/// Has the rest of the request's body read where nobody reads it to its end.
pub fn linger(request: Request) -> Request {
    request.map(|body| Body::new(Lingering(Some(body))))
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.0.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(rest) = self.0.take().filter(|body| !body.is_end_stream()) {
            tokio::spawn(tokio::time::timeout(LINGER, discard(rest)));
        }
    }
}

async fn discard(body: Body) {
    let mut left = LEFT_BYTES_MAX;
    let mut chunks = body.into_data_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        left = left.saturating_sub(chunk.len());
        if left == 0 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::stream;
    use tokio::sync::mpsc;

    use super::*;

    /// A body of `chunks` KiB that counts what is read of it, and tells when it is dropped.
    fn body(chunks: usize) -> (Body, Arc<AtomicUsize>, mpsc::Receiver<()>) {
        let read = Arc::new(AtomicUsize::new(0));
        let (count, (alive, dropped)) = (read.clone(), mpsc::channel(1));
        let data = stream::iter(0..chunks).map(move |_| {
            let _held = &alive;
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1024]))
        });
        (Body::from_stream(data), read, dropped)
    }

    #[tokio::test]
    async fn what_nobody_read_is_read_after_the_answer() {
        let (rest, read, mut dropped) = body(300);
        drop(linger(Request::new(rest)));
        assert_eq!(dropped.recv().await, None);
        assert_eq!(read.load(Ordering::SeqCst), 300);
    }

    #[tokio::test]
    async fn a_body_without_end_is_given_up() {
        let (rest, read, mut dropped) = body(usize::MAX);
        drop(linger(Request::new(rest)));
        assert_eq!(dropped.recv().await, None);
        assert_eq!(read.load(Ordering::SeqCst) * 1024, LEFT_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_body_that_was_read_arrives_whole() {
        let (whole, read, _dropped) = body(3);
        let bytes = axum::body::to_bytes(linger(Request::new(whole)).into_body(), usize::MAX).await.unwrap();
        assert_eq!((bytes.len(), read.load(Ordering::SeqCst)), (3072, 3));
    }
}
