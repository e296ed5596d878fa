//! What surrounds every request: its id, its log line, errors in their one shape, who may make it, and a limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serving::auth::{Denial, bearer_token};
use tokio::time::timeout;
use tracing::Instrument;
use uuid::Uuid;

use super::Api;
use crate::metrics::Metrics;
use crate::problem::Problem;

/// For a token to be looked at.
const AUTHENTICATION_DEADLINE: Duration = Duration::from_secs(15);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request an id, which its log lines and the answer bear, and problems their shape.
pub(super) async fn frame(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let request = serving::linger(request);
    let endpoint = request.extensions().get::<MatchedPath>().cloned();
    let request_id = Uuid::new_v4().to_string();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", request_id);
    async {
        let mut response = match serving::has_one_host(&request) {
            true => next.run(request).await,
            false => Problem::invalid("there must be one Host header").into_response(),
        };
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            let headers = std::mem::take(response.headers_mut());
            response = problem.answer(&path, &request_id);
            // What the router itself adds to an error, such as Allow.
            for (name, value) in headers.iter().filter(|(name, _)| *name == header::ALLOW) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let endpoint = endpoint.as_ref().map_or("unmatched", MatchedPath::as_str);
        metrics.requests.observe(endpoint, &method, response.status(), begun.elapsed());
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(%method, path, status = response.status().as_u16(), duration_ms, "answered");
        response
    }
    .instrument(span)
    .await
}

/// Lets a request through to its handler. Who may not use the API takes no place from those who may.
pub(super) async fn admit(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Result<Response, Problem> {
    if let Some(authenticator) = &api.authenticator {
        if request.headers().get_all(header::AUTHORIZATION).iter().count() > 1 {
            return Err(Problem::invalid("there are several Authorization headers: send one"));
        }
        let token = bearer_token(request.headers());
        let token = token.ok_or_else(|| Problem::unauthenticated("a bearer token is required"))?;
        let checked = timeout(AUTHENTICATION_DEADLINE, authenticator.check(token)).await;
        checked.map_err(|_| unknown_owner())?.map_err(|denial| match denial {
            Denial::Unauthenticated => Problem::unauthenticated("the bearer token is not valid here"),
            Denial::Forbidden => Problem::forbidden("the token's owner may not create services/datastorage"),
            Denial::Unavailable(error) => {
                tracing::error!(%error, "the Kubernetes API could not be used");
                unknown_owner()
            }
        })?;
        // What is not there cannot be logged.
        request.headers_mut().remove(header::AUTHORIZATION);
    }
    let _place = api.room(&api.in_flight, 1).await?;
    Ok(next.run(request).await)
}

fn unknown_owner() -> Problem {
    Problem::unavailable("the Kubernetes API, which knows whose the token is, cannot be reached at the moment")
}
