//! Kubernetes' `Deployment` and `Pod`.

use super::{address, duplicate, labels, service, wide_port};
use crate::{
    k8s::{Container, DeploymentSpec, IntOrString, Pod, PodSpec, Probe},
    problem::At,
};

/// The shortest list of containers that runs something.
const EXAMPLE: &str = "[{name: app, command: [./app]}]";

pub(super) fn deployment(at: &At<'_>, deployment: &DeploymentSpec) {
    if deployment.replicas.is_some_and(|replicas| replicas < 0) {
        at.field("replicas").error("expected 0 or more", "1");
    }
    let wanted = deployment.selector.match_labels.clone().unwrap_or_default();
    if wanted.is_empty() && deployment.selector.match_expressions.as_ref().is_none_or(Vec::is_empty) {
        at.field("selector").error("a selector is required", "{matchLabels: {app: reviews}}");
    }
    labels(&at.field("selector").field("matchLabels"), &wanted);
    let template = at.field("template");
    let metadata = deployment.template.metadata.as_ref();
    let carried = metadata.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    labels(&template.field("metadata").field("labels"), &carried);
    for (key, value) in wanted.iter().filter(|(key, value)| carried.get(*key) != Some(value)) {
        template.field("metadata").field("labels").error(
            format!("the selector asks for `{key}: {value}`, which the pods do not carry"),
            format!("{{{key}: {value}}}"),
        );
    }
    match &deployment.template.spec {
        Some(spec) => {
            if spec.containers.is_empty() {
                template.field("spec").field("containers").error("at least one container is required", EXAMPLE);
            }
            pod_spec(&template.field("spec"), spec);
        }
        None => template.field("spec").error("containers are required", format!("{{containers: {EXAMPLE}}}")),
    }
}

pub(super) fn pod(at: &At<'_>, pod: &Pod) {
    pod_spec(&at.field("spec"), &pod.spec);
    if let Some(ip) = pod.status.pod_ip.as_deref().filter(|ip| !ip.is_empty()) {
        address(&at.field("status").field("podIP"), ip, false);
    }
    for (index, ip) in pod.status.pod_ips.iter().flatten().enumerate() {
        address(&at.field("status").field("podIPs").index(index).field("ip"), &ip.ip, false);
    }
}

fn pod_spec(at: &At<'_>, spec: &PodSpec) {
    let field = at.field("containers");
    for (index, container) in spec.containers.iter().enumerate() {
        check_container(&field.index(index), container);
    }
    if let Some((index, name)) = duplicate(spec.containers.iter().map(|container| &container.name)) {
        field.index(index).field("name").error(format!("the container {name:?} stands here twice"), "");
    }
    let restart = spec.restart_policy.as_deref();
    if restart.is_some_and(|policy| !matches!(policy, "Always" | "OnFailure" | "Never")) {
        at.field("restartPolicy").error("expected `Always`, `OnFailure` or `Never`", "Always");
    }
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        at.field("terminationGracePeriodSeconds").error("expected 0 or more seconds", "30");
    }
}

fn check_container(at: &At<'_>, container: &Container) {
    if !super::is_dns_label(&container.name) {
        at.field("name")
            .error(format!("expected lower-case letters, digits and `-`, found {:?}", container.name), "app");
    }
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let at = at.field("ports");
        let at = at.index(index);
        wide_port(&at.field("containerPort"), port.container_port);
        if let Some(name) = &port.name {
            service::port_name(&at.field("name"), name);
        }
        service::protocol(&at.field("protocol"), port.protocol.as_deref());
    }
    for (index, variable) in container.env.iter().flatten().enumerate() {
        let at = at.field("env");
        let at = at.index(index);
        if variable.name.is_empty() || variable.name.contains(['=', '\0']) {
            at.field("name").error(format!("{:?} is no name of an environment variable", variable.name), "PORT");
        }
        super::at_most_one(&at, &[("value", variable.value.is_some()), ("valueFrom", variable.value_from.is_some())]);
    }
    let probes = [
        ("readinessProbe", &container.readiness_probe),
        ("livenessProbe", &container.liveness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    for (name, probe) in probes {
        if let Some(probe) = probe {
            check_probe(&at.field(name), probe);
        }
    }
}

fn check_probe(at: &At<'_>, probe: &Probe) {
    let handlers = [
        ("httpGet", probe.http_get.is_some()),
        ("tcpSocket", probe.tcp_socket.is_some()),
        ("exec", probe.exec.is_some()),
        ("grpc", probe.grpc.is_some()),
    ];
    super::exactly_one(at, &handlers);
    let ports = [
        ("httpGet", probe.http_get.as_ref().map(|action| &action.port)),
        ("tcpSocket", probe.tcp_socket.as_ref().map(|action| &action.port)),
    ];
    for (name, port) in ports {
        let at = at.field(name);
        match port {
            Some(IntOrString::Int(number)) => wide_port(&at.field("port"), *number),
            Some(IntOrString::String(name)) => service::port_name(&at.field("port"), name),
            None => {}
        }
    }
    if let Some(action) = &probe.grpc {
        wide_port(&at.field("grpc").field("port"), action.port);
    }
    let counts = [
        ("periodSeconds", probe.period_seconds, 1),
        ("timeoutSeconds", probe.timeout_seconds, 1),
        ("successThreshold", probe.success_threshold, 1),
        ("failureThreshold", probe.failure_threshold, 1),
        ("initialDelaySeconds", probe.initial_delay_seconds, 0),
    ];
    for (name, value, min) in counts {
        if value.is_some_and(|value| value < min) {
            at.field(name).error(format!("expected {min} or more"), "10");
        }
    }
}
