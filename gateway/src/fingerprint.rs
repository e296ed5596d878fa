//! What makes two signals one problem.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Hex SHA-256 of `namespace:kind:name` of the top owner of a signal's target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of this object; `namespace` is empty for a cluster-scoped one.
    pub fn of(namespace: &str, kind: &str, name: &str) -> Self {
        Self(hex(&Sha256::digest(format!("{namespace}:{kind}:{name}"))))
    }

    /// All 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 63: what fits a label.
    pub fn label(&self) -> &str {
        &self.0[..63]
    }

    /// The name of the request that is made under a claim, which its uid stands for: whoever takes part in the claim
    /// comes to the same name, and no other claim leads to it. The suffix is taken from the whole fingerprint, so two
    /// that share their first 12 digits do not meet.
    pub fn request_name(&self, claim: &str) -> String {
        let suffix = hex(&Sha256::digest(format!("{}:{claim}", self.0)));
        format!("rr-{}-{}", &self.0[..12], &suffix[..16])
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_sha256_of_the_three_parts() {
        // `printf 'production:Deployment:web' | sha256sum`
        assert_eq!(
            Fingerprint::of("production", "Deployment", "web").as_str(),
            "151942e3a3ae1be9a7a31e31b169444430ef21891a769f951b9ccd5209707e6b"
        );
        // `printf ':Node:worker-1' | sha256sum`
        assert_eq!(
            Fingerprint::of("", "Node", "worker-1").as_str(),
            "5811a14c33e6ea55be7f43355c2cffd48201fcbf3fc51c48a3f58e375e6f7ccc"
        );
    }

    proptest! {
        #[test]
        fn it_is_64_hex_digits_and_a_function_of_its_parts(ns in ".{0,40}", kind in ".{0,20}", name in ".{0,80}") {
            let fingerprint = Fingerprint::of(&ns, &kind, &name);
            prop_assert_eq!(fingerprint.as_str().len(), 64);
            prop_assert!(fingerprint.as_str().bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
            prop_assert_eq!(&fingerprint, &Fingerprint::of(&ns, &kind, &name));
            let other = Fingerprint::of(&ns, &kind, &format!("{name}x"));
            prop_assert_ne!(&fingerprint, &other);
        }

        #[test]
        fn names_are_deterministic_valid_and_differ(name in "[a-z]{1,20}", uid in "[0-9a-f-]{36}") {
            let fingerprint = Fingerprint::of("ns", "Pod", &name);
            let first = fingerprint.request_name(&uid);
            prop_assert_eq!(&first, &fingerprint.request_name(&uid));
            prop_assert!(crate::text::is_object_name(&first));
            let prefix = format!("rr-{}-", &fingerprint.as_str()[..12]);
            prop_assert!(first.starts_with(&prefix));
            prop_assert_ne!(&first, &fingerprint.request_name(&format!("{uid}x")));
        }
    }
}
