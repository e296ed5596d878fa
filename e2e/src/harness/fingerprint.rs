//! The fingerprint as the contract defines it, computed here a second time so that the gateway's is not its own judge.

use sha2::{Digest as _, Sha256};

/// Hex SHA-256 of `namespace:kind:name`. The namespace of a cluster-scoped object is empty.
pub(crate) fn fingerprint(namespace: &str, kind: &str, name: &str) -> String {
    Sha256::digest(format!("{namespace}:{kind}:{name}")).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_sha256sum() {
        // printf 'shop:Deployment:checkout' | sha256sum
        assert_eq!(
            fingerprint("shop", "Deployment", "checkout"),
            "6d1a895f68c481a1ea6a977b880cc1233fdb70b0b96b9d447a06e1b4cb90594f"
        );
        // printf ':Node:worker-1' | sha256sum
        assert_eq!(
            fingerprint("", "Node", "worker-1"),
            "5811a14c33e6ea55be7f43355c2cffd48201fcbf3fc51c48a3f58e375e6f7ccc"
        );
    }
}
