//! Values as kubectl reads them: by YAML 1.1, where a word without quotes may be a number (`0440`) or a truth value
//! (`yes`).

use serde_yaml::Value;

use crate::plan::Object;
use crate::suite::yaml::{Segment, Source};

/// Gives `object`, which stands in `source`, the values that kubectl reads there.
pub(super) fn as_kubectl_reads(object: &mut Object, source: &Source) {
    let mut found = Vec::new();
    look(&object.value, &mut Vec::new(), &mut found);
    for (path, new) in found {
        let whole: Vec<Segment> = object.item.iter().chain(&path).cloned().collect();
        let place = source.problem_in(object.document, &whole, "");
        let line = source.text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
        let is_plain = line.chars().nth(place.column.saturating_sub(1)).is_some_and(char::is_alphanumeric);
        if is_plain && let Some(value) = at(&mut object.value, &path) {
            *value = new;
        }
    }
}

/// Finds texts that are something else where they stand without quotes.
fn look(value: &Value, path: &mut Vec<Segment>, found: &mut Vec<(Vec<Segment>, Value)>) {
    match value {
        Value::String(text) => {
            if let Some(new) = of_old(text) {
                found.push((path.clone(), new));
            }
        }
        Value::Sequence(items) => {
            for (at, item) in items.iter().enumerate() {
                path.push(at.into());
                look(item, path, found);
                path.pop();
            }
        }
        Value::Mapping(map) => {
            for (key, value) in map {
                let Some(key) = key.as_str() else { continue };
                path.push(key.into());
                look(value, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

/// What YAML 1.1 takes a plain word for that is a text since.
fn of_old(text: &str) -> Option<Value> {
    let octal = text.strip_prefix('0').filter(|digits| !digits.is_empty());
    if let Some(number) = octal.and_then(|digits| i64::from_str_radix(digits, 8).ok()) {
        return Some(number.into());
    }
    match text {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true.into()),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false.into()),
        _ => None,
    }
}

fn at<'v>(value: &'v mut Value, path: &[Segment]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Key(key) => value.get_mut(key.as_str()),
        Segment::Index(index) => value.get_mut(*index),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::object::parse;

    #[test]
    fn words_without_quotes_are_what_kubectl_takes_them_for() {
        let text = "\
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Pod
    metadata: {name: one, labels: {a: '0440', b: \"yes\"}}
    spec:
      hostNetwork: yes
      volumes: [{secret: {defaultMode: 0440, items: [{mode: 0400}]}}, {name: '010'}]
      other: |
        0777
";
        let source = Source::new("m.yaml", text);
        let mut object = parse(&source).unwrap().remove(0);
        as_kubectl_reads(&mut object, &source);
        let json = serde_json::to_value(&object.value).unwrap();
        assert_eq!(json["metadata"]["labels"], serde_json::json!({"a": "0440", "b": "yes"}));
        assert_eq!(json["spec"]["hostNetwork"], true);
        assert_eq!(json["spec"]["volumes"][0]["secret"]["defaultMode"], 0o440);
        assert_eq!(json["spec"]["volumes"][0]["secret"]["items"][0]["mode"], 0o400);
        assert_eq!((&json["spec"]["volumes"][1]["name"], &json["spec"]["other"]), (&"010".into(), &"0777\n".into()));
    }
}
