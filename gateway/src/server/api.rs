//! The API's routes, and what stands before them: authentication, and bounds on what is in flight.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::post;
use axum::{Router, middleware::from_fn_with_state};
use serving::auth::{Authenticator, Denial, bearer_token};
use tokio::sync::{Semaphore, SemaphorePermit};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::progress::Progress;
use super::{edge, webhook};
use crate::config::{Config, Cors};
use crate::pipeline::{Pipeline, unavailable};
use crate::problem::Problem;
use crate::signal::prometheus::MAX_ALERTS;

/// Alerts that all deliveries in flight may have: four of the largest deliveries. Each takes about a kilobyte.
const MAX_ALERTS_IN_FLIGHT: usize = 4 * MAX_ALERTS;

/// What the webhooks work with.
pub(super) struct App {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) progress: Arc<Progress>,
    pub(super) max_event_bytes: usize,
    pub(super) max_webhook_bytes: usize,
    /// Bytes that bodies may hold together.
    pub(super) body_bytes: Semaphore,
    /// Alerts that deliveries may hold together, so that small ones by the thousand are bounded too.
    pub(super) alerts: Semaphore,
    pub(super) body_deadline: Duration,
    /// How long a request waits for a place, and for room.
    place_deadline: Duration,
    /// How long the work of one request in Kubernetes may take.
    pub(super) request_deadline: Duration,
    authenticator: Option<Authenticator>,
    in_flight: Semaphore,
}

impl App {
    /// Waits for so much of what is bounded.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) async fn room<'a>(&self, of: &'a Semaphore, amount: usize) -> Result<SemaphorePermit<'a>, Problem> {
        // The settings were checked: no request may need more than there is, nor more than a semaphore counts.
        let amount = u32::try_from(amount).map_err(|_| Problem::overloaded())?;
        match tokio::time::timeout(self.place_deadline, of.acquire_many(amount)).await {
            Ok(Ok(permit)) => Ok(permit),
            // None of them is ever closed.
            Ok(Err(_)) | Err(_) => Err(Problem::overloaded()),
        }
    }
}

pub(super) fn router(config: &Config, pipeline: Arc<Pipeline>, authenticator: Option<Authenticator>) -> Router {
    let metrics = pipeline.metrics.clone();
    let app = Arc::new(App {
        pipeline,
        progress: Arc::default(),
        max_event_bytes: config.server.max_event_bytes,
        max_webhook_bytes: config.server.max_webhook_bytes,
        body_bytes: Semaphore::new(config.server.max_body_bytes_in_flight),
        alerts: Semaphore::new(MAX_ALERTS_IN_FLIGHT),
        place_deadline: Duration::from_millis(config.server.place_deadline_ms),
        body_deadline: Duration::from_millis(config.server.body_deadline_ms),
        authenticator,
        in_flight: Semaphore::new(config.server.max_in_flight),
        request_deadline: Duration::from_millis(config.kubernetes.request_deadline_ms),
    });
    let admission = from_fn_with_state(app.clone(), admit);
    // On the methods, not on the routes: a wrong method is told so, whoever asks.
    let router = Router::new()
        .route("/api/v1/signals/prometheus", post(webhook::prometheus).route_layer(admission.clone()))
        .route("/api/v1/signals/kubernetes-event", post(webhook::kubernetes_event).route_layer(admission))
        .fallback(edge::not_found)
        .method_not_allowed_fallback(edge::method_not_allowed);
    let router = match cors(&config.cors) {
        // On the routes, not on the whole: nobody asks for leave to use what is not there.
        Some(cors) => router.route_layer(cors).route_layer(middleware::from_fn(edge::preflight)),
        None => router,
    };
    router.layer(middleware::from_fn_with_state(metrics, edge::api)).with_state(app)
}

/// Lets a request through to its webhook. Who may not send takes no place from those who may.
async fn admit(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Result<Response, Problem> {
    if let Some(authenticator) = &app.authenticator {
        if request.headers().get_all(header::AUTHORIZATION).iter().count() > 1 {
            return Err(Problem::malformed("there are several Authorization headers: send one"));
        }
        let token =
            bearer_token(request.headers()).ok_or_else(|| Problem::unauthenticated("a bearer token is required"))?;
        let checked = tokio::time::timeout(app.request_deadline, authenticator.check(token)).await;
        checked.map_err(|_| Problem::deadline_exceeded())?.map_err(denied)?;
        // Nothing further down needs it, and what is not there cannot be logged.
        request.headers_mut().remove(header::AUTHORIZATION);
    }
    let _place = app.room(&app.in_flight, 1).await?;
    Ok(next.run(request).await)
}

fn denied(denial: Denial) -> Problem {
    match denial {
        Denial::Unauthenticated => Problem::unauthenticated("the bearer token is not valid"),
        Denial::Forbidden => {
            Problem::forbidden("the token's owner may not create services/gateway-service in the gateway's namespace")
        }
        Denial::Unavailable(error) => unavailable(&error),
    }
}

/// The settings were checked when they were read, so what cannot be parsed here is not there.
fn cors(config: &Cors) -> Option<CorsLayer> {
    let origin = match config.allowed_origins.as_slice() {
        [] => return None,
        [any] if any == "*" => AllowOrigin::any(),
        some => AllowOrigin::list(some.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let methods: Vec<Method> = config.allowed_methods.iter().filter_map(|method| method.parse().ok()).collect();
    let headers: Vec<HeaderName> = config.allowed_headers.iter().filter_map(|name| name.parse().ok()).collect();
    let layer = CorsLayer::new()
        .allow_origin(origin)
        .allow_methods(methods)
        .allow_headers(headers)
        .expose_headers([HeaderName::from_static("x-request-id"), header::RETRY_AFTER])
        .max_age(Duration::from_secs(config.max_age_seconds));
    Some(layer)
}
