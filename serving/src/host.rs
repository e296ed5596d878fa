//! For whom a request is.

use axum::extract::Request;
use axum::http::{Version, header};

/// Whether a request names its host once, as HTTP/1.1 has it, or at most once where it is older: what stands before a
/// service might take the other one.
pub fn has_one_host(request: &Request) -> bool {
    match request.headers().get_all(header::HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        count => count == 1,
    }
}
