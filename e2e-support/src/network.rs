//! What podman leaves behind of the network of kind's nodes, and what it takes from it.
//!
//! Where podman, run by root, or its netavark is killed while it starts a container, nobody knows any more of what was
//! there for it, and `podman rm` removes none of it:
//!
//! * Rules of iptables, or of nftables, that lead a port of this machine to the container. They come first, so that every
//!   later container with that port cannot be reached.
//! * The bridge of a network that was removed since. It holds a subnet, and kind tries five.
//! * The file with the names and addresses of the network. A network made anew under the same name gets it, and then
//!   nobody answers for names where its containers ask.
//!
//! netavark keeps one rule for a port of this machine's loopback address (the one that lets answers find back) for all
//! containers that have had the port. The end of one takes it from the others: also of one that never ran because the port
//! was taken, and of one that died long ago. From then on connections to the port hang.
//!
//! (Docker's daemon does all of this itself and lives on; podman without root does it in a namespace of its own.)

mod nft;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use camino::Utf8Path;
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

use crate::engine::{Engine, Flavor};
use crate::kind::NETWORK;
use crate::process::Job;

/// The chain that all forwarded ports go through.
const PORTS: &str = "NETAVARK-HOSTPORT-DNAT";
/// Where answers to connections from this machine itself are made to find back.
const MARK: &str = "NETAVARK-HOSTPORT-SETMARK";
/// The start of the IPv6 subnets that kind tries for its network, one after the other: made from a hash of its name.
/// <https://github.com/kubernetes-sigs/kind/blob/v0.31.0/pkg/cluster/internal/providers/podman/network.go>
const SUBNETS: [&str; 5] = [
    "fc00:f853:ccd:e793:",
    "fc00:8866:27d0:bd7e:",
    "fc00:ddd9:fcae:c61c:",
    "fc00:aa7c:42e1:abd3:",
    "fc00:3131:6ea8:d73a:",
];
/// Where netavark writes the names of each network.
const NAMES: &str = "/run/containers/networks/aardvark-dns";
const ANSWER: Duration = Duration::from_secs(20);

/// Removes all of it that no network and no container of the engine's needs, and returns a sentence on each kind of
/// thing that was there.
///
/// # Errors
/// When the engine does not answer, or something cannot be removed.
pub fn clean(engine: &Engine) -> Result<Vec<String>> {
    if !has_rules(engine) {
        return Ok(Vec::new());
    }
    let mut said = Vec::new();
    let mut ports = remove_forwards(engine)?;
    ports.extend(nft::remove_forwards(engine, || known(engine))?);
    if !ports.is_empty() {
        said.push(format!("freed ports that led to a node that is no more: {}", ports.join(", ")));
    }
    let bridges = remove_bridges(engine)?;
    if !bridges.is_empty() {
        said.push(format!("removed bridges of networks that are no more: {}", bridges.join(", ")));
    }
    remove_names(engine)?;
    said.extend(restore_answers(engine)?);
    Ok(said)
}

/// Restores the rules that let answers of the nodes' ports find back to this machine where the end of another container
/// has taken them away, and returns a sentence on it where there were any.
///
/// # Errors
/// When a rule cannot be restored.
pub fn restore_answers(engine: &Engine) -> Result<Option<String>> {
    if !has_rules(engine) {
        return Ok(None);
    }
    let mut ports = restore_rules()?;
    ports.extend(nft::restore_answers(engine)?);
    let ports: Vec<String> = ports.into_iter().collect();
    let sentence = || format!("restored what the end of another container took from ports: {}", ports.join(", "));
    Ok((!ports.is_empty()).then(sentence))
}

/// Restores those of iptables, and returns the ports.
fn restore_rules() -> Result<BTreeSet<String>> {
    let sh = Shell::new()?;
    let mut ports = BTreeSet::new();
    let Ok(rules) = list_rules(&sh) else { return Ok(ports) };
    for rule in without_answers(&rules) {
        let insert = iptables(&sh).arg("--insert").args(&words(&rule)[1..]);
        let is_missing = |rules: String| without_answers(&rules).contains(&rule);
        match Job::new(insert).deadline(ANSWER).run() {
            Ok(()) => ports.extend(port(&rule).map(|port| port.to_string())),
            // Else whoever had the port has gone in between, and its chain with it.
            Err(error) if list_rules(&sh).is_ok_and(is_missing) => {
                return Err(error).context("restoring a rule of a node's port");
            }
            Err(_) => {}
        }
    }
    Ok(ports)
}

/// Whether the engine's forwards are rules of this machine's iptables or nftables.
fn has_rules(engine: &Engine) -> bool {
    engine.flavor() == Flavor::Podman && !engine.is_remote() && rustix::process::geteuid().is_root()
}

/// Removes the forwards into the network of containers that the engine does not know, and returns their ports.
fn remove_forwards(engine: &Engine) -> Result<Vec<String>> {
    let sh = Shell::new()?;
    // Without the program, or a table of that kind in the kernel, there are no rules.
    let Ok(rules) = list_rules(&sh) else { return Ok(Vec::new()) };
    if !rules.lines().any(|rule| container(rule).is_some()) {
        return Ok(Vec::new());
    }
    // After the rules: a container is known before it has any.
    let known = known(engine)?;
    let stale = stale(&rules, &known);
    for rule in &stale {
        let gone = Job::new(iptables(&sh).arg("--delete").args(&words(rule)[1..])).deadline(ANSWER).run();
        // Another checkout may have been faster.
        let check = || Job::new(iptables(&sh).arg("--check").args(&words(rule)[1..])).deadline(ANSWER).run();
        if gone.is_err() && check().is_ok() {
            gone.context("removing a port forward that leads to a container that is no more")?;
        }
    }
    let ports: BTreeSet<u16> =
        stale.iter().filter(|rule| container(rule).is_some()).filter_map(|rule| port(rule)).collect();
    Ok(ports.iter().map(u16::to_string).collect())
}

/// Removes the bridges with one of kind's subnets that no network has, and returns their names.
fn remove_bridges(engine: &Engine) -> Result<Vec<String>> {
    let sh = Shell::new()?;
    let ask = cmd!(sh, "ip -json address show type bridge");
    let Ok(text) = Job::new(ask).deadline(ANSWER).read() else { return Ok(Vec::new()) };
    let mut bridges = kinds_bridges(&text)?;
    if bridges.is_empty() {
        return Ok(bridges);
    }
    let list = engine.ask(&sh, &["network", "ls", "--quiet"]).read()?;
    let inspect = engine.cmd(&sh).args(["network", "inspect"]).args(list.split_whitespace());
    let networks = Job::new(inspect).deadline(ANSWER).output()?;
    if !networks.success() {
        // One has gone in between: somebody is at work, and the next run will see what is left.
        return Ok(Vec::new());
    }
    let networks: Vec<Value> =
        serde_json::from_str(&networks.stdout).context("reading the engine's list of networks")?;
    bridges.retain(|bridge| networks.iter().all(|network| network["network_interface"] != bridge.as_str()));
    for bridge in &bridges {
        let gone = Job::new(cmd!(sh, "ip link delete dev {bridge}")).deadline(ANSWER).run();
        if gone.is_err() && Utf8Path::new("/sys/class/net").join(bridge).exists() {
            gone.with_context(|| format!("removing the bridge {bridge} of a network that is no more"))?;
        }
    }
    Ok(bridges)
}

/// Removes the names of the network where it is not there.
fn remove_names(engine: &Engine) -> Result<()> {
    let names = Utf8Path::new(NAMES).join(NETWORK);
    let sh = Shell::new()?;
    if !names.exists() || engine.ask(&sh, &["network", "exists", NETWORK]).output()?.success() {
        return Ok(());
    }
    std::fs::remove_file(&names).with_context(|| format!("removing {names}, for there is no such network"))
}

/// The bridges in `ip`'s list that podman named and that have an address in one of kind's subnets. (Docker's have other
/// names, and the same subnets.)
fn kinds_bridges(list: &str) -> Result<Vec<String>> {
    let list: Vec<Value> = serde_json::from_str(list).context("reading the list of bridges that `ip` gave")?;
    let address_of_kind = |address: &Value| {
        address["local"].as_str().is_some_and(|local| SUBNETS.iter().any(|subnet| local.starts_with(subnet)))
    };
    let of_kind = |bridge: &&Value| bridge["addr_info"].as_array().is_some_and(|all| all.iter().any(address_of_kind));
    let names = list.iter().filter(of_kind).filter_map(|bridge| bridge["ifname"].as_str());
    Ok(names.filter(|name| name.starts_with("podman")).map(str::to_owned).collect())
}

/// What is known of the containers of a network.
#[derive(Debug, Default)]
struct Known {
    ids: BTreeSet<String>,
    addresses: BTreeSet<String>,
    /// Whether one comes or goes just now, so that not all addresses are known.
    unsettled: bool,
}

fn iptables(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "iptables --wait 10 --table nat")
}

fn list_rules(sh: &Shell) -> Result<String> {
    Job::new(iptables(sh).arg("--list-rules")).deadline(ANSWER).read()
}

fn known(engine: &Engine) -> Result<Known> {
    let Some(containers) = engine.inspect_all(&[])? else {
        return Ok(Known { unsettled: true, ..Known::default() });
    };
    let mut known = Known::default();
    for container in &containers {
        known.ids.extend(container["Id"].as_str().map(str::to_owned));
        let Some(place) = container["NetworkSettings"]["Networks"].get(NETWORK) else { continue };
        match place["IPAddress"].as_str() {
            Some(address) if !address.is_empty() => {
                known.addresses.insert(address.to_owned());
            }
            _ => known.unsettled |= container["State"]["Status"] != "exited",
        }
    }
    Ok(known)
}

/// The rules that lead to no container: each names one that is not known, or an address that none has in a chain
/// that such a rule leads to.
fn stale<'a>(rules: &'a str, known: &Known) -> Vec<&'a str> {
    if known.unsettled {
        return Vec::new();
    }
    let mut stale: Vec<&str> =
        rules.lines().filter(|rule| container(rule).is_some_and(|id| !known.ids.contains(id))).collect();
    let chains: BTreeSet<&str> = stale.iter().filter_map(|rule| rule.split_whitespace().last()).collect();
    let to_nobody = |rule: &str| {
        let in_chain = rule.split_whitespace().nth(1).is_some_and(|chain| chains.contains(chain));
        let address = after(rule, "--to-destination ").and_then(|to| to.rsplit_once(':')).map(|(address, _)| address);
        in_chain && address.is_some_and(|address| !known.addresses.contains(address))
    };
    let inner: Vec<&str> = rules.lines().filter(|rule| to_nobody(rule)).collect();
    stale.extend(inner);
    stale
}

/// The rules that are missing for ports of this machine's loopback address that lead into kind's network: connections
/// from the machine itself get no answer without.
fn without_answers(rules: &str) -> Vec<String> {
    let of_kind = rules.lines().filter(|rule| container(rule).is_some());
    let chains: BTreeSet<&str> = of_kind.filter_map(|rule| rule.split_whitespace().last()).collect();
    let missing = rules.lines().filter_map(|rule| {
        let (chain, rest) = rule.strip_prefix("-A ")?.split_once(' ')?;
        let (matches, _) = rest.split_once(" -j DNAT ")?;
        let is_local = matches.starts_with("-d 127.") || !matches.contains("-d ");
        let marking = format!("-A {chain} -s 127.0.0.1/32 {matches} -j {MARK}");
        (chains.contains(chain) && is_local && !rules.lines().any(|rule| rule == marking)).then_some(marking)
    });
    missing.collect::<BTreeSet<String>>().into_iter().collect()
}

/// The container that a rule of the ports' chain names, where it is one of kind's network.
fn container(rule: &str) -> Option<&str> {
    let comment = rule.strip_prefix("-A ")?.strip_prefix(PORTS)?.split('"').nth(1)?;
    comment.strip_prefix(&format!("dnat name: {NETWORK} id: "))
}

fn port(rule: &str) -> Option<u16> {
    after(rule, "--dport ")?.parse().ok()
}

/// The word that follows `option`.
fn after<'a>(rule: &'a str, option: &str) -> Option<&'a str> {
    rule.split_once(option)?.1.split_whitespace().next()
}

/// The words of a rule as iptables lists it: quotes stand around what has white space.
fn words(rule: &str) -> Vec<String> {
    let parts = rule.split('"').enumerate();
    parts
        .flat_map(|(number, part)| match number % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"-P PREROUTING ACCEPT
-N NETAVARK-DN-1
-A PREROUTING -m addrtype --dst-type LOCAL -j NETAVARK-HOSTPORT-DNAT
-A NETAVARK-DN-1 -s 10.89.0.0/24 -d 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j NETAVARK-HOSTPORT-SETMARK
-A NETAVARK-DN-1 -d 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.89.0.10:30080
-A NETAVARK-DN-1 -d 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.89.1.6:30080
-A NETAVARK-DN-2 -d 127.0.0.1/32 -p tcp -m tcp --dport 8443 -j DNAT --to-destination 10.88.0.3:443
-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 8080 -m comment --comment "dnat name: kind id: dead" -j NETAVARK-DN-1
-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 8080 -m comment --comment "dnat name: kind id: live" -j NETAVARK-DN-1
-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 8443 -m comment --comment "dnat name: kind2 id: dead2" -j NETAVARK-DN-2"#;

    fn known(ids: &[&str], addresses: &[&str]) -> Known {
        let set = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Known { ids: set(ids), addresses: set(addresses), unsettled: false }
    }

    #[test]
    fn only_what_leads_to_a_container_that_is_no_more_is_stale() {
        let all: Vec<&str> = RULES.lines().collect();
        assert_eq!(stale(RULES, &known(&["live"], &["10.89.1.6"])), [all[7], all[4]]);
        assert_eq!(stale(RULES, &known(&[], &[])), [all[7], all[8], all[4], all[5]]);
        assert!(stale(RULES, &known(&["live", "dead"], &["10.89.1.6"])).is_empty(), "a stopped one keeps its own");
        let unsettled = Known { unsettled: true, ..known(&["live"], &[]) };
        assert!(stale(RULES, &unsettled).is_empty(), "an address that is not known yet may be a live one's");
    }

    #[test]
    fn a_port_whose_answers_do_not_find_back_lacks_a_rule() {
        let marking =
            "-A NETAVARK-DN-1 -s 127.0.0.1/32 -d 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j NETAVARK-HOSTPORT-SETMARK";
        assert_eq!(without_answers(RULES), [marking], "kind's alone, and once for both that have had the port");
        assert!(without_answers(&format!("{RULES}\n{marking}")).is_empty());
        let everywhere = RULES.replace("-d 127.0.0.1/32 ", "");
        assert_eq!(without_answers(&everywhere), [marking.replace("-d 127.0.0.1/32 ", "")]);
        let elsewhere = RULES.replace("-d 127.0.0.1/32 ", "-d 192.0.2.7/32 ");
        assert!(without_answers(&elsewhere).is_empty(), "an address that others ask for answers by itself");
    }

    #[test]
    fn a_rule_is_deleted_by_the_words_that_it_was_listed_with() {
        let rule = RULES.lines().nth(7).unwrap();
        assert_eq!(port(rule), Some(8080));
        let words = words(rule);
        assert_eq!(words[..2], ["-A", PORTS]);
        assert_eq!(words[10..], ["--comment", "dnat name: kind id: dead", "-j", "NETAVARK-DN-1"]);
    }

    #[test]
    fn only_bridges_of_podman_with_a_subnet_of_kinds_are_looked_at() {
        let list = r#"[{},{"ifname":"podman0","addr_info":[{"local":"10.88.0.1"}]},
            {"ifname":"podman3","addr_info":[{"local":"10.89.2.1"},{"local":"fc00:ddd9:fcae:c61c::1"}]},
            {"ifname":"br-1","addr_info":[{"local":"fc00:f853:ccd:e793::1"}]},
            {"ifname":"podman4","addr_info":[{"local":"fc00:1:2:3::1"}]}]"#;
        assert_eq!(kinds_bridges(list).unwrap(), ["podman3"]);
    }
}
