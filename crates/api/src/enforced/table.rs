//! The table: one row for each field or subtree, by kind.
//!
//! Paths are written as [`super::matches`] reads them. In a kind of the mesh every field of the schema has a row.

use crate::{
    node::{Node, Scalar},
    object::Kind,
};

/// What is known of a field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) path: &'static str,
    /// The row is about these values only; empty: about all.
    values: &'static [&'static str],
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    Enforced,
    NotYet(NotYet),
}

/// Parses, is reported, and is not enforced.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotYet {
    /// The field would restrict or encrypt.
    pub(super) restricts: bool,
    pub(super) issue: &'static str,
    /// Nothing is lost by it here.
    pub(super) harmless: bool,
}

impl Row {
    pub(super) fn holds_for(&self, node: &Node) -> bool {
        let is_value = |text: &str| self.values.iter().any(|value| value.eq_ignore_ascii_case(text));
        self.values.is_empty()
            || node.text().is_some_and(is_value)
            || matches!(node.scalar(), Some(Scalar::Bool(set)) if is_value(if set { "true" } else { "false" }))
    }

    const fn for_values(self, values: &'static [&'static str]) -> Self {
        Self { values, ..self }
    }
}

/// In force.
const fn on(path: &'static str) -> Row {
    Row { path, values: &[], state: State::Enforced }
}

/// Not yet, and nothing is opened by that.
const fn later(path: &'static str, issue: &'static str) -> Row {
    Row { path, values: &[], state: State::NotYet(NotYet { restricts: false, issue, harmless: false }) }
}

/// Not yet, and the object's traffic is refused.
const fn refuses(path: &'static str, issue: &'static str) -> Row {
    Row { path, values: &[], state: State::NotYet(NotYet { restricts: true, issue, harmless: false }) }
}

/// Has no meaning on one machine.
const fn moot(path: &'static str, issue: &'static str) -> Row {
    Row { path, values: &[], state: State::NotYet(NotYet { restricts: false, issue, harmless: true }) }
}

/// Whether every field of the kind has a row.
pub(super) const fn is_whole(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::VirtualService | Kind::DestinationRule | Kind::Gateway | Kind::ServiceEntry | Kind::PeerAuthentication
    )
}

/// Whether a key of an object's root is something that its user asks for.
pub(super) fn is_content(kind: Kind, key: &str) -> bool {
    !matches!(key, "apiVersion" | "kind" | "metadata" | "status") && !matches!(kind, Kind::Pod | Kind::Node)
}

pub(super) const fn rows(kind: Kind) -> &'static [Row] {
    match kind {
        Kind::VirtualService => VIRTUAL_SERVICE,
        Kind::DestinationRule => DESTINATION_RULE,
        Kind::Gateway => GATEWAY,
        Kind::ServiceEntry => SERVICE_ENTRY,
        Kind::PeerAuthentication => PEER_AUTHENTICATION,
        Kind::Service => SERVICE,
        Kind::Deployment => DEPLOYMENT,
        _ => &[],
    }
}

const HTTP: &str = "the rest of HTTP routing";
const TCP_TLS_ROUTES: &str = "TLS and TCP routes";
const FAULTS: &str = "fault injection";
const MIRRORING: &str = "mirroring";
const JWT: &str = "token claims in routes";
const TLS: &str = "TLS gateways and TLS origination";
const RESILIENCE: &str = "outlier detection and circuit breaking";
const BALANCING: &str = "further load balancing";
const LOCALITY: &str = "locality-aware load balancing";
const TELEMETRY: &str = "tracing and telemetry";
pub(super) const SECURITY: &str = "authorization and per-port mTLS";
const MACHINES: &str = "machines in the mesh";
const KUBERNETES: &str = "for clusters";

const VIRTUAL_SERVICE: &[Row] = &[
    on("spec.hosts.**"),
    on("spec.gateways.**"),
    on("spec.exportTo.**"),
    on("spec.http[].name"),
    on("spec.http[].match[].**"),
    refuses("spec.http[].match[].headers.@request*", JWT),
    refuses("spec.http[].match[].withoutHeaders.@request*", JWT),
    on("spec.http[].route[].destination.**"),
    on("spec.http[].route[].weight"),
    on("spec.http[].route[].headers.**"),
    on("spec.http[].headers.**"),
    on("spec.http[].rewrite.uri"),
    later("spec.http[].rewrite.authority", HTTP),
    later("spec.http[].rewrite.uriRegexRewrite", HTTP),
    on("spec.http[].timeout"),
    on("spec.http[].retries.**"),
    later("spec.http[].retries.retryRemoteLocalities", LOCALITY),
    later("spec.http[].redirect", HTTP),
    later("spec.http[].directResponse", HTTP),
    later("spec.http[].delegate", HTTP),
    later("spec.http[].corsPolicy", HTTP),
    later("spec.http[].fault", FAULTS),
    later("spec.http[].mirror*", MIRRORING),
    later("spec.tls", TCP_TLS_ROUTES),
    later("spec.tcp", TCP_TLS_ROUTES),
];

const DESTINATION_RULE: &[Row] = &[
    on("spec.host"),
    on("spec.exportTo.**"),
    on("spec.subsets[].name"),
    on("spec.subsets[].labels.**"),
    later("spec.workloadSelector", "rules for some clients only"),
    // The policy of the host.
    on("spec.trafficPolicy.loadBalancer.simple"),
    later("spec.trafficPolicy.loadBalancer.simple", BALANCING).for_values(&["PASSTHROUGH"]),
    later("spec.trafficPolicy.loadBalancer.consistentHash", BALANCING),
    later("spec.trafficPolicy.loadBalancer.localityLbSetting", LOCALITY),
    later("spec.trafficPolicy.loadBalancer.zoneAwareLbSetting", LOCALITY),
    later("spec.trafficPolicy.loadBalancer.warmup*", BALANCING),
    later("spec.trafficPolicy.loadBalancer.backendUtilization", BALANCING),
    on("spec.trafficPolicy.connectionPool.tcp.connectTimeout"),
    later("spec.trafficPolicy.connectionPool.tcp.max*", RESILIENCE),
    later("spec.trafficPolicy.connectionPool.tcp.tcpKeepalive", RESILIENCE),
    later("spec.trafficPolicy.connectionPool.tcp.idleTimeout", RESILIENCE),
    later("spec.trafficPolicy.connectionPool.http", RESILIENCE),
    later("spec.trafficPolicy.outlierDetection", RESILIENCE),
    refuses("spec.trafficPolicy.tls", TLS),
    later("spec.trafficPolicy.portLevelSettings", RESILIENCE),
    refuses("spec.trafficPolicy.portLevelSettings[].tls", TLS),
    later("spec.trafficPolicy.tunnel", TLS),
    later("spec.trafficPolicy.proxyProtocol", TLS),
    later("spec.trafficPolicy.retryBudget", RESILIENCE),
    // The same in the policy of a subset.
    on("spec.subsets[].trafficPolicy.loadBalancer.simple"),
    later("spec.subsets[].trafficPolicy.loadBalancer.simple", BALANCING).for_values(&["PASSTHROUGH"]),
    later("spec.subsets[].trafficPolicy.loadBalancer.consistentHash", BALANCING),
    later("spec.subsets[].trafficPolicy.loadBalancer.localityLbSetting", LOCALITY),
    later("spec.subsets[].trafficPolicy.loadBalancer.zoneAwareLbSetting", LOCALITY),
    later("spec.subsets[].trafficPolicy.loadBalancer.warmup*", BALANCING),
    later("spec.subsets[].trafficPolicy.loadBalancer.backendUtilization", BALANCING),
    on("spec.subsets[].trafficPolicy.connectionPool.tcp.connectTimeout"),
    later("spec.subsets[].trafficPolicy.connectionPool.tcp.max*", RESILIENCE),
    later("spec.subsets[].trafficPolicy.connectionPool.tcp.tcpKeepalive", RESILIENCE),
    later("spec.subsets[].trafficPolicy.connectionPool.tcp.idleTimeout", RESILIENCE),
    later("spec.subsets[].trafficPolicy.connectionPool.http", RESILIENCE),
    later("spec.subsets[].trafficPolicy.outlierDetection", RESILIENCE),
    refuses("spec.subsets[].trafficPolicy.tls", TLS),
    later("spec.subsets[].trafficPolicy.portLevelSettings", RESILIENCE),
    refuses("spec.subsets[].trafficPolicy.portLevelSettings[].tls", TLS),
    later("spec.subsets[].trafficPolicy.tunnel", TLS),
    later("spec.subsets[].trafficPolicy.proxyProtocol", TLS),
    later("spec.subsets[].trafficPolicy.retryBudget", RESILIENCE),
];

const GATEWAY: &[Row] = &[
    on("spec.selector.**"),
    on("spec.servers[].hosts.**"),
    on("spec.servers[].name"),
    on("spec.servers[].port.number"),
    on("spec.servers[].port.name"),
    on("spec.servers[].port.protocol"),
    refuses("spec.servers[].port.protocol", "TCP and TLS at gateways").for_values(&["HTTPS", "TLS", "TCP", "MONGO"]),
    moot("spec.servers[].port.targetPort", "deprecated"),
    moot("spec.servers[].defaultEndpoint", "unused at gateways"),
    refuses("spec.servers[].bind", "gateways bound to one address"),
    refuses("spec.servers[].tls", TLS),
];

const SERVICE_ENTRY: &[Row] = &[
    on("spec.hosts.**"),
    on("spec.addresses.**"),
    on("spec.ports.**"),
    on("spec.location"),
    on("spec.resolution"),
    later("spec.resolution", "further ways to resolve").for_values(&["DNS_ROUND_ROBIN", "DYNAMIC_DNS"]),
    on("spec.endpoints[].address"),
    on("spec.endpoints[].ports.**"),
    on("spec.endpoints[].labels.**"),
    on("spec.endpoints[].locality"),
    on("spec.endpoints[].weight"),
    on("spec.endpoints[].serviceAccount"),
    later("spec.endpoints[].network", "several networks"),
    on("spec.exportTo.**"),
    later("spec.workloadSelector", MACHINES),
    refuses("spec.subjectAltNames", TLS),
];

const PEER_AUTHENTICATION: &[Row] =
    &[on("spec.selector.**"), on("spec.mtls.mode"), refuses("spec.portLevelMtls", SECURITY)];

pub(super) const MESH_CONFIG: &[Row] = &[
    on("trustDomain"),
    later("trustDomainAliases", "several trust domains"),
    on("rootNamespace"),
    on("accessLogFile"),
    on("accessLogFormat"),
    on("accessLogEncoding"),
    later("accessLogEncoding", TELEMETRY).for_values(&["JSON"]),
    on("outboundTrafficPolicy.mode"),
    later("outboundTrafficPolicy.mode", "further ways to resolve").for_values(&["ALLOW_ANY_DYNAMIC_DNS"]),
    later("outboundTrafficPolicy.tls", TLS),
    on("inboundTrafficPolicy.mode"),
    on("enableAutoMtls"),
    on("connectTimeout"),
    on("defaultHttpRetryPolicy.**"),
    on("meshMTLS.minProtocolVersion"),
    on("tlsDefaults.minProtocolVersion"),
    moot("meshMTLS.cipherSuites", "mTLS between Mizzen's proxies is TLS 1.3 with its own suites"),
    moot("meshMTLS.ecdhCurves", "post-quantum first is fixed"),
    moot("tlsDefaults.cipherSuites", "no TLS but mTLS yet"),
    moot("tlsDefaults.ecdhCurves", "no TLS but mTLS yet"),
    on("pathNormalization.normalization"),
    on("defaultServiceExportTo.**"),
    on("defaultVirtualServiceExportTo.**"),
    on("defaultDestinationRuleExportTo.**"),
    later("proxyListenPort", "other ports for the proxy"),
    later("proxyInboundListenPort", "other ports for the proxy"),
    later("tcpKeepalive", RESILIENCE),
    moot("protocolDetectionTimeout", "detection never waits for a clock"),
    later("dnsRefreshRate", "further ways to resolve"),
    later("h2UpgradePolicy", RESILIENCE),
    on("defaultConfig.concurrency"),
    on("defaultConfig.drainDuration"),
    on("defaultConfig.terminationDrainDuration"),
    on("defaultConfig.proxyAdminPort"),
    on("defaultConfig.statusPort"),
    on("defaultConfig.discoveryAddress"),
    on("defaultConfig.proxyMetadata.**"),
    on("defaultConfig.holdApplicationUntilProxyStarts"),
    later("defaultConfig.tracing", TELEMETRY),
    later("defaultConfig.gatewayTopology", "proxies in front of gateways"),
    later("defaultConfig.proxyHeaders", HTTP),
    moot("defaultConfig.*", "a setting of Istio's own proxy or agent"),
    later("hboneIdleTimeout", "ambient mode"),
    later("ingress*", "Kubernetes Ingress"),
    later("enableTracing", TELEMETRY),
    moot("disableEnvoyListenerLog", "a setting of Envoy"),
    later("caCertificates", "further trust anchors"),
    later("localityLbSetting", LOCALITY),
    later("zoneAwareLbSetting", LOCALITY),
    later("proxyHttpPort", "an explicit HTTP proxy port"),
    later("enableEnvoyAccessLogService", TELEMETRY),
    later("inboundClusterStatName", TELEMETRY),
    later("outboundClusterStatName", TELEMETRY),
    later("enablePrometheusMerge", TELEMETRY),
    later("extensionProviders", TELEMETRY),
    later("defaultProviders", TELEMETRY),
    later("discoverySelectors", KUBERNETES),
    later("defaultInboundHttpRetryPolicy", RESILIENCE),
    later("defaultTrafficPolicy", RESILIENCE),
    later("service*", "several clusters"),
    later("ca", "an external CA"),
    later("configSources", "further sources"),
    moot("verifyCertificateAtClient", "deprecated"),
];

const SERVICE: &[Row] = &[
    later("spec.sessionAffinity", BALANCING).for_values(&["ClientIP"]),
    moot("spec.externalTrafficPolicy", KUBERNETES),
    moot("spec.internalTrafficPolicy", KUBERNETES),
    moot("spec.loadBalancer*", KUBERNETES),
    moot("spec.allocateLoadBalancerNodePorts", KUBERNETES),
    moot("spec.healthCheckNodePort", KUBERNETES),
    moot("spec.externalIPs", KUBERNETES),
    later("spec.trafficDistribution", LOCALITY),
];

const DEPLOYMENT: &[Row] = &[
    later("spec.template.spec.initContainers", "init containers"),
    later("spec.template.spec.containers[].livenessProbe", "liveness probes"),
    later("spec.template.spec.containers[].startupProbe", "startup probes"),
    later("spec.template.spec.containers[].lifecycle", "lifecycle hooks"),
    moot("spec.template.spec.containers[].resources", KUBERNETES),
    moot("spec.template.spec.containers[].securityContext", "a local process has no privileges anyway"),
    moot("spec.template.spec.securityContext", "a local process has no privileges anyway"),
    moot("spec.template.spec.affinity", KUBERNETES),
    moot("spec.template.spec.nodeSelector", KUBERNETES),
    moot("spec.template.spec.nodeName", KUBERNETES),
    moot("spec.template.spec.tolerations", KUBERNETES),
    moot("spec.template.spec.topologySpreadConstraints", KUBERNETES),
    moot("spec.template.spec.priority*", KUBERNETES),
    moot("spec.template.spec.schedulerName", KUBERNETES),
    moot("spec.template.spec.imagePullSecrets", KUBERNETES),
    later("spec.template.spec.host*", "pods in the host's namespaces"),
    later("spec.template.spec.dns*", "a pod's own DNS settings"),
];
