//! A container's environment, by the rules of Kubernetes (API reference, Container: `env`, `envFrom`).
//!
//! In: the container's fields and the objects that they name. Out: variables in order, later ones over earlier ones; what
//! depends on the replica stays a [`Field`] until there is one. `$(NAME)` is replaced then, too.

use std::collections::BTreeMap;

use mizzen_api::{Kind, ObjectId, Spec, k8s};

use super::{Name, Objects, Trouble, container::PodContext};

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Text(String),
    Field(Field),
}

/// What is known only of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    PodName,
    PodUid,
    PodIp,
    PodIps,
    NodeName,
    HostIp,
}

/// `path` is the container's field path.
pub(super) fn environment(
    container: &k8s::Container,
    path: &str,
    pod: &PodContext<'_>,
    objects: &Objects,
) -> Result<Vec<(String, Value)>, Trouble> {
    let mut variables = Vec::new();
    for (at, source) in container.env_from.iter().flatten().enumerate() {
        let all = all_of(source, &format!("{path}.envFrom[{at}]"), pod.name, objects)?;
        variables.extend(all.into_iter().map(|(name, value)| (name, Value::Text(value))));
    }
    for (at, variable) in container.env.iter().flatten().enumerate() {
        let path = format!("{path}.env[{at}]");
        let value = match (&variable.value, &variable.value_from) {
            (Some(text), _) => Some(Value::Text(text.clone())),
            (None, Some(source)) => value_from(source, &format!("{path}.valueFrom"), pod, objects)?,
            (None, None) => Some(Value::Text(String::new())),
        };
        variables.extend(value.map(|value| (variable.name.clone(), value)));
    }
    Ok(variables)
}

fn value_from(
    source: &k8s::EnvVarSource,
    path: &str,
    pod: &PodContext<'_>,
    objects: &Objects,
) -> Result<Option<Value>, Trouble> {
    let (kind, name, key, optional, path) = if let Some(field) = &source.field_ref {
        return field_value(&field.field_path, &format!("{path}.fieldRef.fieldPath"), pod).map(Some);
    } else if let Some(key) = &source.config_map_key_ref {
        (Kind::ConfigMap, &key.name, &key.key, key.optional, format!("{path}.configMapKeyRef"))
    } else if let Some(key) = &source.secret_key_ref {
        (Kind::Secret, &key.name, &key.key, key.optional, format!("{path}.secretKeyRef"))
    } else {
        return Err(Trouble::new(
            path,
            "expected fieldRef, configMapKeyRef or secretKeyRef: others have no meaning here",
        ));
    };
    let found = data_of(kind, name, pod.name, objects).and_then(|mut data| data.remove(key.as_str()));
    match found {
        Some(bytes) => text(bytes, &path).map(|text| Some(Value::Text(text))),
        None if optional == Some(true) => Ok(None),
        None => Err(Trouble::new(path, format!("no key `{key}` in {}", id_of(kind, name, pod.name)))),
    }
}

/// All keys of a ConfigMap or Secret, with the prefix.
fn all_of(
    source: &k8s::EnvFromSource,
    path: &str,
    pod: &Name,
    objects: &Objects,
) -> Result<Vec<(String, String)>, Trouble> {
    let (kind, name, optional, path) = match (&source.config_map_ref, &source.secret_ref) {
        (Some(map), _) => (Kind::ConfigMap, &map.name, map.optional, format!("{path}.configMapRef")),
        (None, Some(secret)) => (Kind::Secret, &secret.name, secret.optional, format!("{path}.secretRef")),
        (None, None) => return Err(Trouble::new(path, "expected configMapRef or secretRef")),
    };
    let prefix = source.prefix.as_deref().unwrap_or_default();
    match data_of(kind, name, pod, objects) {
        Some(data) => {
            data.into_iter().map(|(key, bytes)| Ok((format!("{prefix}{key}"), text(bytes, &path)?))).collect()
        }
        None if optional == Some(true) => Ok(Vec::new()),
        None => Err(Trouble::new(path, format!("no {}", id_of(kind, name, pod)))),
    }
}

fn field_value(field: &str, path: &str, pod: &PodContext<'_>) -> Result<Value, Trouble> {
    let subscript = |text: &str, map: &BTreeMap<String, String>| {
        let key = text.strip_prefix("['").and_then(|text| text.strip_suffix("']"))?;
        Some(Value::Text(map.get(key).cloned().unwrap_or_default()))
    };
    let value = match field {
        "metadata.name" => Some(Value::Field(Field::PodName)),
        "metadata.uid" => Some(Value::Field(Field::PodUid)),
        "metadata.namespace" => Some(Value::Text(pod.name.namespace.to_string())),
        "spec.serviceAccountName" => Some(Value::Text(pod.service_account.to_owned())),
        "spec.nodeName" => Some(Value::Field(Field::NodeName)),
        "status.podIP" => Some(Value::Field(Field::PodIp)),
        "status.podIPs" => Some(Value::Field(Field::PodIps)),
        "status.hostIP" | "status.hostIPs" => Some(Value::Field(Field::HostIp)),
        _ => match (field.strip_prefix("metadata.labels"), field.strip_prefix("metadata.annotations")) {
            (Some(key), _) => subscript(key, pod.labels),
            (None, Some(key)) => subscript(key, pod.annotations),
            (None, None) => None,
        },
    };
    value.ok_or_else(|| Trouble {
        path: path.to_owned(),
        message: format!("`{field}` is no field of a pod that can be read here"),
        hint: Some("status.podIP".to_owned()),
    })
}

pub(super) fn id_of(kind: Kind, name: &str, pod: &Name) -> ObjectId {
    ObjectId::new(kind, &pod.namespace, name)
}

/// The contents of a ConfigMap or Secret beside the pod.
pub(super) fn data_of(kind: Kind, name: &str, pod: &Name, objects: &Objects) -> Option<BTreeMap<String, Vec<u8>>> {
    let object = objects.get(&id_of(kind, name, pod))?;
    match &object.spec {
        Spec::ConfigMap(map) => {
            let text = map.data.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
            Some(text.chain(map.binary_data.iter().map(|(key, value)| (key.clone(), value.0.clone()))).collect())
        }
        Spec::Secret(secret) => Some(secret.data.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect()),
        _ => None,
    }
}

fn text(bytes: Vec<u8>, path: &str) -> Result<String, Trouble> {
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.ok_or_else(|| Trouble::new(path, "not text: a variable cannot hold it"))
}

/// Replaces `$(NAME)` by the variable's value; `$$` is a dollar; an unknown name stays as it is.
pub(super) fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix("$(").and_then(|after| after.split_once(')'));
        let value = name.and_then(|(name, _)| variables.iter().rev().find(|(known, _)| known == name));
        if let (Some((_, after)), Some((_, value))) = (name, value) {
            out.push_str(value);
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}
