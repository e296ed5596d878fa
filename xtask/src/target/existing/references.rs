//! Names of namespaces in texts: where one surely is such a name, and only there, it becomes that of the run.

use std::collections::{BTreeMap, BTreeSet};

/// What objects without a namespace land in; texts have the word for other reasons, too.
const DEFAULT: &str = "default";

/// The namespaces of a run, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    /// The run's name of each namespace of the manifests.
    pub(super) renamed: BTreeMap<String, String>,
    /// The Services of the manifests, as namespace and name.
    pub(super) services: BTreeSet<(String, String)>,
    /// Their ServiceAccounts, likewise.
    pub(super) accounts: BTreeSet<(String, String)>,
}

impl Spaces {
    /// The run's name of a namespace; none where it is not the run's.
    pub(super) fn of(&self, namespace: &str) -> Option<&str> {
        self.renamed.get(namespace).map(String::as_str)
    }

    /// The text with the run's names in it; none where it has none of them.
    pub(super) fn in_text(&self, text: &str) -> Option<String> {
        let mut new = text.to_owned();
        for (from, to) in &self.renamed {
            let mut at = 0;
            while let Some(found) = new[at..].find(from.as_str()).map(|found| at + found) {
                let (before, after) = (&new[..found], &new[found + from.len()..]);
                at = found + from.len();
                if self.is_reference(from, before, after) {
                    new.replace_range(found..at, to);
                    at = found + to.len();
                }
            }
        }
        (new != text).then_some(new)
    }

    /// Whether `namespace`, between these texts, names a namespace.
    fn is_reference(&self, namespace: &str, before: &str, after: &str) -> bool {
        let is_plain = namespace != DEFAULT;
        self.is_host(namespace, before, after, is_plain)
            || self.is_account(namespace, before, after, is_plain)
            || (is_plain && is_setting(before, after))
    }

    /// `service.namespace.svc`, or `service.namespace` for a service of the manifests.
    fn is_host(&self, namespace: &str, before: &str, after: &str, is_plain: bool) -> bool {
        let Some(before) = before.strip_suffix('.') else { return false };
        let begin = before.rfind(|c: char| !is_label(c)).map_or(0, |at| at + 1);
        let service = &before[begin..];
        if service.is_empty() {
            return false;
        }
        let is_known = self.services.contains(&(namespace.to_owned(), service.to_owned()));
        if let Some(rest) = after.strip_prefix(".svc") {
            return (is_plain || is_known) && !rest.starts_with(is_label);
        }
        let ends = after.is_empty() || after.starts_with(|c: char| !is_label(c) && c != '.' && c != '_');
        is_known && ends && !before[..begin].ends_with('.')
    }

    /// The name by which the API server knows a ServiceAccount, or all of a namespace.
    fn is_account(&self, namespace: &str, before: &str, after: &str, is_plain: bool) -> bool {
        if before.ends_with("system:serviceaccounts:") {
            return is_plain && !after.starts_with(is_label);
        }
        let Some(name) = after.strip_prefix(':').filter(|_| before.ends_with("system:serviceaccount:")) else {
            return false;
        };
        let name = name.split(|c: char| !is_label(c) && c != '.').next().unwrap_or_default();
        is_plain || self.accounts.contains(&(namespace.to_owned(), name.to_owned()))
    }
}

/// `--some-namespace=…` as a whole, or a line `namespace: …` of a configuration.
fn is_setting(before: &str, after: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default();
    let rest = after.split('\n').next().unwrap_or_default();
    let rest = rest.trim_start_matches(['"', '\'']).trim_end().trim_end_matches(',');
    if !(rest.is_empty() || rest.trim_start().starts_with('#')) {
        return false;
    }
    let key = line.trim_end_matches(['"', '\'']).trim_end();
    let Some(key) = key.strip_suffix(':').or_else(|| key.strip_suffix('=')) else { return false };
    let key = key.trim_end().trim_end_matches(['"', '\'']).to_ascii_lowercase();
    key.ends_with("namespace") && !key.trim_start_matches(['-', ' ', '"', '\'']).contains(' ')
}

/// What a label of a DNS name consists of.
fn is_label(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spaces() -> Spaces {
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        Spaces {
            renamed: [pair("shop", "shop-1"), pair("default", "default-1")].into(),
            services: [pair("shop", "db"), pair("default", "web")].into(),
            accounts: [pair("default", "clerk")].into(),
        }
    }

    #[test]
    fn a_name_is_replaced_where_it_surely_is_that_of_a_namespace() {
        for (text, expected) in [
            ("http://db.shop.svc:80/shop", "http://db.shop-1.svc:80/shop"),
            ("other.shop.svc.cluster.local", "other.shop-1.svc.cluster.local"),
            ("pod-0.db.shop.svc", "pod-0.db.shop-1.svc"),
            ("postgres://u:p@db.shop:5432/shop?x", "postgres://u:p@db.shop-1:5432/shop?x"),
            ("db.shop", "db.shop-1"),
            ("db.shop,db.shop:1", "db.shop-1,db.shop-1:1"),
            ("system:serviceaccount:shop:any", "system:serviceaccount:shop-1:any"),
            ("system:serviceaccounts:shop", "system:serviceaccounts:shop-1"),
            ("system:serviceaccount:default:clerk", "system:serviceaccount:default-1:clerk"),
            ("--namespace=shop", "--namespace=shop-1"),
            ("--watch-namespace=shop", "--watch-namespace=shop-1"),
            ("a: 1\npod_namespace: \"shop\" # here\nb: shop\n", "a: 1\npod_namespace: \"shop-1\" # here\nb: shop\n"),
            ("{\n  \"namespace\": \"shop\",\n}", "{\n  \"namespace\": \"shop-1\",\n}"),
            ("web.default.svc", "web.default-1.svc"),
        ] {
            assert_eq!(spaces().in_text(text).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        for text in [
            "shop",
            "the shop namespace: a shop of ours",
            "kubernetes.default.svc",
            "db.shop.example.com",
            "db.shopping.svc",
            "mail.shop",
            "x.db.shop",
            "registry/shop:1",
            "--namespace=shopping",
            "system:serviceaccount:default:default",
            "namespace: default",
            "db.shop_1",
        ] {
            assert_eq!(spaces().in_text(text), None, "{text}");
        }
    }
}
