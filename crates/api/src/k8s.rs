//! The Kubernetes kinds: the specs of `k8s-openapi`, and narrow views where a kind has no spec or where its status is a fact for us.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{IntoDeserializer, value::StringDeserializer},
};

pub use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::DeploymentSpec,
        core::v1::{
            ConfigMapKeySelector, Container, ContainerPort, EndpointAddress, EndpointPort as EndpointsPort,
            EndpointSubset, EnvFromSource, EnvVar, EnvVarSource, ExecAction, GRPCAction, HTTPGetAction, NodeAddress,
            NodeStatus, PodCondition, PodIP, PodSpec, PodStatus, PodTemplateSpec, Probe, ServicePort, ServiceSpec,
            TCPSocketAction, Volume, VolumeMount,
        },
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use crate::istio::MeshConfig;

/// A `ConfigMap`. One called `istio` or `istio-REVISION` with a key `mesh` also carries the mesh configuration, already read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    pub data: BTreeMap<String, String>,
    #[serde(deserialize_with = "base64_values")]
    pub binary_data: BTreeMap<String, ByteString>,
    pub immutable: Option<bool>,
    #[serde(skip)]
    pub mesh: Option<Arc<MeshConfig>>,
}

/// A `Secret`; `stringData` is already laid over `data`. Its `Debug` shows keys, never values.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    #[serde(rename = "type")]
    pub type_: Option<String>,
    #[serde(deserialize_with = "base64_values")]
    pub data: BTreeMap<String, ByteString>,
    pub immutable: Option<bool>,
    pub(crate) string_data: BTreeMap<String, String>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.data.keys().chain(self.string_data.keys()).collect();
        f.debug_struct("Secret").field("type", &self.type_).field("keys", &keys).finish_non_exhaustive()
    }
}

/// A `Pod` as a fact: it is never started from here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    pub spec: PodSpec,
    pub status: PodStatus,
}

/// An `EndpointSlice`: the endpoints of the service named by its label `kubernetes.io/service-name`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<EndpointPort>,
}

/// The older form of endpoints, named like its service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoints {
    pub subsets: Vec<EndpointSubset>,
}

/// A `Node`: its labels carry region and zone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    pub spec: k8s_openapi::api::core::v1::NodeSpec,
    pub status: NodeStatus,
}

/// Base64, which may be wrapped into lines as `base64` writes it.
struct Wrapped(ByteString);

impl<'de> Deserialize<'de> for Wrapped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.replace(['\n', '\r'], "");
        let text: StringDeserializer<D::Error> = text.into_deserializer();
        ByteString::deserialize(text).map(Self)
    }
}

fn base64_values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, ByteString>, D::Error> {
    let map = BTreeMap::<String, Wrapped>::deserialize(deserializer)?;
    Ok(map.into_iter().map(|(key, Wrapped(bytes))| (key, bytes)).collect())
}
