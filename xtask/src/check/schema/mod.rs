//! Objects that are not of the form that their kind has: fields that it does not know, values of another type, fields
//! that are missing, kinds that no API server has, and what it refuses all the same.

mod custom;
mod refused;
mod scalar;
mod types;

use serde_yaml::Value;

pub(super) use self::scalar::quantity;
use self::types::{Field, Shape, Type};
use super::subject::Subject;
use crate::kubernetes::{self, has_group, kinds, minor, minor_of};
use crate::plan::Object;
use crate::suite::yaml::{Problem, Segment, Source, did_you_mean};

/// So many names at most are listed where no other is near.
const LISTED: usize = 12;

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let is_older = is_older(subject.catalog.versions.get("kubernetes").map(String::as_str));
    let mut problems = Vec::new();
    for &object in subject.objects {
        // Of a part of a project what is not rendered may be changed before it is applied.
        if subject.elsewhere.is_none() {
            problems.extend(refused::check(subject, object));
        }
        let kind = kubernetes::kind(&object.api_version, &object.reference.kind);
        let of = match kind {
            Some(kind) => Some(Type::Known(kind.of)),
            None => match custom::of(subject.objects, object) {
                Ok(of) => of,
                Err(problem) => {
                    problems.push(problem(object, subject.source(object)));
                    continue;
                }
            },
        };
        if let Some(of) = of {
            let source = subject.source(object);
            problems
                .extend(Walk { is_older, ..Walk::new(object, source, subject.elsewhere.is_some()) }.whole_object(of));
        } else if has_group(object.api_group()) && !is_older && subject.elsewhere.is_none() {
            problems.push(no_kind(object, subject.source(object)));
        }
    }
    problems
}

/// What is wrong with a text that is no object of an API server, and has a type of this name all the same; where it
/// `is_part` of something, nothing is missing from it.
pub(super) fn form(object: &Object, source: &Source, of: &'static str, is_part: bool) -> Vec<Problem> {
    Walk::new(object, source, is_part).whole_object(Type::Known(of))
}

/// Whether what is carried along is older than the cluster's Kubernetes, which may have more.
fn is_older(version: Option<&str>) -> bool {
    version.and_then(minor_of) > minor()
}

/// A kind that Kubernetes has not, in a group that it has.
fn no_kind(object: &Object, source: &Source) -> Problem {
    let name = object.reference.kind.as_str();
    let others = || kinds().iter().filter(|kind| kind.name == name);
    let message = format!("{}: Kubernetes has no kind {name} in {}", object.reference, object.api_version);
    if let Some(other) = others().find(|kind| kind.group() == object.api_group()).or_else(|| others().next()) {
        let hint = Some(format!("write `apiVersion: {}`", other.api_version));
        let problem = object.problem(source, &["apiVersion"], message).hint(hint);
        return problem.replace(&object.api_version, other.api_version);
    }
    let here = kinds().iter().filter(|kind| kind.api_version == object.api_version).map(|kind| kind.name);
    object.problem(source, &["kind"], message).meant(name, here)
}

struct Walk<'a> {
    object: &'a Object,
    source: &'a Source,
    /// Whether fields may be missing from what is carried along.
    is_older: bool,
    /// Whether the object may be a part of one: a patch.
    is_part: bool,
    /// The fields of the objects that the walk is in: where they are, and their names.
    above: Vec<(String, Vec<String>)>,
    found: Vec<Problem>,
}

impl<'a> Walk<'a> {
    fn new(object: &'a Object, source: &'a Source, is_part: bool) -> Walk<'a> {
        Walk { object, source, is_older: false, is_part, above: Vec::new(), found: Vec::new() }
    }

    /// Everything that is wrong with the object.
    fn whole_object(mut self, of: Type<'_>) -> Vec<Problem> {
        let object = self.object;
        self.value(&object.value, of, &mut Vec::new());
        self.found
    }

    fn value(&mut self, value: &Value, of: Type<'_>, path: &mut Vec<Segment>) {
        // A field without a value counts as not written.
        if value.is_null() {
            return;
        }
        let of = of.for_value(value);
        match (of.shape(), value) {
            (Shape::Any, _) => {}
            (Shape::Object { fields, is_open }, Value::Mapping(_)) => self.object(value, &fields, is_open, path),
            (Shape::Map(items), Value::Mapping(map)) => {
                for (key, value) in map {
                    let Some(key) = scalar::key(key) else { continue };
                    path.push(Segment::from(key.as_str()));
                    self.value(value, items, path);
                    path.pop();
                }
            }
            (Shape::List(items), Value::Sequence(list)) => {
                for (at, value) in list.iter().enumerate() {
                    path.push(Segment::from(at));
                    self.value(value, items, path);
                    path.pop();
                }
            }
            (shape, value) => {
                let is_plain = || self.is_plain(path);
                if let Err(wrong) = scalar::check(value, &shape, of.bounds(), is_plain) {
                    let message = format!("{} {}", self.place(path), wrong.message);
                    let at = self.whole(path);
                    let mut problem = self.source.problem_in(self.object.document, &at, message).hint(wrong.hint);
                    problem.fix = wrong.fix;
                    self.found.push(problem);
                }
            }
        }
    }

    fn object(&mut self, value: &Value, fields: &[Field<'_>], is_open: bool, path: &mut Vec<Segment>) {
        for field in fields.iter().filter(|field| field.is_required && !self.is_part) {
            if value.get(field.name).is_none_or(Value::is_null) {
                let message = format!("{} lacks the field `{}`", self.place(path), field.name);
                let at = self.whole(path);
                self.found.push(self.source.problem_in(self.object.document, &at, message));
            }
        }
        let names: Vec<String> = fields.iter().map(|field| field.name.to_owned()).collect();
        self.above.push((text(path), names));
        for (key, below) in value.as_mapping().into_iter().flatten() {
            let Some(key) = scalar::key(key) else { continue };
            path.push(Segment::from(key.as_str()));
            match fields.iter().find(|field| field.name == key) {
                Some(field) => self.value(below, field.of, path),
                None if is_open || self.is_older => {}
                None => self.unknown(&key, fields, path),
            }
            path.pop();
        }
        self.above.pop();
    }

    fn unknown(&mut self, key: &str, fields: &[Field<'_>], path: &[Segment]) {
        let names = || fields.iter().map(|field| field.name);
        let above = || self.above.iter().rev().skip(1).find(|(_, names)| names.iter().any(|name| name == key));
        let below = || {
            let has = |of: Type<'_>| match of.shape() {
                Shape::Object { fields, .. } => fields.iter().any(|field| field.name == key),
                _ => false,
            };
            fields.iter().find_map(|field| match field.of.shape() {
                Shape::List(items) => has(items).then(|| format!("{}[]", field.name)),
                _ => has(field.of).then(|| field.name.to_owned()),
            })
        };
        let of = |place: &str| if place.is_empty() { "the object itself".to_owned() } else { format!("`{place}`") };
        let parent = text(&path[..path.len() - 1]);
        let hint = above()
            .map(|(place, _)| format!("it is a field of {}", of(place)))
            .or_else(|| did_you_mean(key, names()))
            .or_else(|| {
                let field = below()?;
                let place = if parent.is_empty() { field } else { format!("{parent}.{field}") };
                Some(format!("it is a field of `{place}`"))
            })
            .or_else(|| {
                let names: Vec<&str> = names().collect();
                (!names.is_empty() && names.len() <= LISTED).then(|| format!("there are: {}", names.join(", ")))
            });
        let message = format!("{} has no field `{key}`", self.place(&path[..path.len() - 1]));
        let at = self.whole(path);
        let problem = self.source.key_problem_in(self.object.document, &at, message);
        // What is a field elsewhere is no slip.
        let problem = if above().is_none() { problem.meant(key, names()) } else { problem };
        self.found.push(problem.hint(hint));
    }

    /// `spec.replicas of Deployment n/shop`.
    fn place(&self, path: &[Segment]) -> String {
        if path.is_empty() {
            self.object.reference.to_string()
        } else {
            format!("`{}` of {}", text(path), self.object.reference)
        }
    }

    /// The way from the document's root.
    fn whole(&self, path: &[Segment]) -> Vec<Segment> {
        self.object.item.iter().chain(path).cloned().collect()
    }

    /// Whether a text is written without quotes.
    fn is_plain(&self, path: &[Segment]) -> bool {
        if self.object.is_rendered {
            return false;
        }
        let problem = self.source.problem_in(self.object.document, &self.whole(path), "");
        let line = self.source.text.lines().nth(problem.line.saturating_sub(1)).unwrap_or_default();
        line.chars().nth(problem.column.saturating_sub(1)).is_some_and(|first| first.is_alphanumeric())
    }
}

/// `spec.containers[0].name`.
fn text(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Index(at) => text.push_str(&format!("[{at}]")),
            Segment::Key(key) if text.is_empty() => text.push_str(key),
            Segment::Key(key) => text.push_str(&format!(".{key}")),
        }
    }
    text
}
