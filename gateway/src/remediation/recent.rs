//! What this gateway last saw of active requests.
//!
//! It saves the look-up, and never decides: what is remembered is written back with its resourceVersion, which the API
//! server refuses if the request has changed in any way since.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use api::Deduplication;

use super::seen::Seen;
use crate::fingerprint::Fingerprint;

/// Requests remembered at once: some two megabytes.
const MAX_REMEMBERED: usize = 4_096;

/// An active request at one resourceVersion.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) resource_version: String,
    pub(super) deduplication: Deduplication,
    is_active: bool,
}

impl From<&Seen> for Known {
    fn from(seen: &Seen) -> Self {
        let first_seen = seen.spec.received_time;
        Self {
            namespace: seen.metadata.namespace.clone(),
            name: seen.metadata.name.clone(),
            resource_version: seen.metadata.resource_version.clone(),
            deduplication: seen.status.deduplication.clone().unwrap_or(Deduplication {
                first_seen_at: first_seen,
                last_seen_at: first_seen,
                occurrence_count: 1,
            }),
            is_active: seen.is_active(),
        }
    }
}

#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<Fingerprint, Known>>);

impl Recent {
    pub(super) fn get(&self, fingerprint: &Fingerprint) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(fingerprint).cloned()
    }

    pub(super) fn put(&self, fingerprint: &Fingerprint, known: Known) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.is_active {
            map.remove(fingerprint);
            return;
        }
        if map.len() >= MAX_REMEMBERED && !map.contains_key(fingerprint) {
            // Any will do: whoever is forgotten is looked up again.
            if let Some(any) = map.keys().next().cloned() {
                map.remove(&any);
            }
        }
        map.insert(fingerprint.clone(), known);
    }

    pub(super) fn forget(&self, fingerprint: &Fingerprint) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(fingerprint);
    }
}
