//! The RemediationRequest resource, from which the CRD's YAML is generated.
