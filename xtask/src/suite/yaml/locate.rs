//! Where a node of a YAML document stands in its text.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_yaml::Location;

/// One step of the way from a document's root to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// The value of this key of a mapping.
    Key(String),
    /// The element of a sequence with this position, from 0.
    Index(usize),
}

impl From<&str> for Segment {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Segment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// `at!["images", 0, "name"]`: a way into a document.
#[macro_export]
macro_rules! at {
    ($($segment:expr),* $(,)?) => { [$($crate::suite::yaml::Segment::from($segment)),*] };
}

/// The text of one document, and how many lines stand before it; none where the text has what makes documents hard to
/// tell apart (directives, ends), or too few of them.
pub(super) fn document_of(text: &str, document: usize) -> Option<(usize, &str)> {
    let mut starts = vec![(0, 0)];
    let mut has_first = false;
    let mut offset = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.starts_with('%') || line.starts_with("...") {
            return None;
        }
        if line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            starts.push((number, offset));
        } else if starts.len() == 1 {
            let line = line.trim_start();
            has_first |= !line.is_empty() && !line.starts_with('#');
        }
        offset += line.len();
    }
    // What has nothing but comments before the first marker is no document.
    if !has_first && starts.len() > 1 {
        starts.remove(0);
    }
    let (line, begin) = *starts.get(document)?;
    let end = starts.get(document + 1).map_or(text.len(), |(_, end)| *end);
    Some((line, &text[begin..end]))
}

/// Where the node at `path` of the `document`-th document of `text` begins; none where there is no such node.
///
/// The parser tells positions only with its errors: so this walks to the node and refuses it.
pub fn locate(text: &str, document: usize, path: &[Segment]) -> Option<Location> {
    seek(text, document, Seek(path, Part::Value))
}

pub(super) fn seek(text: &str, document: usize, seek: Seek<'_>) -> Option<Location> {
    let mut documents = serde_yaml::Deserializer::from_str(text);
    for _ in 0..document {
        // The parser panics when it goes on behind a document that is none.
        IgnoredAny::deserialize(documents.next()?).ok()?;
    }
    let document = documents.next()?;
    seek.deserialize(document).err()?.location()
}

/// Which part of a mapping's entry is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

#[derive(Clone, Copy)]
pub(super) struct Seek<'p>(pub(super) &'p [Segment], pub(super) Part);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.0.is_empty() { deserializer.deserialize_any(Refuse) } else { deserializer.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping or a sequence on the way")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(SeekKey(self))? {
            match self.0 {
                [Segment::Key(wanted), rest @ ..] if key.as_deref() == Some(wanted) => {
                    map.next_value_seed(Seek(rest, self.1))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let mut index = 0;
        loop {
            let found = match self.0 {
                [Segment::Index(wanted), rest @ ..] if index == *wanted => {
                    sequence.next_element_seed(Seek(rest, self.1))?.is_some()
                }
                _ => sequence.next_element::<IgnoredAny>()?.is_some(),
            };
            if !found {
                return Ok(());
            }
            index += 1;
        }
    }
}

/// A key as a text, where it is one; refuses the one that is looked for.
struct SeekKey<'p>(Seek<'p>);

impl<'de> DeserializeSeed<'de> for SeekKey<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        match self.0 {
            Seek([Segment::Key(_)], Part::Key) => deserializer.deserialize_any(self),
            _ => Ok(serde_yaml::Value::deserialize(deserializer)?.as_str().map(str::to_owned)),
        }
    }
}

impl<'de> Visitor<'de> for SeekKey<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Option<String>, E> {
        match self.0.0 {
            [Segment::Key(wanted)] if wanted == key => Err(E::custom("found")),
            _ => Ok(Some(key.to_owned())),
        }
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Option<String>, E> {
        Ok(None)
    }
}

/// Takes no value at all: the error carries the position.
struct Refuse;

impl Visitor<'_> for Refuse {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}
