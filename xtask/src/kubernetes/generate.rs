//! Writes `kinds.txt` from the sources of Kubernetes: what the API server publishes, and from the code that it is
//! generated with the values that texts may have, which are not published.
//!
//! ```console
//! $ dir=$(go mod download -json k8s.io/kubernetes@v1.37.0 | jq -r .Dir)
//! $ KUBERNETES=$dir cargo test --package xtask --lib kubernetes::generate -- --ignored
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::TEXT;

/// Ways to the definitions of one package, and what they become.
const PACKAGES: [(&str, &str); 4] = [
    ("io.k8s.api.", ""),
    ("io.k8s.apimachinery.pkg.apis.", ""),
    ("io.k8s.apiextensions-apiserver.pkg.apis.", ""),
    ("io.k8s.kube-aggregator.pkg.apis.", ""),
];

/// The kinds' names, by their group and version as one text.
type Kinds = BTreeMap<(String, String), (String, bool)>;

fn short(name: &str) -> String {
    let name = name.trim_start_matches("#/definitions/");
    let found = PACKAGES.iter().find_map(|(long, short)| Some(format!("{short}{}", name.strip_prefix(long)?)));
    found.unwrap_or_else(|| name.to_owned())
}

/// The group, as it stands in `apiVersion`, with its version.
fn api_version(kind: &Value) -> String {
    let text = |key: &str| kind[key].as_str().unwrap_or_default();
    if text("group").is_empty() { text("version").into() } else { format!("{}/{}", text("group"), text("version")) }
}

/// The kinds that can be created: their plural, and whether they lie in namespaces.
fn kinds(swagger: &Value) -> Kinds {
    let mut kinds = Kinds::new();
    for (path, methods) in swagger["paths"].as_object().unwrap() {
        let Some(kind) = methods["post"].get("x-kubernetes-group-version-kind") else { continue };
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let parts = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
        let (plural, is_namespaced) = match parts {
            [plural] => (plural, false),
            ["namespaces", "{namespace}", plural] => (plural, true),
            _ => continue,
        };
        let key = (api_version(kind), kind["kind"].as_str().unwrap().to_owned());
        kinds.insert(key, ((*plural).to_owned(), is_namespaced));
    }
    kinds
}

/// The values that a field may have, by the type's name without its package's beginning, and the field's.
fn values(code: &str) -> BTreeMap<(String, String), String> {
    let (mut of, mut field) = (String::new(), String::new());
    let mut found = BTreeMap::new();
    for line in code.lines() {
        if let Some(function) = line.strip_prefix("func schema_") {
            of = function.split('(').next().unwrap().to_owned();
        } else if let Some(name) = line.strip_prefix("\t\t\t\t\t\"").and_then(|line| line.strip_suffix("\": {")) {
            field = name.to_owned();
        } else if let Some(list) = line.trim_start().strip_prefix("Enum:") {
            let values: Vec<&str> = list.split('"').skip(1).step_by(2).filter(|value| !value.is_empty()).collect();
            // A type is one word.
            if !values.iter().any(|value| value.contains(' ')) {
                found.insert((of.clone(), field.clone()), values.join("|"));
            }
        }
    }
    found
}

/// As [`super`] reads it.
fn type_of(value: &Value, values: Option<&String>) -> String {
    if let Some(name) = value.get("$ref").and_then(Value::as_str) {
        return match name.rsplit('.').next().unwrap() {
            "Quantity" => "quantity".into(),
            "IntOrString" => "int-or-string".into(),
            "Time" | "MicroTime" => "time".into(),
            "RawExtension"
            | "FieldsV1"
            | "JSON"
            | "JSONSchemaPropsOrArray"
            | "JSONSchemaPropsOrBool"
            | "JSONSchemaPropsOrStringArray" => "any".into(),
            _ => short(name),
        };
    }
    match (value["type"].as_str(), value["format"].as_str()) {
        (Some("array"), _) => format!("[]{}", type_of(&value["items"], values)),
        (Some("object"), _) if value.get("additionalProperties").is_some() => {
            format!("{{}}{}", type_of(&value["additionalProperties"], values))
        }
        (Some("string"), Some("byte")) => "base64".into(),
        (Some("string"), _) => values.map_or_else(|| "string".into(), |values| format!("string={values}")),
        (Some("integer"), _) => "int".into(),
        (Some("boolean"), _) => "bool".into(),
        (Some("number"), _) => "number".into(),
        other => panic!("{other:?}: {value}"),
    }
}

fn generate(version: &str, swagger: &Value, code: &str) -> String {
    let definitions = swagger["definitions"].as_object().unwrap();
    let values = values(code);
    let values_of = |name: &str, field: &str| {
        let function = format!("_{}", short(name).replace('.', "_"));
        values.iter().find(|((of, key), _)| key == field && of.ends_with(&function)).map(|(_, values)| values)
    };
    let mut text = format!(
        "# The kinds of Kubernetes {version} and the fields of their objects. Generated by generate.rs, which says how.\n\
         # A kind's version, name, plural, whether it is namespaced, and type; then the types, each with its fields:\n\
         # `name:type`, a `!` where it is required; `[]` a list, `{{}}` a map, `=` the values of a text.\n"
    );
    let kinds = kinds(swagger);
    let mut todo: Vec<String> = Vec::new();
    for ((version, kind), (plural, is_namespaced)) in &kinds {
        let is_it = |value: &&Value| api_version(value) == *version && value["kind"] == **kind;
        let of = |definition: &Value| definition["x-kubernetes-group-version-kind"].as_array().cloned();
        let named = |definition: &Value| of(definition).unwrap_or_default().iter().any(|value| is_it(&value));
        let (name, _) = definitions.iter().find(|(_, definition)| named(definition)).unwrap();
        let scope = if *is_namespaced { "namespaced" } else { "cluster" };
        writeln!(text, "{version} {kind} {plural} {scope} {}", short(name)).unwrap();
        todo.push(name.clone());
    }
    text.push('\n');
    let mut lines: BTreeSet<String> = BTreeSet::new();
    let mut seen: BTreeSet<String> = todo.iter().cloned().collect();
    while let Some(name) = todo.pop() {
        let definition = &definitions[&name];
        let required: Vec<&str> =
            definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let is_kind = definition.get("x-kubernetes-group-version-kind").is_some();
        let mut line = short(&name);
        for (field, value) in definition["properties"].as_object().into_iter().flatten() {
            // Nobody writes a status: the API server takes none.
            let is_status = is_kind && field == "status";
            let kind = if is_status { "any".into() } else { type_of(value, values_of(&name, field)) };
            let mark = if required.contains(&field.as_str()) && !is_status { "!" } else { "" };
            write!(line, " {field}{mark}:{kind}").unwrap();
            let target = [value, &value["items"], &value["additionalProperties"]]
                .into_iter()
                .find_map(|value| value.get("$ref")?.as_str()?.strip_prefix("#/definitions/"));
            if let Some(target) = target.filter(|target| kind.ends_with(&short(target)))
                && seen.insert(target.to_owned())
            {
                todo.push(target.to_owned());
            }
        }
        lines.insert(line);
    }
    for line in lines {
        writeln!(text, "{line}").unwrap();
    }
    text
}

#[test]
#[ignore = "needs the sources of Kubernetes, and writes the file"]
fn write() {
    let sources = std::env::var("KUBERNETES").expect("KUBERNETES names the folder with the sources");
    let sources = camino::Utf8Path::new(&sources);
    let version = sources.file_name().and_then(|name| name.split_once('@')).map_or("", |(_, version)| version);
    let swagger = std::fs::read_to_string(sources.join("api/openapi-spec/swagger.json")).unwrap();
    let code = std::fs::read_to_string(sources.join("pkg/generated/openapi/zz_generated.openapi.go")).unwrap();
    let text = generate(version, &serde_json::from_str(&swagger).unwrap(), &code);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kubernetes/kinds.txt");
    if text != TEXT {
        std::fs::write(file, &text).unwrap();
    }
}

#[test]
fn what_is_published_becomes_a_line_each() {
    let swagger = serde_json::json!({
        "paths": {
            "/apis/x/v1/namespaces/{namespace}/gears": {"post": {"x-kubernetes-group-version-kind":
                {"group": "x", "version": "v1", "kind": "Gear"}}},
            "/apis/x/v1/namespaces/{namespace}/gears/{name}/scale": {"post": {"x-kubernetes-group-version-kind":
                {"group": "x", "version": "v1", "kind": "Scale"}}},
        },
        "definitions": {
            "io.k8s.api.x.v1.Gear": {
                "x-kubernetes-group-version-kind": [{"group": "x", "version": "v1", "kind": "Gear"}],
                "required": ["spec"],
                "properties": {"spec": {"$ref": "#/definitions/io.k8s.api.x.v1.Spec"}, "status": {"$ref": "#/definitions/S"}}
            },
            "io.k8s.api.x.v1.Spec": {"properties": {
                "mode": {"type": "string"},
                "size": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.api.resource.Quantity"},
                "teeth": {"type": "array", "items": {"type": "integer"}},
                "near": {"type": "object", "additionalProperties": {"$ref": "#/definitions/io.k8s.api.x.v1.Spec"}},
            }},
        },
    });
    let code = "func schema_k8sio_api_x_v1_Spec(ref\n\t\t\t\t\t\"mode\": {\n\t\t\t\t\t\t\tEnum: []interface{}{\"A\", \"B\"},\n";
    let text = generate("v1.0.0", &swagger, code);
    let lines: Vec<&str> = text.lines().skip(3).collect();
    assert_eq!(
        lines,
        [
            "x/v1 Gear gears namespaced x.v1.Gear",
            "",
            "x.v1.Gear spec!:x.v1.Spec status:any",
            "x.v1.Spec mode:string=A|B near:{}x.v1.Spec size:quantity teeth:[]int",
        ]
    );
}
