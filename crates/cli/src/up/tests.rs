//! What is refused before anything starts.

use std::{net::SocketAddr, sync::Arc};

use super::*;

fn objects(text: &str) -> Objects {
    let loaded = mizzen_api::load("mesh.yaml", text).objects;
    loaded.into_iter().map(|object| (object.id.clone(), Arc::new(object))).collect()
}

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
";

#[test]
fn a_taken_port_names_itself_its_object_and_the_flag() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let host: SocketAddr = holder.local_addr().expect("it is bound");
    let object = objects(GATEWAY).values().next().cloned().expect("one object");
    let wanted = Published { host, gateway: Name::new("istio-system", "istio-ingressgateway"), port: 80, object };
    let error = bind(std::slice::from_ref(&wanted)).expect_err("it is taken").to_string();
    for words in [&format!("port {} is taken", host.port()), "Gateway/default/web (mesh.yaml:2)", "--publish", ":80"] {
        assert!(error.contains(words), "`{words}` in {error}");
    }
    drop(holder);
    assert_eq!(bind(&[wanted]).expect("it is free").len(), 1);
}

#[test]
fn policies_that_are_not_enforced_stop_the_start() {
    let policy = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: shop}
spec: {}
";
    let error = refuse_unenforced(&objects(policy)).expect_err("refused").to_string();
    assert!(
        error.contains("AuthorizationPolicy/shop/deny (mesh.yaml:2)") && error.contains("--allow-unenforced"),
        "{error}"
    );
    assert!(refuse_unenforced(&objects(GATEWAY)).is_ok());
}
