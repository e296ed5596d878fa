//! The least that anybody must do for a new problem: the same API calls as the gateway, and nothing else.

use anyhow::{Result, ensure};
use api::{
    Deduplication, RemediationRequest, RemediationRequestSpec, Severity, SignalType, TargetResource, TargetType,
};
use gateway::fingerprint::Fingerprint;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use testbed::kubernetes::ApiServer;

pub(crate) struct Bare {
    client: Client,
}

impl Bare {
    pub(crate) fn new(server: &ApiServer) -> Result<Self> {
        Ok(Self { client: server.client()? })
    }

    /// Owner, look-up, namespace, creation, first count.
    pub(crate) async fn distinct(&self, name: &str) -> Result<()> {
        let owner = Api::<Deployment>::namespaced(self.client.clone(), "bench").get_metadata_opt(name).await?;
        ensure!(owner.is_none(), "the Deployment {name} must not exist");
        let fingerprint = Fingerprint::of("bench", "Deployment", name);
        let params = ListParams::default().fields(&format!("{}={fingerprint}", api::FINGERPRINT_FIELD));
        let found = Api::<RemediationRequest>::all(self.client.clone()).list(&params).await?;
        ensure!(found.items.is_empty(), "the problem {name} must be new");
        Api::<Namespace>::all(self.client.clone()).get_metadata_opt("bench").await?;
        let requests: Api<RemediationRequest> = Api::namespaced(self.client.clone(), "bench");
        let now = Timestamp::now();
        let created = requests.create(&PostParams::default(), &request(&fingerprint, name, now)).await?;
        let deduplication = Deduplication { first_seen_at: now, last_seen_at: now, occurrence_count: 1 };
        let patch = json!({
            "metadata": { "resourceVersion": created.metadata.resource_version },
            "status": { "deduplication": deduplication },
        });
        let name = fingerprint.request_name("");
        requests.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }
}

fn request(fingerprint: &Fingerprint, name: &str, now: Timestamp) -> RemediationRequest {
    let spec = RemediationRequestSpec {
        signal_fingerprint: fingerprint.to_string(),
        signal_name: "HighLoad".to_owned(),
        severity: Severity::Critical,
        signal_type: SignalType::PrometheusAlert,
        signal_source: Some("alertmanager".to_owned()),
        target_type: TargetType::Kubernetes,
        target_resource: TargetResource {
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
            namespace: Some("bench".to_owned()),
            api_version: Some("apps/v1".to_owned()),
        },
        firing_time: now,
        received_time: now,
        signal_labels: Default::default(),
        signal_annotations: Default::default(),
        original_payload: Some(crate::subject::alert(name).to_string()),
    };
    let mut request = RemediationRequest::new(&fingerprint.request_name(""), spec);
    request.metadata.labels = Some([("kubernaut.ai/severity".to_owned(), "critical".to_owned())].into());
    request
}
