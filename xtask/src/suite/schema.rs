//! `schema.json`: made of the types, and the same as they are.
//!
//! ```console
//! $ UPDATE=1 cargo test --package xtask --lib suite::schema
//! ```

use camino::Utf8Path;
use serde_json::Value;

use super::{SCHEMA, SUITES, Suite};

#[test]
fn it_says_what_the_types_say() {
    let schema = schemars::generate::SchemaSettings::draft07().into_generator().into_root_schema_for::<Suite>();
    let text = format!("{:#}\n", serde_json::to_value(schema).unwrap());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/suite/schema.json"), &text).unwrap();
    } else {
        assert!(SCHEMA == text, "the types have changed: UPDATE=1 writes it anew");
    }
}

#[test]
fn every_key_is_explained_and_no_other_is_allowed() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let types = schema["definitions"].as_object().unwrap().values().chain([&schema]);
    // A choice among words has no keys.
    for one in types.filter(|one| one["oneOf"].is_null()) {
        assert_eq!(one["additionalProperties"], false, "{one}");
        for (key, property) in one["properties"].as_object().unwrap() {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 5), "{key}: {property}");
        }
    }
    let required = |value: &Value| value["required"].as_array().map_or(0, Vec::len);
    assert_eq!((required(&schema), required(&schema["definitions"]["Image"])), (3, 4));
}

#[test]
fn the_suites_name_it() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for name in Suite::names(root) {
        let file = root.join(SUITES).join(format!("{name}.yaml"));
        let text = std::fs::read_to_string(&file).unwrap();
        let named = text.lines().find_map(|line| line.strip_prefix("# yaml-language-server: $schema="));
        let named = file.parent().unwrap().join(named.unwrap_or_else(|| panic!("{file} names no schema")));
        assert_eq!(std::fs::read_to_string(&named).unwrap(), SCHEMA, "{named}");
    }
}
