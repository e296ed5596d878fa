//! Where pieces are published, and whether they can be had there.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use e2e_support::{Cancel, Ended, Job};
use xshell::{Shell, cmd};

use super::catalog::Piece;
use super::fetch::{CURL, ended, exact, has_curl, is_about_digests, said};
use super::make::Workshop;
use super::wheel;

/// How long a question whether something is to be had may take.
const PROBE: Duration = Duration::from_secs(12);
/// How curl ends when a server has answered, but not with what was asked for.
const CURL_HTTP_ERROR: i32 = 22;

/// What is known of where pieces are published. Each place is asked once in a set-up: a site as a whole, a registry for
/// each image by itself, since a company's may have some of them and others not.
#[derive(Debug, Default)]
pub struct Places {
    /// Why a piece cannot be had there after all, by its name.
    failed: BTreeMap<String, String>,
    /// What was said of each image by the engine, and by each host without it: nothing, or why nothing can be had there.
    said: BTreeMap<(bool, String), Option<String>>,
}

impl Places {
    /// Remembers that fetching the piece failed.
    pub fn note_failure(&mut self, piece: &str, why: String) {
        self.failed.insert(piece.to_owned(), why);
    }

    /// Asks all the places of `pieces` that are not known yet, at the same time.
    pub fn ask(&mut self, workshop: &Workshop, pieces: &[&Piece], cancel: &Cancel) -> Result<()> {
        let mut new = BTreeMap::new();
        for piece in pieces {
            if let Some(place) = Place::of(workshop, piece)?.filter(|place| place.can_be_asked(workshop)) {
                let key = place.key(workshop);
                if !self.said.contains_key(&key) {
                    new.entry(key).or_insert(place);
                }
            }
        }
        let said = std::thread::scope(|scope| {
            let asking: Vec<_> =
                new.into_iter().map(|(key, place)| (key, scope.spawn(move || place.probe(workshop, cancel)))).collect();
            asking
                .into_iter()
                .map(|(key, thread)| (key, thread.join().unwrap_or_else(|_| Some("asking it failed".into()))))
                .collect::<Vec<_>>()
        });
        self.said.extend(said);
        Ok(())
    }

    /// Whether the piece can be fetched; else why not. Its place was asked.
    pub fn fetchable(&self, workshop: &Workshop, piece: &Piece) -> Result<Result<(), String>> {
        if let Some(why) = self.failed.get(&piece.name) {
            return Ok(Err(why.clone()));
        }
        let Some(place) = Place::of(workshop, piece)? else {
            let machine = format!("{} {}", workshop.host.os, workshop.host.arch);
            return Ok(Err(match &piece.download {
                Some(_) => format!("no checksum of it is known for {machine}"),
                None => "it is published nowhere".into(),
            }));
        };
        Ok(match self.said.get(&place.key(workshop)) {
            Some(Some(why)) => Err(format!("{} does not give it: {why}", place.host())),
            _ => Ok(()),
        })
    }
}

/// Where a piece is published.
enum Place {
    Registry {
        host: String,
        exact: String,
    },
    Site {
        host: String,
        url: String,
        /// Whether pip gets it, by ways that curl does not know.
        by_pip: bool,
    },
}

impl Place {
    fn of(workshop: &Workshop, piece: &Piece) -> Result<Option<Place>> {
        let host_of = |text: &str| text.split('/').next().unwrap_or_default().to_owned();
        // By convention, images that are published nowhere.
        if let Some(reference) = piece.replaces.as_ref().filter(|reference| !reference.starts_with("localhost/")) {
            return Ok(Some(Place::Registry { host: host_of(reference), exact: exact(piece, reference)? }));
        }
        let source = workshop.source(piece)?;
        Ok(source.map(|source| {
            let rest = source.url.split_once("://").map_or(source.url.as_str(), |(_, rest)| rest);
            Place::Site { host: host_of(rest), by_pip: wheel::pip_has(&source), url: source.url.clone() }
        }))
    }

    fn host(&self) -> &str {
        match self {
            Place::Registry { host, .. } | Place::Site { host, .. } => host,
        }
    }

    /// Whether there is something to ask it with. What cannot be asked may give all it has.
    fn can_be_asked(&self, workshop: &Workshop) -> bool {
        match self {
            Place::Site { by_pip: true, .. } => false,
            Place::Site { .. } => has_curl(),
            Place::Registry { .. } => has_curl() || workshop.engine.is_some(),
        }
    }

    /// A registry is asked again once there is an engine.
    fn key(&self, workshop: &Workshop) -> (bool, String) {
        match self {
            Place::Registry { exact, .. } if workshop.engine.is_some() => (true, exact.clone()),
            Place::Registry { host, .. } | Place::Site { host, .. } => (false, host.clone()),
        }
    }

    /// Why nothing can be had there; nothing where it can.
    fn probe(&self, workshop: &Workshop, cancel: &Cancel) -> Option<String> {
        let url = match (self, &workshop.engine) {
            // The engine may go by mirrors and proxies that nobody else knows of.
            (Place::Registry { exact, .. }, Some(engine)) => {
                let refused = engine.offers(exact, PROBE, cancel).err().map(|error| said(&error));
                // Something else in the image's place: no reason to build it, but for the pull to end the set-up.
                return refused.filter(|word| !is_about_digests(word));
            }
            // Docker Hub's registry has another name than its references.
            (Place::Registry { host, .. }, None) if host == "docker.io" => "https://registry-1.docker.io/v2/".into(),
            (Place::Registry { host, .. }, None) => format!("https://{host}/v2/"),
            (Place::Site { url, .. }, _) => url.clone(),
        };
        let ask = || -> Result<()> {
            let sh = Shell::new()?;
            let head = cmd!(sh, "curl").args(CURL).args(["--head", "--output", "/dev/null", &url]);
            Job::new(head).deadline(PROBE).cancel(cancel).run()
        };
        match ask() {
            // It answers; what else it has to say it may say of the file itself.
            Err(error) if ended(&error) == Some(Ended::Exited(CURL_HTTP_ERROR)) => None,
            asked => asked.err().map(|error| said(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::fetch::tests::{site, workshop};
    use super::*;

    #[test]
    fn a_site_that_takes_no_connection_is_known_to_before_anything_is_planned() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tool", listener.local_addr().unwrap());
        drop(listener);
        let (_dir, silent) = workshop(&url);
        let piece = silent.catalog.piece("tool").unwrap();
        let mut places = Places::default();
        places.ask(&silent, &[piece], &Cancel::new()).unwrap();
        let why = places.fetchable(&silent, piece).unwrap().unwrap_err();
        assert!(why.contains("127.0.0.1") && why.contains("curl: (7)"), "{why}");

        let (_dir, workshop) = workshop(&site(Some("HTTP/1.1 403 No\r\nConnection: close\r\n\r\n")));
        let piece = workshop.catalog.piece("tool").unwrap();
        let mut places = Places::default();
        places.ask(&workshop, &[piece], &Cancel::new()).unwrap();
        assert_eq!(places.fetchable(&workshop, piece).unwrap(), Ok(()), "it answers: the file itself may be there");
        places.note_failure("tool", "it was not".into());
        assert_eq!(places.fetchable(&workshop, piece).unwrap(), Err("it was not".to_owned()));
    }
}
