//! What is sent: named resources, encoded once, with a version that is the hash of the bytes; and sets of them that are
//! compared in the time of what differs.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use mizzen_world::hash::fnv1a;
use prost::Message;

/// The kinds of resources, in the order in which they are sent (`docs/wire.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Cluster,
    Endpoints,
    Listener,
    Routes,
    VirtualHost,
    Names,
}

/// Every kind, in sending order.
pub const KINDS: [Kind; 6] =
    [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Routes, Kind::VirtualHost, Kind::Names];

impl Kind {
    /// The type URL on the wire.
    pub const fn type_url(self) -> &'static str {
        match self {
            Kind::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Kind::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Kind::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Kind::Routes => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Kind::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
            Kind::Names => "type.googleapis.com/istio.networking.nds.v1.NameTable",
        }
    }
}

/// One resource.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    pub kind: Kind,
    pub name: Arc<str>,
    /// The hash of `body`: equal versions of one name are equal bytes.
    pub version: u64,
    /// The encoded message: the `value` of the `Any` that carries it.
    pub body: Bytes,
}

impl Resource {
    pub(crate) fn encode(kind: Kind, name: impl Into<Arc<str>>, message: &impl Message) -> Arc<Resource> {
        Resource::from_bytes(kind, name, message.encode_to_vec())
    }

    pub(crate) fn from_bytes(kind: Kind, name: impl Into<Arc<str>>, body: Vec<u8>) -> Arc<Resource> {
        Arc::new(Resource { kind, name: name.into(), version: fnv1a(&body), body: body.into() })
    }

    pub fn type_url(&self) -> &'static str {
        self.kind.type_url()
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {:016x} ({} bytes)", self.kind, self.name, self.version, self.body.len())
    }
}

/// Everything that one scope should hold. Cheap to clone; successors share what is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceSet {
    kinds: [OrdMap<Arc<str>, Arc<Resource>>; KINDS.len()],
}

/// One difference between two sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// New, or with new bytes.
    Put(Arc<Resource>),
    Remove(Kind, Arc<str>),
}

impl ResourceSet {
    /// The resources of a kind, by name.
    pub fn of(&self, kind: Kind) -> &OrdMap<Arc<str>, Arc<Resource>> {
        &self.kinds[kind as usize]
    }

    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.of(kind).get(name)
    }

    pub fn len(&self) -> usize {
        self.kinds.iter().map(OrdMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.kinds.iter().all(OrdMap::is_empty)
    }

    /// What turns `old` into `new`, in sending order of kinds; costs what differs, for shared parts are skipped.
    pub fn diff(old: &ResourceSet, new: &ResourceSet) -> Vec<Change> {
        let mut changes = Vec::new();
        for kind in KINDS {
            changes.extend(old.of(kind).diff(new.of(kind)).map(|item| match item {
                DiffItem::Add(_, resource) | DiffItem::Update { new: (_, resource), .. } => {
                    Change::Put(resource.clone())
                }
                DiffItem::Remove(name, _) => Change::Remove(kind, name.clone()),
            }));
        }
        changes
    }

    /// True if both are the same maps, not merely equal ones.
    pub(crate) fn same(&self, other: &ResourceSet) -> bool {
        self.kinds.iter().zip(&other.kinds).all(|(a, b)| a.ptr_eq(b))
    }

    /// Puts a resource; one with the same bytes stays as it is, so that identity means "the same". True if it is new.
    pub(crate) fn put(&mut self, resource: &Arc<Resource>) -> bool {
        let kind = &mut self.kinds[resource.kind as usize];
        if kind.get(&resource.name).is_some_and(|old| old.version == resource.version) {
            return false;
        }
        kind.insert(resource.name.clone(), resource.clone());
        true
    }

    pub(crate) fn remove(&mut self, kind: Kind, name: &str) -> bool {
        self.kinds[kind as usize].remove(name).is_some()
    }

    /// Takes over all resources of a kind.
    pub(crate) fn adopt(&mut self, kind: Kind, resources: OrdMap<Arc<str>, Arc<Resource>>) {
        self.kinds[kind as usize] = resources;
    }

    pub(crate) fn clear(&mut self, kind: Kind) {
        self.kinds[kind as usize] = OrdMap::new();
    }
}
