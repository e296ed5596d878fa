//! One view on the types of Kubernetes and on those of custom resource definitions.

use serde_yaml::Value;

use crate::kubernetes;
use crate::plan::object::list;

/// What may stand somewhere.
#[derive(Clone, Copy)]
pub(super) enum Type<'s> {
    /// As kinds.txt writes it.
    Known(&'static str),
    /// A schema of a custom resource definition.
    Custom(&'s Value),
    /// The same, for a whole object.
    CustomObject(&'s Value),
}

/// What a type consists of.
pub(super) enum Shape<'s> {
    Any,
    Text(Values<'s>),
    Int,
    Number,
    Bool,
    Quantity,
    IntOrText,
    Base64,
    List(Type<'s>),
    Map(Type<'s>),
    Object {
        fields: Vec<Field<'s>>,
        /// Whether it may have others.
        is_open: bool,
    },
}

/// The texts that may stand in a field; none where any may.
pub(super) type Values<'s> = Vec<&'s str>;

pub(super) struct Field<'s> {
    pub(super) name: &'s str,
    pub(super) is_required: bool,
    pub(super) of: Type<'s>,
}

impl<'s> Type<'s> {
    pub(super) fn shape(self) -> Shape<'s> {
        match self {
            Type::Known(of) => known(of),
            Type::Custom(schema) => custom(schema, false),
            Type::CustomObject(schema) => custom(schema, true),
        }
    }

    /// What it is for this value, where that depends on it: `a/b` is `b` for a list.
    pub(super) fn for_value(self, value: &Value) -> Type<'s> {
        match self {
            Type::Known(of) if !of.contains('=') => match of.split_once('/') {
                Some((_, list)) if value.is_sequence() => Type::Known(list),
                Some((other, _)) => Type::Known(other),
                None => self,
            },
            _ => self,
        }
    }

    /// The least and the greatest number that is allowed.
    pub(super) fn bounds(self) -> (Option<f64>, Option<f64>) {
        match self {
            Type::Known(_) => (None, None),
            Type::Custom(schema) | Type::CustomObject(schema) => {
                let number = |key: &str| schema.get(key).and_then(Value::as_f64);
                (number("minimum"), number("maximum"))
            }
        }
    }
}

fn known(of: &'static str) -> Shape<'static> {
    if let Some(items) = of.strip_prefix("[]") {
        return Shape::List(Type::Known(items));
    }
    if let Some(items) = of.strip_prefix("{}") {
        return Shape::Map(Type::Known(items));
    }
    match of.split_once('=').map_or((of, ""), |(of, values)| (of, values)) {
        ("any", _) => Shape::Any,
        ("string" | "time", values) => Shape::Text(values.split('|').filter(|value| !value.is_empty()).collect()),
        ("int", _) => Shape::Int,
        ("number", _) => Shape::Number,
        ("bool", _) => Shape::Bool,
        ("quantity", _) => Shape::Quantity,
        ("int-or-string", _) => Shape::IntOrText,
        ("base64", _) => Shape::Base64,
        _ => {
            let fields = kubernetes::fields(of);
            let fields = fields.map(|(name, is_required, of)| Field { name, is_required, of: Type::Known(of) });
            Shape::Object { fields: fields.collect(), is_open: false }
        }
    }
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>
fn custom(schema: &Value, is_object: bool) -> Shape<'_> {
    let says = |key: &str| schema.get(key).and_then(Value::as_bool) == Some(true);
    if says("x-kubernetes-int-or-string") {
        return Shape::IntOrText;
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => Shape::Text(list(schema, &["enum"]).iter().filter_map(Value::as_str).collect()),
        Some("integer") => Shape::Int,
        Some("number") => Shape::Number,
        Some("boolean") => Shape::Bool,
        Some("array") => schema.get("items").map_or(Shape::Any, |items| Shape::List(Type::Custom(items))),
        Some("object") => {
            let properties = schema.get("properties").and_then(Value::as_mapping);
            let further = schema.get("additionalProperties");
            if let (None, Some(further)) = (properties, further) {
                return if further.is_mapping() { Shape::Map(Type::Custom(further)) } else { Shape::Any };
            }
            let required: Vec<&str> = list(schema, &["required"]).iter().filter_map(Value::as_str).collect();
            let is_whole = is_object || says("x-kubernetes-embedded-resource");
            let mut fields: Vec<Field<'_>> = Vec::new();
            for (name, of) in properties.into_iter().flatten() {
                let Some(name) = name.as_str() else { continue };
                // The API server fills in a default before it looks for what is missing; nobody writes a status.
                let is_status = is_object && name == "status";
                let is_required = required.contains(&name) && of.get("default").is_none() && !is_status;
                let of = match name {
                    "metadata" if is_whole => Type::Known("meta.v1.ObjectMeta"),
                    "status" if is_object => Type::Known("any"),
                    _ => Type::Custom(of),
                };
                fields.push(Field { name, is_required, of });
            }
            for (name, of) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "meta.v1.ObjectMeta")] {
                if is_whole && !fields.iter().any(|field| field.name == name) {
                    fields.push(Field { name, is_required: false, of: Type::Known(of) });
                }
            }
            Shape::Object { fields, is_open: says("x-kubernetes-preserve-unknown-fields") || further.is_some() }
        }
        _ => Shape::Any,
    }
}
