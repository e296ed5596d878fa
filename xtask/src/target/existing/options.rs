//! What a command says of a cluster that is there.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::error::WrongUsage;
use crate::image_name::is_reference;

/// How long a registry may take to answer at all.
const ANSWER: Duration = Duration::from_secs(5);

/// How specs reach the services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Reach {
    /// By `kubectl port-forward`, through the API server
    #[default]
    PortForward,
    /// By ports of a node
    NodePort,
    /// By a load balancer for each Service
    LoadBalancer,
}

/// What a command says of a cluster that is there.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "With --on context:NAME")]
pub struct Options {
    /// Where images are pushed to; credentials are the engine's own
    #[arg(long, value_name = "HOST/PREFIX")]
    pub registry: Option<String>,
    /// Where the cluster's nodes pull them from, if they know the registry by another address
    #[arg(long, value_name = "HOST/PREFIX", requires = "registry")]
    pub registry_in_cluster: Option<String>,
    /// How specs reach the services
    #[arg(long, value_enum, default_value_t)]
    pub reach: Reach,
    /// The StorageClass of claims whose volumes the manifests bring themselves; the cluster's default where none is named
    #[arg(long, value_name = "NAME")]
    pub storage_class: Option<String>,
}

/// A registry, with what stands before the names of images there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registry {
    /// `HOST/PREFIX`, as this machine knows it.
    pub(super) here: String,
    /// As nodes do.
    pub(super) in_cluster: String,
}

impl Options {
    /// The registry.
    ///
    /// # Errors
    /// Where none is named, or one by what is no name.
    pub(super) fn registry(&self) -> Result<Registry> {
        let named = self.registry.as_deref().ok_or_else(|| {
            WrongUsage("--on context:… needs --registry HOST/PREFIX: its nodes pull images from there".to_owned())
        })?;
        let checked = |option: &str, text: &str| -> Result<String> {
            let text = text.trim_end_matches('/');
            let host = text.split('/').next().unwrap_or_default();
            let is_host = host == "localhost" || host.contains(['.', ':']);
            if !is_host || !is_reference(&format!("{text}/image:tag")) {
                let message =
                    format!("{option} {text}: not HOST/PREFIX, as registry.example.com/team or 127.0.0.1:5000");
                return Err(WrongUsage(message).into());
            }
            Ok(text.to_owned())
        };
        let here = checked("--registry", named)?;
        let in_cluster = self.registry_in_cluster.as_deref().map(|text| checked("--registry-in-cluster", text));
        Ok(Registry { in_cluster: in_cluster.transpose()?.unwrap_or_else(|| here.clone()), here })
    }
}

impl Registry {
    /// `HOST` or `HOST:PORT`.
    fn host(&self) -> &str {
        self.here.split('/').next().unwrap_or_default()
    }

    /// Whether it is on this machine, where plain HTTP is no risk.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.host().rsplit_once(':').map_or(self.host(), |(host, _)| host);
        host == "localhost" || host.starts_with("127.") || host == "[::1]"
    }

    /// What an image is called there that manifests call `reference`.
    pub(super) fn name(&self, reference: &str) -> String {
        let path = reference.split('@').next().unwrap_or(reference);
        let path = crate::image_name::split_tag(path).0;
        match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => rest.to_owned(),
            _ => path.to_owned(),
        }
    }

    /// Fails where nobody answers at its address.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn must_answer(&self) -> Result<()> {
        // It may be reached by a proxy alone.
        let has_proxy = ["HTTPS_PROXY", "https_proxy"].iter().any(|name| std::env::var_os(name).is_some());
        if has_proxy && !self.is_loopback() {
            return Ok(());
        }
        let host = self.host();
        let with_port = if host.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) {
            host.to_owned()
        } else {
            format!("{host}:443")
        };
        let doing = || format!("the registry {host} does not answer");
        let addresses: Vec<_> = with_port.to_socket_addrs().with_context(doing)?.collect();
        ensure!(!addresses.is_empty(), "{}: it has no address", doing());
        let mut last = anyhow!("it was not tried");
        for address in addresses {
            match TcpStream::connect_timeout(&address, ANSWER) {
                Ok(_) => return Ok(()),
                Err(error) => last = anyhow!("{address}: {error}"),
            }
        }
        Err(last.context(doing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(registry: &str, in_cluster: Option<&str>) -> Options {
        let registry_in_cluster = in_cluster.map(str::to_owned);
        Options { registry: Some(registry.to_owned()), registry_in_cluster, ..Options::default() }
    }

    #[test]
    fn a_registry_has_a_host_and_may_have_another_one_inside() {
        let registry = options("127.0.0.1:5000/e2e/", Some("10.0.0.1:5000/e2e")).registry().unwrap();
        assert_eq!((registry.here.as_str(), registry.in_cluster.as_str()), ("127.0.0.1:5000/e2e", "10.0.0.1:5000/e2e"));
        assert!(registry.is_loopback());
        let registry = options("registry.example.com", None).registry().unwrap();
        assert_eq!(registry.in_cluster, "registry.example.com");
        assert!(!registry.is_loopback());
        for (reference, name) in [
            ("localhost/shop:dev", "shop"),
            ("docker.io/library/postgres:17@sha256:12", "library/postgres"),
            ("shop", "shop"),
            ("registry.example.com:5000/a/b:1", "a/b"),
        ] {
            assert_eq!(registry.name(reference), name);
        }
    }

    #[test]
    fn what_is_no_registry_is_wrong_usage() {
        for text in ["team/shop", "https://registry.example.com/x", "registry.example.com/UPPER"] {
            let error = options(text, None).registry().unwrap_err();
            assert!(error.is::<WrongUsage>() && error.to_string().contains(text), "{error}");
        }
        assert!(Options::default().registry().unwrap_err().to_string().contains("--registry HOST/PREFIX"));
    }

    #[test]
    fn one_that_does_not_answer_is_named() {
        let port = e2e_support::ports::free().unwrap();
        let error = options(&format!("127.0.0.1:{port}/e2e"), None).registry().unwrap().must_answer().unwrap_err();
        assert!(format!("{error:#}").contains("refused") && error.to_string().contains(&port.to_string()), "{error:#}");
    }
}
