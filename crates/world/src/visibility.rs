//! Who may see an object: `exportTo`.
//!
//! Source: Istio's `exportTo` (`.` own namespace, `*` all, `~` none, or namespaces by name).

use std::collections::BTreeSet;
use std::sync::Arc;

/// The namespaces that an object is visible in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Visibility {
    #[default]
    Public,
    /// Exactly these namespaces; the empty set is nobody.
    Namespaces(BTreeSet<Arc<str>>),
}

impl Visibility {
    /// Reads the entries of an `exportTo` list in an object of `own`; the empty list takes `default`.
    pub fn from_entries<'a>(
        entries: impl IntoIterator<Item = &'a str>,
        own: &Arc<str>,
        default: &Visibility,
    ) -> Visibility {
        let mut namespaces = BTreeSet::new();
        let mut any = false;
        for entry in entries {
            any = true;
            match entry {
                "*" => return Visibility::Public,
                "." => drop(namespaces.insert(own.clone())),
                "~" => {}
                name => drop(namespaces.insert(name.into())),
            }
        }
        if any { Visibility::Namespaces(namespaces) } else { default.resolve(own) }
    }

    /// True if a client in `namespace` sees the object.
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Visibility::Public => true,
            Visibility::Namespaces(set) => set.contains(namespace),
        }
    }

    /// True if whoever sees `other` sees this too.
    pub fn contains(&self, other: &Visibility) -> bool {
        match (self, other) {
            (Visibility::Public, _) => true,
            (Visibility::Namespaces(_), Visibility::Public) => false,
            (Visibility::Namespaces(mine), Visibility::Namespaces(theirs)) => theirs.is_subset(mine),
        }
    }

    /// A mesh-wide default may say `.`, kept as the namespace `.`; this puts the object's own namespace in its place.
    fn resolve(&self, own: &Arc<str>) -> Visibility {
        match self {
            Visibility::Public => Visibility::Public,
            Visibility::Namespaces(set) => Visibility::Namespaces(
                set.iter().map(|name| if &**name == "." { own.clone() } else { name.clone() }).collect(),
            ),
        }
    }
}
