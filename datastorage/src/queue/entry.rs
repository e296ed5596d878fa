//! An entry of the queue, as it comes from Redis.

use crate::event::AuditEvent;

/// How entries are written. A version that adds to what they hold writes a higher number, and earlier ones leave its
/// entries to it.
const FORMAT: u32 = 1;

/// The id of an entry, and its fields and values in turn; none if it was deleted meanwhile.
pub(super) type Entry = (String, Option<Vec<Vec<u8>>>);

/// What an entry holds.
pub(super) enum Held {
    Event {
        event: Box<AuditEvent>,
        bytes: usize,
    },
    /// Nobody can read it; why not.
    Unreadable(String),
    /// It was queued by a version that knows more than this one.
    Newer,
}

impl Held {
    /// What it takes, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Held::Event { bytes, .. } => *bytes,
            Held::Unreadable(reason) => reason.len(),
            Held::Newer => 0,
        }
    }
}

pub(super) fn read(fields: &[Vec<u8>]) -> Held {
    let field = |name: &[u8]| fields.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| &pair[1]);
    let format = field(b"format").map(|text| std::str::from_utf8(text).ok().and_then(|text| text.parse::<u32>().ok()));
    if format.flatten().is_some_and(|format| format > FORMAT) {
        return Held::Newer;
    }
    let Some(json) = field(b"event") else { return Held::Unreadable("the entry has no field `event`".to_owned()) };
    let mut has_more = false;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let event = serde_ignored::deserialize(&mut reader, |_| has_more = true);
    match event.and_then(|event| reader.end().map(|()| event)) {
        // What it adds must not be lost.
        Ok(_) if has_more => Held::Newer,
        Ok(event) => Held::Event { event: Box::new(event), bytes: json.len() },
        Err(error) => Held::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use testbed::fuzz;

    use super::*;

    const EVENT: &str = r#"{"event_id": "0193a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "version": "1", "event_type": "a.b",
        "event_timestamp": "2025-12-01T10:00:00Z", "event_category": "gateway", "event_action": "a",
        "event_outcome": "success", "correlation_id": "rr-1", "event_data": {"any": {"thing": 1}}}"#;

    fn read_text(fields: &[&str]) -> Held {
        read(&fields.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn an_entry_of_a_newer_version_is_told_from_one_that_is_broken() {
        let added = EVENT.replace("\"version\"", "\"tenant\": \"a\", \"version\"");
        let newer = |fields: &[&str]| matches!(read_text(fields), Held::Newer);
        assert!(newer(&["event", &added]), "a field that is not known");
        assert!(newer(&["format", "2", "event", "<xml/>"]), "another form altogether");
        let Held::Event { event, .. } = read_text(&["format", "1", "event", EVENT]) else { panic!("it is readable") };
        assert_eq!(event.event_data.get(), r#"{"any": {"thing": 1}}"#, "what is inside event_data is the client's");
        for broken in ["", "{", "{}", "[]", &EVENT.replace("10:00", "soon"), &format!("{EVENT} {EVENT}")] {
            assert!(matches!(read_text(&["event", broken]), Held::Unreadable(_)), "{broken}");
        }
        assert!(matches!(read_text(&["other", EVENT]), Held::Unreadable(_)));
    }
    /// What is written of what was read, read again.
    fn again(event: &AuditEvent) -> String {
        let written = serde_json::to_string(event).unwrap();
        let Held::Event { event, .. } = read_text(&["format", "1", "event", &written]) else { panic!("{written}") };
        assert_eq!(serde_json::to_string(&event).unwrap(), written);
        written
    }

    #[test]
    fn whatever_was_accepted_is_read_from_the_queue_as_it_was() {
        let now = "2025-12-01T12:00:00Z".parse().unwrap();
        fuzz::run("queued events", 2_000, &[EVENT], |body| {
            if let Ok(event) = crate::event::parse(body, now) {
                again(&event);
            }
        });
    }

    #[test]
    fn whatever_becomes_of_an_entry_it_is_read_or_told_apart() {
        let whole = EVENT.replace("\"version\"", "\"duration_ms\": 5, \"severity\": null, \"version\"");
        fuzz::run("queue entries", 2_000, &[EVENT, &whole], |json| {
            match read(&[b"event".to_vec(), json.to_vec()]) {
                Held::Event { event, bytes } => {
                    assert_eq!(bytes, json.len());
                    again(&event);
                }
                Held::Unreadable(reason) => assert!(!reason.is_empty()),
                Held::Newer => {}
            }
            assert!(!matches!(read(&[json.to_vec()]), Held::Event { .. }), "a field without a value");
            read(&[b"format".to_vec(), json.to_vec(), b"event".to_vec(), EVENT.into()]);
        });
    }
}
