//! `DestinationRule`.

use super::{
    at_least_1ms, at_most_one, duplicate, hosts, labels, load_balancer, percent, port, timeout, virtual_service,
};
use crate::{
    istio::{
        ClientTls, ClientTlsMode, ConnectionPool, DestinationRule, H2UpgradePolicy, OutlierDetection, PortPolicy,
        TrafficPolicy, Tunnel,
    },
    problem::At,
};

/// Most ports for which a policy may have settings of their own.
const PORT_SETTINGS_MAX: usize = 4_096;

pub(super) fn check(at: &At<'_>, rule: &DestinationRule) {
    hosts::host(&at.field("host"), &rule.host);
    if let Some(policy) = &rule.traffic_policy {
        traffic_policy(&at.field("trafficPolicy"), policy);
    }
    let subsets = at.field("subsets");
    for (index, subset) in rule.subsets.iter().enumerate() {
        let at = subsets.index(index);
        virtual_service::subset_name(&at.field("name"), &subset.name);
        labels(&at.field("labels"), &subset.labels);
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(&at.field("trafficPolicy"), policy);
        }
    }
    if let Some((index, name)) = duplicate(rule.subsets.iter().map(|subset| &subset.name)) {
        subsets.index(index).field("name").error(format!("the subset {name:?} stands here twice"), "");
    }
    hosts::export_to(&at.field("exportTo"), &rule.export_to, false);
    if let Some(selector) = &rule.workload_selector {
        labels(&at.field("workloadSelector").field("matchLabels"), &selector.match_labels);
    }
}

fn traffic_policy(at: &At<'_>, policy: &TrafficPolicy) {
    if let Some(balancer) = &policy.load_balancer {
        load_balancer::check(&at.field("loadBalancer"), balancer);
    }
    if let Some(pool) = &policy.connection_pool {
        connection_pool(&at.field("connectionPool"), pool);
    }
    if let Some(detection) = &policy.outlier_detection {
        outlier_detection(&at.field("outlierDetection"), detection);
    }
    if let Some(settings) = &policy.tls {
        tls(&at.field("tls"), settings);
    }
    if let Some(settings) = &policy.tunnel {
        tunnel(&at.field("tunnel"), settings);
    }
    if let Some(budget) = &policy.retry_budget {
        let at = at.field("retryBudget");
        percent(&at.field("percent"), budget.percent.unwrap_or(0.0));
        at_least_1ms(&at.field("budgetInterval"), budget.budget_interval);
    }
    port_settings(&at.field("portLevelSettings"), &policy.port_level_settings);
}

fn port_settings(at: &At<'_>, settings: &[PortPolicy]) {
    if settings.len() > PORT_SETTINGS_MAX {
        at.error(format!("at most {PORT_SETTINGS_MAX} ports"), "");
    }
    for (index, setting) in settings.iter().enumerate() {
        let at = at.index(index);
        match setting.port {
            Some(selector) => port(&at.field("port").field("number"), selector.number),
            None => at.field("port").error("the port is required", "{number: 8080}"),
        }
        if let Some(balancer) = &setting.load_balancer {
            load_balancer::check(&at.field("loadBalancer"), balancer);
        }
        if let Some(pool) = &setting.connection_pool {
            connection_pool(&at.field("connectionPool"), pool);
        }
        if let Some(detection) = &setting.outlier_detection {
            outlier_detection(&at.field("outlierDetection"), detection);
        }
        if let Some(settings) = &setting.tls {
            tls(&at.field("tls"), settings);
        }
    }
    if let Some((index, _)) =
        duplicate(settings.iter().filter_map(|setting| setting.port.map(|selector| selector.number)))
    {
        at.index(index).error("the port stands here twice", "");
    }
}

fn connection_pool(at: &At<'_>, pool: &ConnectionPool) {
    if let Some(tcp) = &pool.tcp {
        let at = at.field("tcp");
        at_least_1ms(&at.field("connectTimeout"), tcp.connect_timeout);
        at_least_1ms(&at.field("maxConnectionDuration"), tcp.max_connection_duration);
        timeout(&at.field("idleTimeout"), tcp.idle_timeout);
        if let Some(keepalive) = &tcp.tcp_keepalive {
            let at = at.field("tcpKeepalive");
            at_least_1ms(&at.field("time"), keepalive.time);
            at_least_1ms(&at.field("interval"), keepalive.interval);
        }
    }
    if let Some(http) = &pool.http {
        let at = at.field("http");
        timeout(&at.field("idleTimeout"), http.idle_timeout);
        if http.use_client_protocol == Some(true) && http.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade) {
            at.field("useClientProtocol").error("excludes `h2UpgradePolicy: UPGRADE`", "");
        }
        if let Some(keepalive) = &http.http2_keep_alive {
            let at = at.field("http2KeepAlive");
            if keepalive.interval.is_none() || keepalive.timeout.is_none() {
                at.error("`interval` and `timeout` are both required", "{interval: 30s, timeout: 10s}");
            }
            at_least_1ms(&at.field("interval"), keepalive.interval);
            at_least_1ms(&at.field("timeout"), keepalive.timeout);
        }
    }
}

fn outlier_detection(at: &At<'_>, detection: &OutlierDetection) {
    at_least_1ms(&at.field("interval"), detection.interval);
    at_least_1ms(&at.field("baseEjectionTime"), detection.base_ejection_time);
    percent(&at.field("maxEjectionPercent"), f64::from(detection.max_ejection_percent.unwrap_or(0)));
    percent(&at.field("minHealthPercent"), f64::from(detection.min_health_percent.unwrap_or(0)));
    if detection.consecutive_errors.is_some() {
        at.field("consecutiveErrors").warn("is deprecated", "consecutive5xxErrors: 5");
    }
    if detection.consecutive_local_origin_failures.is_some()
        && detection.split_external_local_origin_errors != Some(true)
    {
        at.field("consecutiveLocalOriginFailures")
            .warn("has an effect only with `splitExternalLocalOriginErrors: true`", "");
    }
    for (index, status) in detection.outlier_detection_http_error_codes.iter().enumerate() {
        if !(100..600).contains(status) {
            at.field("outlierDetectionHttpErrorCodes").index(index).error("expected a status from 100 to 599", "429");
        }
    }
}

fn tls(at: &At<'_>, settings: &ClientTls) {
    let files = settings.client_certificate.is_some() || settings.private_key.is_some();
    let credential = settings.credential_name.is_some();
    match settings.mode {
        ClientTlsMode::Mutual => {
            at_most_one(at, &[("credentialName", credential), ("clientCertificate", files)]);
            if !credential && (settings.client_certificate.is_none() || settings.private_key.is_none()) {
                at.error(
                    "MUTUAL needs `credentialName`, or `clientCertificate` and `privateKey`",
                    "credentialName: client-cert",
                );
            }
        }
        ClientTlsMode::IstioMutual => {
            if files || credential || settings.ca_certificates.is_some() {
                at.error(
                    "ISTIO_MUTUAL uses the mesh's own certificates: no file and no `credentialName`",
                    "mode: ISTIO_MUTUAL",
                );
            }
        }
        ClientTlsMode::Disable | ClientTlsMode::Simple => {}
    }
    if settings.insecure_skip_verify == Some(true) && settings.ca_certificates.is_some() {
        at.field("insecureSkipVerify").error("excludes `caCertificates`", "");
    }
    for (index, name) in settings.subject_alt_names.iter().enumerate() {
        if name.is_empty() {
            at.field("subjectAltNames")
                .index(index)
                .error("expected a name, found an empty text", "reviews.example.com");
        }
    }
}

fn tunnel(at: &At<'_>, settings: &Tunnel) {
    if settings.protocol.as_deref().is_some_and(|protocol| !matches!(protocol, "CONNECT" | "POST")) {
        at.field("protocol").error("expected `CONNECT` or `POST`", "CONNECT");
    }
    hosts::destination(&at.field("targetHost"), &settings.target_host);
    port(&at.field("targetPort"), settings.target_port);
}
