//! One document that is known to be of our kinds → its identity, its metadata, its typed content.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    istio::{MESH_CONFIG_KEY, MESH_CONFIG_NAME, MeshConfig},
    k8s,
    node::{self, Node, Value},
    object::{Kind, Meta, ObjectId, Owner, Spec},
    path::Path,
    problem::{At, Problem, Problems},
    validate,
};

/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Who an object is.
pub(crate) struct Identity {
    pub(crate) id: ObjectId,
    pub(crate) meta: Meta,
}

/// Whether the name of an object is still to be filled in by another program.
pub(crate) fn is_template(node: &Node) -> bool {
    let name = |key| node.get("metadata").and_then(|metadata| metadata.get(key));
    [name("name"), name("namespace")].into_iter().flatten().any(|node| match &node.value {
        Value::Text { text, .. } => text.contains("{{"),
        Value::Map(_) => true,
        Value::List(_) => false,
    })
}

/// Reads `metadata`. `None`, with the reason in `problems`, if the object has no usable name.
pub(crate) fn identity(kind: Kind, root: &Node, problems: &Problems) -> Option<Identity> {
    let at = At::root(problems);
    let at = at.field("metadata");
    let Some(metadata) = root.get("metadata") else {
        at.error("an object needs a name", "metadata: {name: reviews}");
        return None;
    };
    let path = Path::ROOT.field("metadata");
    let source: ObjectMeta = node::read(metadata, path, problems)?;
    let name = source.name.unwrap_or_default();
    let namespace =
        source.namespace.filter(|namespace| !namespace.is_empty()).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    if name.is_empty() {
        at.field("name").error("an object needs a name", "reviews");
        return None;
    }
    let mut named = validate::object_name(&at.field("name"), kind, &name);
    if !kind.is_cluster_scoped() {
        named &= validate::namespace(&at.field("namespace"), &namespace);
    }
    let labels = source.labels.unwrap_or_default();
    validate::labels(&at.field("labels"), &labels);
    let meta = Meta {
        labels,
        annotations: source.annotations.unwrap_or_default(),
        creation: source.creation_timestamp.map(|time| time.0.as_second()),
        owner: source
            .owner_references
            .unwrap_or_default()
            .into_iter()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| Owner { kind: owner.kind, name: owner.name }),
    };
    named.then(|| Identity { id: ObjectId::new(kind, &namespace, &name), meta })
}

/// The root of a kind that has nothing but a `spec`.
#[derive(Deserialize)]
struct WithSpec<T> {
    spec: T,
}

/// The same where the `spec` may be left out.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WithOptionalSpec<T> {
    spec: T,
}

/// Reads everything but `metadata`. `None`, with the reason in `problems`, if that is not possible.
pub(crate) fn spec(kind: Kind, root: &Node, problems: &Problems) -> Option<Spec> {
    Some(match kind {
        Kind::Namespace => {
            whole::<Namespace>(root, problems)?;
            Spec::Namespace
        }
        Kind::ServiceAccount => {
            whole::<ServiceAccount>(root, problems)?;
            Spec::ServiceAccount
        }
        Kind::Service => Spec::Service(of_spec(root, problems)?),
        Kind::Deployment => Spec::Deployment(of_spec(root, problems)?),
        Kind::ConfigMap => Spec::ConfigMap(Arc::new(config_map(root, problems)?)),
        Kind::Secret => {
            let mut secret: k8s::Secret = whole(root, problems)?;
            let text = std::mem::take(&mut secret.string_data);
            secret.data.extend(text.into_iter().map(|(key, value)| (key, k8s::ByteString(value.into_bytes()))));
            Spec::Secret(Arc::new(secret))
        }
        Kind::Pod => Spec::Pod(Arc::new(whole(root, problems)?)),
        Kind::EndpointSlice => Spec::EndpointSlice(Arc::new(whole(root, problems)?)),
        Kind::Endpoints => Spec::Endpoints(Arc::new(whole(root, problems)?)),
        Kind::Node => Spec::Node(Arc::new(whole(root, problems)?)),
        Kind::VirtualService => Spec::VirtualService(of_spec(root, problems)?),
        Kind::DestinationRule => Spec::DestinationRule(of_spec(root, problems)?),
        Kind::Gateway => Spec::Gateway(of_spec(root, problems)?),
        Kind::ServiceEntry => Spec::ServiceEntry(of_spec(root, problems)?),
        Kind::PeerAuthentication => Spec::PeerAuthentication(Arc::new(of_optional_spec(root, problems)?)),
        Kind::AuthorizationPolicy => Spec::AuthorizationPolicy(Arc::new(of_optional_spec(root, problems)?)),
        Kind::RequestAuthentication => Spec::RequestAuthentication(Arc::new(of_optional_spec(root, problems)?)),
    })
}

fn whole<T: DeserializeOwned>(root: &Node, problems: &Problems) -> Option<T> {
    node::read(root, Path::ROOT, problems)
}

fn of_spec<T: DeserializeOwned>(root: &Node, problems: &Problems) -> Option<Arc<T>> {
    whole::<WithSpec<T>>(root, problems).map(|object| Arc::new(object.spec))
}

fn of_optional_spec<T: DeserializeOwned + Default>(root: &Node, problems: &Problems) -> Option<T> {
    whole::<WithOptionalSpec<T>>(root, problems).map(|object| object.spec)
}

/// A `ConfigMap`, its mesh configuration read if it carries one.
fn config_map(root: &Node, problems: &Problems) -> Option<k8s::ConfigMap> {
    let mut map: k8s::ConfigMap = whole(root, problems)?;
    if let Some(mesh) = mesh_node(root) {
        map.mesh = Some(Arc::new(read_mesh_config(mesh, problems)?));
    }
    Some(map)
}

fn read_mesh_config(text: &Node, problems: &Problems) -> Option<MeshConfig> {
    let inner = Problems::default();
    let tree = embedded(text).map_err(|problem| inner.push(problem)).ok();
    let config = tree.as_ref().and_then(|tree| node::read::<MeshConfig>(tree, Path::ROOT, &inner));
    if let Some(config) = &config {
        validate::mesh_config(config, &inner);
    }
    let lines = tree.map(|tree| tree.line_map()).unwrap_or_default();
    for problem in inner.into_vec() {
        let line = problem.line.or_else(|| Some(lines.line_of(&problem.path)));
        problems.push(Problem { line, path: mesh_path(&problem.path), ..problem });
    }
    config
}

/// The path of a mesh setting as findings print it.
pub(crate) fn mesh_path(path: &str) -> String {
    if path.is_empty() { format!("data.{MESH_CONFIG_KEY}") } else { format!("data.{MESH_CONFIG_KEY}: {path}") }
}

/// The text of the mesh configuration, if this `ConfigMap` is the one that carries it.
fn mesh_node(root: &Node) -> Option<&Node> {
    let name = root.get("metadata")?.get("name")?.text()?;
    let ours = name.strip_prefix(MESH_CONFIG_NAME).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    if ours { root.get("data")?.get(MESH_CONFIG_KEY) } else { None }
}

/// The mesh configuration of a `ConfigMap` as a tree, with the lines of the file around it.
pub(crate) fn mesh_config(root: &Node) -> Option<Node> {
    embedded(mesh_node(root)?).ok()
}

/// YAML inside of a scalar, with the lines of the file.
fn embedded(node: &Node) -> Result<Node, Problem> {
    let Value::Text { text, .. } = &node.value else {
        return Err(Problem::error(node.line, "expected a text in YAML"));
    };
    let shift = node.line.saturating_sub(1);
    let mut documents = node::parse(text).map_err(|error| Problem::error(error.line + shift, error.message))?;
    let Some(document) = documents.pop() else { return Ok(empty_map(node.line)) };
    if let Some(problem) = document.problems.into_iter().next() {
        return Err(Problem { line: problem.line.map(|line| line + shift), ..problem });
    }
    let mut root = if document.root.is_null() { empty_map(1) } else { document.root };
    root.shift_lines(shift);
    Ok(root)
}

fn empty_map(line: u32) -> Node {
    Node { line, column: 1, value: Value::Map(Vec::new()) }
}
