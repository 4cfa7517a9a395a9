//! `VirtualService`: which requests of a host go where. The model holds what is decided from it, with hosts expanded.
//!
//! A rule's position in its lists is its identity on the wire (`spec.http[2].match[0]`), so nothing is ever reordered or
//! left out here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::labels::Labels;
use crate::name::{Age, NsName};
use crate::visibility::Visibility;

/// What a `VirtualService` or a match in it is bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatewayRef {
    /// The sidecars.
    Mesh,
    Named(NsName),
}

/// One `VirtualService`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualService {
    /// `VirtualService/default/reviews`.
    pub object: Arc<str>,
    pub age: Age,
    pub hosts: Vec<Arc<str>>,
    pub gateways: Vec<GatewayRef>,
    pub visibility: Visibility,
    pub http: Vec<HttpRule>,
    /// It asks for something that is not enforced yet and that would restrict: its hosts answer 503.
    pub refused: bool,
}

/// One entry of `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    pub name: Arc<str>,
    /// Any of them; none means every request.
    pub matches: Vec<HttpMatch>,
    pub action: Action,
    pub headers: HeaderOps,
    pub rewrite_uri: Option<Arc<str>>,
    pub rewrite_authority: Option<Arc<str>>,
    /// Over all attempts; `None` is no limit.
    pub timeout: Option<Duration>,
    pub retries: Option<Retries>,
}

/// What a rule does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Never empty.
    Forward(Vec<Destination>),
    Respond {
        status: u16,
        body: Arc<[u8]>,
    },
    /// An action that is not enforced yet (`redirect`, `delegate`): answered with 503, for what comes after the rule
    /// was not meant for these requests.
    NotYet(&'static str),
}

/// A destination and its share of the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub host: Arc<str>,
    pub subset: Option<Arc<str>>,
    pub port: Option<u16>,
    pub weight: u32,
    pub headers: HeaderOps,
}

/// A condition on a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatch {
    Exact(Arc<str>),
    Prefix(Arc<str>),
    /// RE2, against the whole string.
    Regex(Arc<str>),
    Present,
}

/// A condition on a named value.
pub type Named = (Arc<str>, StringMatch);

/// All of these conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpMatch {
    pub name: Arc<str>,
    pub uri: Option<StringMatch>,
    pub ignore_uri_case: bool,
    pub scheme: Option<StringMatch>,
    pub method: Option<StringMatch>,
    pub authority: Option<StringMatch>,
    pub headers: Vec<Named>,
    pub without_headers: Vec<Named>,
    pub query_params: Vec<Named>,
    /// The port that was listened on.
    pub port: Option<u16>,
    pub source_labels: Labels,
    pub source_namespace: Option<Arc<str>>,
    /// Overrides the object's; empty means those.
    pub gateways: Vec<GatewayRef>,
}

/// Header operations of request and response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderOps {
    pub request: Ops,
    pub response: Ops,
}

/// Removed first, then set, then added; names in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ops {
    pub remove: Vec<Arc<str>>,
    pub set: Vec<(Arc<str>, Arc<str>)>,
    pub add: Vec<(Arc<str>, Arc<str>)>,
}

/// A retry policy as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Further attempts after the first; 0 turns retries off.
    pub attempts: u32,
    pub per_try_timeout: Option<Duration>,
    /// Comma-separated conditions and status codes; `None` is the default list.
    pub retry_on: Option<Arc<str>>,
    pub remote_localities: bool,
    pub ignore_previous_hosts: bool,
    pub backoff: Option<Duration>,
}

impl VirtualService {
    pub fn is_for_mesh(&self) -> bool {
        self.gateways.contains(&GatewayRef::Mesh)
    }

    pub fn is_for_gateway(&self, gateway: &NsName) -> bool {
        self.gateways.iter().any(|bound| matches!(bound, GatewayRef::Named(name) if name == gateway))
    }

    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.http.iter().flat_map(|rule| match &rule.action {
            Action::Forward(to) => to.as_slice(),
            Action::Respond { .. } | Action::NotYet(_) => &[],
        })
    }

    pub fn refers_to(&self, host: &str) -> bool {
        self.destinations().any(|to| &*to.host == host)
    }

    /// The keys of client labels on which a match depends.
    pub fn source_keys(&self) -> BTreeSet<Arc<str>> {
        let matches = self.http.iter().flat_map(|rule| &rule.matches);
        matches.flat_map(|m| m.source_labels.iter().map(|(key, _)| key.clone())).collect()
    }

    /// True if a match asks who the client is.
    pub fn reads_source(&self) -> bool {
        self.http
            .iter()
            .flat_map(|rule| &rule.matches)
            .any(|m| !m.source_labels.is_empty() || m.source_namespace.is_some())
    }

    /// The place of a rule or of a match in it: `spec.http[2]`, `spec.http[2].match[0]`.
    pub fn rule_path(rule: usize, matched: Option<usize>) -> String {
        match matched {
            None => format!("spec.http[{rule}]"),
            Some(index) => format!("spec.http[{rule}].match[{index}]"),
        }
    }
}

impl HttpMatch {
    /// True if no condition but the path's is set, and that one covers every path.
    pub fn is_everything(&self) -> bool {
        let any_path = match &self.uri {
            None => true,
            Some(StringMatch::Prefix(prefix)) => &**prefix == "/",
            Some(StringMatch::Regex(regex)) => matches!(&**regex, ".*" | "*" | "/.*"),
            Some(StringMatch::Exact(_) | StringMatch::Present) => false,
        };
        any_path
            && self.scheme.is_none()
            && self.method.is_none()
            && self.authority.is_none()
            && self.headers.is_empty()
            && self.without_headers.is_empty()
            && self.query_params.is_empty()
    }
}
