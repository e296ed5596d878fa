//! Who may send signals: the API server says so, and is believed for a short while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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

/// What a sender must be allowed to `create`.
const RESOURCE: (&str, &str) = ("services", "gateway-service");

/// Asks the API server whose token it is and whether they may send signals.
pub struct Authenticator {
    client: Client,
    namespace: String,
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

/// Why a token's owner may not send.
#[derive(Debug)]
pub(crate) enum Denial {
    /// The API server does not know the token.
    Unauthenticated,
    /// It knows whose it is, and they may not.
    Forbidden,
    /// It could not be asked.
    Unavailable(CallError),
}

impl Authenticator {
    /// `namespace` is the gateway's own; positive answers are believed for `ttl`.
    pub fn new(client: Client, namespace: String, call_deadline: Duration, ttl: Duration) -> Self {
        Self {
            client,
            namespace,
            call_deadline,
            ttl,
            remembered: Mutex::default(),
            asking: Semaphore::new(ASKED_AT_ONCE),
        }
    }

    pub(crate) async fn check(&self, token: &str) -> Result<(), Denial> {
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
        if self.may_send(user).await? { Ok(()) } else { Err(Denial::Forbidden) }
    }

    async fn whose(&self, token: &str) -> Result<Option<UserInfo>, Denial> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() };
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

    async fn may_send(&self, user: UserInfo) -> Result<bool, Denial> {
        let (resource, name) = RESOURCE;
        let attributes = ResourceAttributes {
            namespace: Some(self.namespace.clone()),
            verb: Some("create".to_owned()),
            resource: Some(resource.to_owned()),
            name: Some(name.to_owned()),
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
            || "asking whether a token's owner may send signals (SubjectAccessReview)".to_owned(),
            api.create(&PostParams::default(), &review),
        )
        .await
        .map_err(Denial::Unavailable)?;
        Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }
}
