//! Who may use a service: the API server says so, and is believed for a short while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::kubernetes::{CallError, call};

/// Tokens that are remembered at once.
const MAX_REMEMBERED: usize = 10_000;

/// How long the API server is not asked again about a token that it did not know. Short: it may be known in a moment.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);

/// Tokens that the API server is asked about at once.
const ASKED_AT_ONCE: usize = 32;

/// The Service that a client must be allowed to `create`: it lets nobody make one, for the API server does not know the
/// name of an object that is yet to be created.
#[derive(Clone, Debug)]
pub struct Access {
    /// The Service's namespace.
    pub namespace: String,
    /// Its name.
    pub service: &'static str,
    /// Whom a token must be meant for; the API server itself where it is none.
    pub audience: Option<String>,
}

/// Asks the API server whose token it is and whether they may use the service.
pub struct Authenticator {
    client: Client,
    access: Access,
    call_deadline: Duration,
    ttl: Duration,
    remembered: Mutex<HashMap<TokenHash, Entry>>,
    asking: Semaphore,
}

/// Tokens themselves are never kept.
type TokenHash = [u8; 32];

/// The lock makes those who come with the same token at once ask once.
type Entry = Arc<tokio::sync::Mutex<Option<Remembered>>>;

/// What is known of a token, and until when.
#[derive(Clone, Copy)]
struct Remembered {
    is_good: bool,
    until: Instant,
}

impl Remembered {
    fn is_fresh(&self) -> bool {
        Instant::now() < self.until
    }
}

/// Why a token's owner is not let in.
#[derive(Debug)]
pub enum Denial {
    /// The API server does not know the token.
    Unauthenticated,
    /// It knows whose it is, and they may not.
    Forbidden,
    /// It could not be asked.
    Unavailable(CallError),
}

impl Authenticator {
    /// One call may take as long as `call_deadline`; positive answers are believed for `ttl`.
    pub fn new(client: Client, access: Access, call_deadline: Duration, ttl: Duration) -> Self {
        Self { client, access, call_deadline, ttl, remembered: Mutex::default(), asking: Semaphore::new(ASKED_AT_ONCE) }
    }

    /// Checks a bearer token.
    ///
    /// # Errors
    /// Why whoever sent it may not use the service.
    pub async fn check(&self, token: &str) -> Result<(), Denial> {
        let hash: TokenHash = Sha256::digest(token).into();
        let entry = self.entry(hash);
        let mut remembered = entry.lock().await;
        if let Some(fresh) = remembered.filter(Remembered::is_fresh) {
            return if fresh.is_good { Ok(()) } else { Err(Denial::Unauthenticated) };
        }
        // It is never closed. Who waits too long for it is given up by the caller.
        let _asking = self.asking.acquire().await;
        let asked_at = Instant::now();
        let verdict = self.ask(token).await;
        *remembered = match &verdict {
            Ok(()) => Some(Remembered { is_good: true, until: asked_at + self.ttl }),
            Err(Denial::Unauthenticated) => Some(Remembered { is_good: false, until: asked_at + UNKNOWN_FOR }),
            // What a known account may do is changed by somebody who waits for it; so is an outage.
            Err(Denial::Forbidden | Denial::Unavailable(_)) => None,
        };
        let is_known = remembered.is_some();
        drop(remembered);
        if !is_known {
            self.remembered.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
        }
        verdict
    }

    fn entry(&self, hash: TokenHash) -> Entry {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED && !remembered.contains_key(&hash) {
            // One that cannot be locked is being asked about right now.
            let is_fresh =
                |entry: &Entry| entry.try_lock().map_or(true, |known| known.is_some_and(|one| one.is_fresh()));
            remembered.retain(|_, entry| is_fresh(entry));
            // Good ones stay: made-up tokens must not make everybody be asked about again.
            if remembered.len() >= MAX_REMEMBERED {
                let is_good =
                    |entry: &Entry| entry.try_lock().map_or(true, |known| known.is_some_and(|one| one.is_good));
                remembered.retain(|_, entry| is_good(entry));
            }
            if remembered.len() >= MAX_REMEMBERED {
                remembered.clear();
            }
        }
        Arc::clone(remembered.entry(hash).or_default())
    }

    async fn ask(&self, token: &str) -> Result<(), Denial> {
        let user = self.whose(token).await?.ok_or(Denial::Unauthenticated)?;
        if self.may_use(user).await? { Ok(()) } else { Err(Denial::Forbidden) }
    }

    async fn whose(&self, token: &str) -> Result<Option<UserInfo>, Denial> {
        let audiences = self.access.audience.clone().map(|audience| vec![audience]);
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = call(
            self.call_deadline,
            || "asking whose a bearer token is (TokenReview)".to_owned(),
            api.create(&PostParams::default(), &review),
        )
        .await
        .map_err(Denial::Unavailable)?;
        let status = answer.status.unwrap_or_default();
        Ok(status.user.filter(|_| status.authenticated == Some(true)))
    }

    async fn may_use(&self, user: UserInfo) -> Result<bool, Denial> {
        let attributes = ResourceAttributes {
            namespace: Some(self.access.namespace.clone()),
            verb: Some("create".to_owned()),
            resource: Some("services".to_owned()),
            name: Some(self.access.service.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: user.username,
            groups: user.groups,
            uid: user.uid,
            extra: user.extra,
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = call(
            self.call_deadline,
            || "asking whether a token's owner may use the service (SubjectAccessReview)".to_owned(),
            api.create(&PostParams::default(), &review),
        )
        .await
        .map_err(Denial::Unavailable)?;
        Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }
}

/// The bearer token of a request's headers, where there is one.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    // What is behind a blank the API server would pass over.
    let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && is_one).then_some(token)
}
