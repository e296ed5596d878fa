//! Who names a problem's next request.
//!
//! A request's name must never have been another's, and of several gateways that want to create one for the same problem
//! one alone may. So whoever wants to create one claims it first: a Lease of the problem's own name, in the gateway's
//! namespace. The API server gives it a uid that was never there before, and the request's name follows from it. Who
//! finds the claim taken takes part in it: all come to the same name, and the API server lets one through. The claim goes
//! when the request is there.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};

use super::FIELD_MANAGER;
use crate::fingerprint::Fingerprint;
use serving::kubernetes::{CallError, call};

/// What an older claim was made for is over, well or badly: longer than any call takes, and clocks may differ.
const LIFETIME: SignedDuration = SignedDuration::from_secs(60);
/// Digits of the fingerprint in a claim's name.
const DIGITS: usize = 48;

/// The claims of all gateways.
pub(super) struct Claims {
    leases: Api<Lease>,
    call_deadline: Duration,
}

/// One that is there.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    name: String,
    uid: String,
}

impl Claim {
    /// What was never there before.
    pub(super) fn uid(&self) -> &str {
        &self.uid
    }
}

impl Claims {
    /// `namespace` is the gateway's own.
    pub(super) fn new(client: Client, namespace: &str, call_deadline: Duration) -> Self {
        Self { leases: Api::namespaced(client, namespace), call_deadline }
    }

    /// Makes the problem's claim, or takes part in the one that there is; none if it has just changed.
    pub(super) async fn take(&self, fingerprint: &Fingerprint) -> Result<Option<Claim>, CallError> {
        let name = format!("rr-{}", &fingerprint.as_str()[..DIGITS]);
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let doing = || format!("claiming the next RemediationRequest of {fingerprint} with the Lease {name}");
        let lease = Lease { metadata, ..Lease::default() };
        match call(self.call_deadline, doing, self.leases.create(&params, &lease)).await {
            Ok(made) => return Ok(made.uid().map(|uid| Claim { name, uid })),
            Err(error) if error.status().is_some_and(kube::core::Status::is_already_exists) => {}
            Err(error) => return Err(error),
        }
        let doing = || format!("reading the Lease {name}");
        let found = call(self.call_deadline, doing, self.leases.get_metadata_opt(&name)).await?;
        let Some(uid) = found.as_ref().and_then(|lease| lease.uid()) else { return Ok(None) };
        let claim = Claim { name, uid };
        let made_at = found.and_then(|lease| lease.creation_timestamp());
        if made_at.is_some_and(|made_at| Timestamp::now().duration_since(made_at.0) > LIFETIME) {
            self.release(&claim).await;
            return Ok(None);
        }
        Ok(Some(claim))
    }

    /// Makes room for the next one. One that stays is found to be spent, or goes after its time.
    pub(super) async fn release(&self, claim: &Claim) {
        let preconditions = Some(Preconditions { uid: Some(claim.uid.clone()), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        let doing = || format!("deleting the Lease {}", claim.name);
        match call(self.call_deadline, doing, self.leases.delete(&claim.name, &params)).await {
            Ok(_) => {}
            // Somebody else did, and may have made the next one.
            Err(error) if error.status().is_some_and(|status| matches!(status.code, 404 | 409)) => {}
            Err(error) => tracing::warn!(%error, "a claim stays for a while"),
        }
    }
}
