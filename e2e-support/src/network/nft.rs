//! The same where netavark writes its rules by nftables, as Debian 13's does: into a table of its own, in which no rule names
//! its container. A chain for each network has `dnat` rules to containers' addresses; its name begins with the
//! network's id, which a network made anew has another one of. <https://github.com/containers/netavark/blob/v1.14.0/src/firewall/nft.rs>

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::{ANSWER, Known};
use crate::engine::Engine;
use crate::kind::NETWORK;
use crate::process::Job;

/// Where all forwarded ports go through.
const PORTS: &str = "NETAVARK-HOSTPORT-DNAT";
/// Where answers to connections from this machine itself are made to find back.
const MARK: &str = "NETAVARK-HOSTPORT-SETMARK";
const LOOPBACK: &str = "127.0.0.1";
/// So many digits of a network's id are in its chains' names.
const ID_DIGITS: usize = 8;

/// A rule of netavark's table, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    chain: String,
    handle: u64,
    port: Option<u64>,
    /// The chain that it goes on with.
    jump: Option<String>,
    /// The IPv4 address that it leads to.
    to: Option<String>,
    /// Whether it is for connections from this machine's loopback address alone.
    from_loopback: bool,
    /// The address of this machine that it is for; none for all.
    at: Option<String>,
}

/// The networks of the engine, by the beginning of their ids.
#[derive(Debug, Default)]
struct Networks {
    all: BTreeSet<String>,
    /// kind's, where there is one.
    kind: Option<String>,
}

/// Removes the forwards into kind's network, or into one that is no more, that lead to no container, and returns their
/// ports.
///
/// # Errors
/// When the engine does not answer, or a rule cannot be removed.
pub(super) fn remove_forwards(engine: &Engine, known: impl Fn() -> Result<Known>) -> Result<Vec<String>> {
    let sh = Shell::new()?;
    let Ok(text) = list(&sh) else { return Ok(Vec::new()) };
    let rules = rules(&text)?;
    if !rules.iter().any(|rule| rule.to.is_some()) {
        return Ok(Vec::new());
    }
    // After the rules: a network and a container are known before they have any.
    let networks = networks(engine, &sh)?;
    let stale = stale(&rules, &networks, &known()?);
    for rule in &stale {
        let (chain, handle) = (&rule.chain, rule.handle.to_string());
        let delete = cmd!(sh, "nft delete rule inet netavark {chain} handle {handle}");
        let gone = Job::new(delete).deadline(ANSWER).run();
        // Another checkout may have been faster.
        if gone.is_err() && list(&sh).is_ok_and(|text| self::rules(&text).is_ok_and(|rules| rules.contains(rule))) {
            gone.context("removing a port forward that leads to a container that is no more")?;
        }
    }
    let ports: BTreeSet<u64> = stale.iter().filter(|rule| rule.to.is_some()).filter_map(|rule| rule.port).collect();
    Ok(ports.iter().map(u64::to_string).collect())
}

/// Restores the rules that let answers of the ports of kind's nodes find back to this machine, and returns the ports.
///
/// # Errors
/// When the engine does not answer, or a rule cannot be restored.
pub(super) fn restore_answers(engine: &Engine) -> Result<BTreeSet<String>> {
    let sh = Shell::new()?;
    let mut restored = BTreeSet::new();
    let Ok(text) = list(&sh) else { return Ok(restored) };
    let rules = rules(&text)?;
    if without_answers(&rules, None).is_empty() {
        return Ok(restored);
    }
    let Some(kind) = networks(engine, &sh)?.kind else { return Ok(restored) };
    for (chain, port) in without_answers(&rules, Some(&kind)) {
        let port = port.to_string();
        let insert = cmd!(
            sh,
            "nft insert rule inet netavark {chain} ip saddr {LOOPBACK} ip daddr {LOOPBACK} tcp dport {port} jump {MARK}"
        );
        let still = |text: String| {
            let rules = self::rules(&text).unwrap_or_default();
            without_answers(&rules, Some(&kind)).contains(&(chain, port.parse().unwrap_or_default()))
        };
        match Job::new(insert).deadline(ANSWER).run() {
            Ok(()) => drop(restored.insert(port)),
            // Else whoever had the port has gone in between, and its chain with it.
            Err(error) if list(&sh).is_ok_and(still) => return Err(error).context("restoring a rule of a node's port"),
            Err(_) => {}
        }
    }
    Ok(restored)
}

fn list(sh: &Shell) -> Result<String> {
    Job::new(cmd!(sh, "nft --json list table inet netavark")).deadline(ANSWER).read()
}

fn networks(engine: &Engine, sh: &Shell) -> Result<Networks> {
    let list = engine.ask(sh, &["network", "ls", "--no-trunc", "--format", "{{.ID}} {{.Name}}"]).read()?;
    let mut networks = Networks::default();
    for (id, name) in list.lines().filter_map(|line| line.split_once(' ')) {
        let id: String = id.chars().take(ID_DIGITS).collect();
        if name.trim() == NETWORK {
            networks.kind = Some(id.clone());
        }
        networks.all.insert(id);
    }
    Ok(networks)
}

/// The rules in what nft lists. <https://man.archlinux.org/man/libnftables-json.5>
fn rules(text: &str) -> Result<Vec<Rule>> {
    let text: Value = serde_json::from_str(text).context("reading the rules that nft lists")?;
    let listed = text["nftables"].as_array().into_iter().flatten().filter_map(|entry| entry.get("rule"));
    Ok(listed.map(rule).collect())
}

fn rule(listed: &Value) -> Rule {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut rule = Rule {
        chain: text(&listed["chain"]).unwrap_or_default(),
        handle: listed["handle"].as_u64().unwrap_or_default(),
        ..Rule::default()
    };
    for part in listed["expr"].as_array().into_iter().flatten() {
        let (field, right) = (&part["match"]["left"]["payload"]["field"], &part["match"]["right"]);
        match field.as_str() {
            Some("dport") => rule.port = right.as_u64(),
            Some("daddr") => rule.at = text(right),
            Some("saddr") => rule.from_loopback = right == LOOPBACK,
            _ => {}
        }
        if let Some(target) = text(&part["jump"]["target"]) {
            rule.jump = Some(target);
        }
        if part["dnat"]["family"] == "ip" {
            rule.to = text(&part["dnat"]["addr"]);
        }
    }
    rule
}

/// The beginning of the id of the network whose chain of forwards has this name.
fn network_of(chain: &str) -> Option<&str> {
    chain.strip_prefix("nv_")?.strip_suffix("_dnat")?.get(..ID_DIGITS)
}

/// The rules that lead to no container, with those that lead to them where nothing else is behind these.
fn stale<'r>(rules: &'r [Rule], networks: &Networks, known: &Known) -> Vec<&'r Rule> {
    if known.unsettled {
        return Vec::new();
    }
    let mut stale: Vec<&Rule> = Vec::new();
    for dnat in rules.iter().filter(|rule| rule.to.is_some()) {
        let Some(network) = network_of(&dnat.chain) else { continue };
        let is_of_kind = networks.kind.as_deref() == Some(network);
        if !is_of_kind && networks.all.contains(network) {
            continue;
        }
        let is_live = |rule: &Rule| is_of_kind && rule.to.as_ref().is_some_and(|to| known.addresses.contains(to));
        if is_live(dnat) {
            continue;
        }
        let beside = |rule: &&Rule| rule.chain == dnat.chain && rule.port == dnat.port;
        if rules.iter().filter(beside).any(is_live) {
            stale.push(dnat);
            continue;
        }
        let leads_there =
            |rule: &&Rule| rule.chain == PORTS && rule.port == dnat.port && rule.jump.as_ref() == Some(&dnat.chain);
        stale.extend(rules.iter().filter(|rule| beside(rule) || leads_there(rule)));
    }
    stale.sort_by_key(|rule| (&rule.chain, rule.handle));
    stale.dedup();
    stale
}

/// The ports of the loopback address, each with its chain, whose connections from the machine itself get no answer; of
/// the network with this id, or of any.
fn without_answers<'r>(rules: &'r [Rule], network: Option<&str>) -> BTreeSet<(&'r str, u64)> {
    let of_network = |rule: &&Rule| match (network_of(&rule.chain), network) {
        (Some(of), Some(wanted)) => of == wanted,
        (of, None) => of.is_some(),
        (None, Some(_)) => false,
    };
    let is_local = |rule: &&Rule| rule.at.as_deref().is_none_or(|at| at == LOOPBACK);
    let forwards = rules.iter().filter(of_network).filter(|rule| rule.to.is_some()).filter(is_local);
    let ports = forwards.filter_map(|rule| Some((rule.chain.as_str(), rule.port?)));
    ports
        .filter(|&(chain, port)| {
            let marks = |rule: &Rule| rule.from_loopback && rule.jump.as_deref() == Some(MARK);
            !rules.iter().any(|rule| rule.chain == chain && rule.port == Some(port) && marks(rule))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KIND: &str = "nv_3b9308c0_10_89_0_0_nm24_dnat";
    const GONE: &str = "nv_078a2d05_10_89_0_0_nm24_dnat";
    const OTHER: &str = "nv_11111111_10_88_0_0_nm16_dnat";

    fn field(protocol: &str, field: &str, right: &Value) -> Value {
        json!({"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}})
    }

    /// The three rules that netavark 1.14.0 makes for a port of 127.0.0.1, and the one that leads to them.
    fn forward(chain: &str, port: u64, to: &str, handle: u64) -> Vec<Value> {
        let (at, port) = (field("ip", "daddr", &json!(LOOPBACK)), field("tcp", "dport", &json!(port)));
        let subnet = field("ip", "saddr", &json!({"prefix": {"addr": "10.89.0.0", "len": 24}}));
        let (mark, home) = (json!({"jump": {"target": MARK}}), field("ip", "saddr", &json!(LOOPBACK)));
        let dnat = json!({"dnat": {"family": "ip", "addr": to, "port": 80}});
        let rule = |chain: &str, handle: u64, expr: &[&Value]| json!({"rule": {"family": "inet", "table": "netavark", "chain": chain, "handle": handle, "expr": expr}});
        vec![
            rule(PORTS, handle, &[&at, &port, &json!({"jump": {"target": chain}})]),
            rule(chain, handle + 1, &[&subnet, &at, &port, &mark]),
            rule(chain, handle + 2, &[&home, &at, &port, &mark]),
            rule(chain, handle + 3, &[&at, &port, &dnat]),
        ]
    }

    fn read(forwards: &[Vec<Value>]) -> Vec<Rule> {
        let table = json!({"table": {"family": "inet", "name": "netavark", "handle": 1}});
        let all: Vec<&Value> = std::iter::once(&table).chain(forwards.iter().flatten()).collect();
        rules(&json!({ "nftables": all }).to_string()).unwrap()
    }

    fn networks(kind: bool) -> Networks {
        let all = ["11111111", "3b9308c0"].into_iter().take(1 + usize::from(kind)).map(str::to_owned).collect();
        Networks { all, kind: kind.then(|| "3b9308c0".to_owned()) }
    }

    fn known(addresses: &[&str]) -> Known {
        Known { addresses: addresses.iter().map(|&address| address.to_owned()).collect(), ..Known::default() }
    }

    fn handles(rules: &[&Rule]) -> BTreeSet<u64> {
        rules.iter().map(|rule| rule.handle).collect()
    }

    #[test]
    fn only_what_leads_to_a_container_that_is_no_more_is_stale() {
        let rules = read(&[
            forward(KIND, 8080, "10.89.0.2", 10),
            forward(KIND, 8443, "10.89.0.9", 20),
            forward(GONE, 8080, "10.89.0.2", 30),
            forward(OTHER, 5432, "10.88.0.7", 40),
        ]);
        let known = known(&["10.89.0.2"]);
        let of = |range: std::ops::Range<u64>| range.collect::<BTreeSet<u64>>();
        let (dead, gone) = (of(20..24), of(30..34));
        assert_eq!(handles(&stale(&rules, &networks(true), &known)), &dead | &gone);
        assert_eq!(handles(&stale(&rules, &networks(false), &known)), &(&of(10..14) | &dead) | &gone);
        let unsettled = Known { unsettled: true, ..Known::default() };
        assert!(stale(&rules, &networks(true), &unsettled).is_empty(), "an address that is not known yet");
    }

    #[test]
    fn what_a_living_container_shares_with_a_dead_one_stays() {
        let rules = read(&[forward(KIND, 8080, "10.89.0.9", 10), forward(KIND, 8080, "10.89.0.2", 20)]);
        let stale = stale(&rules, &networks(true), &known(&["10.89.0.2"]));
        assert_eq!(handles(&stale), BTreeSet::from([13]), "the rule to the dead one alone");
    }

    #[test]
    fn a_port_whose_answers_do_not_find_back_lacks_a_rule() {
        let mut forwards = [forward(KIND, 8080, "10.89.0.2", 10), forward(OTHER, 5432, "10.88.0.7", 20)];
        assert!(without_answers(&read(&forwards), None).is_empty());
        forwards.iter_mut().for_each(|forward| drop(forward.remove(2)));
        let rules = read(&forwards);
        assert_eq!(without_answers(&rules, Some("3b9308c0")), BTreeSet::from([(KIND, 8080)]), "kind's alone");
        assert_eq!(without_answers(&rules, None).len(), 2);
    }
}
