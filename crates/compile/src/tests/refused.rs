//! What is not enforced yet and would restrict or encrypt refuses its traffic, and says which object it is.

use super::listeners::handler;
use super::{cluster, compile, listener, service, sidecar, virtual_host};

#[test]
fn a_policy_that_is_not_enforced_closes_the_workload() {
    let text = format!(
        "{}apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: ports}}\n\
         spec: {{selector: {{matchLabels: {{app: web}}}}, mtls: {{mode: STRICT}}, portLevelMtls: {{'80': {{mode: PERMISSIVE}}}}}}\n",
        service("web", "{name: http, port: 80}", "10.244.0.1")
    );
    let inbound = listener(&compile(&text, &sidecar("default", "10.244.0.1")), "virtualInbound");
    let chains: Vec<_> = inbound.filter_chains.iter().map(handler).collect();
    assert_eq!(chains, ["tcp BlackHoleCluster", "tcp BlackHoleCluster"]);
    assert!(format!("{:?}", inbound.filter_chains[1].metadata).contains("PeerAuthentication/default/ports"));
    let other = listener(&compile(&text, &sidecar("default", "10.244.0.9")), "virtualInbound");
    assert!(other.filter_chains.len() > 2, "others are not concerned");
}

#[test]
fn a_rule_with_tls_that_is_not_enforced_leads_nowhere() {
    let text = format!(
        "{}apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: tls}}\n\
         spec: {{host: web, trafficPolicy: {{tls: {{mode: SIMPLE}}}}, subsets: [{{name: v1, labels: {{app: web}}}}]}}\n",
        service("web", "{name: http, port: 80}", "10.244.0.1")
    );
    let set = compile(&text, &sidecar("default", ""));
    for name in ["outbound|80||web.default.svc.cluster.local", "outbound|80|v1|web.default.svc.cluster.local"] {
        let web = cluster(&set, name);
        assert!(
            format!("{:?}", web.cluster_discovery_type).contains("Static") || web.load_assignment.is_none(),
            "{web:?}"
        );
        assert!(web.eds_cluster_config.is_none() && web.transport_socket_matches.is_empty());
        assert!(format!("{:?}", web.metadata).contains("DestinationRule/default/tls"));
        assert!(set.get(crate::Kind::Endpoints, name).is_none());
    }
}

#[test]
fn actions_that_are_not_enforced_answer_503() {
    let text = format!(
        "{}apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec: {{hosts: [web], http: [{{redirect: {{uri: /x}}}}]}}\n",
        service("web", "{name: http, port: 80}", "10.244.0.1")
    );
    let host = virtual_host(&compile(&text, &sidecar("default", "")), "80/web.default.svc.cluster.local:80");
    let text = format!("{:?}", host.routes);
    assert!(
        text.contains("status: 503")
            && text.contains("VirtualService/default/v: spec.http[0]: redirect is not enforced yet"),
        "{text}"
    );
}
