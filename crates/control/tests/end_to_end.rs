//! The whole control plane in one process: files in, configuration and certificates out, over real sockets.

mod common;

use common::{Dirs, PATIENCE, Plane, Proxy, Way, node, route, service};
use http::{Method, StatusCode};
use mizzen_control::{StartError, start};
use mizzen_pki::SpiffeId;
use tonic::Code;

const REVIEWS: &str = "outbound|80||reviews.shop.svc.cluster.local";

fn id(namespace: &str, account: &str) -> SpiffeId {
    SpiffeId::workload("cluster.local", namespace, account).expect("valid")
}

#[tokio::test(flavor = "multi_thread")]
async fn files_reach_the_proxy_and_so_does_an_edit() {
    let files = [("reviews.yaml", service("reviews")), ("ratings.yaml", service("ratings"))];
    let plane = Plane::new("files", &files.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    let way = plane.way(Some(plane.token("shop", "cart").await), None).await;
    let mut proxy = Proxy::start(way, node("shop", "cart"));
    let host = "80/reviews.shop.svc.cluster.local:80";
    proxy
        .until(|proxy| {
            let listener = proxy.has("LDS", "0.0.0.0_80") && proxy.has("LDS", "virtualInbound");
            let hosts = proxy.has("RDS", "80") && proxy.has("VHDS", host);
            proxy.has("CDS", REVIEWS) && proxy.has("EDS", REVIEWS) && listener && hosts
        })
        .await;
    let generation = plane.json(Method::GET, "/v1/status", "").await["generation"].as_u64().expect("a number");
    let uri = format!("/v1/wait?generation={generation}&timeout_ms=20000");
    let progress = proxy.follow(plane.json(Method::GET, &uri, "")).await;
    assert_eq!((&progress["applied"], &progress["total"]), (&progress["total"], &progress["applied"]));

    // One edit: one virtual host, nothing else.
    let (before, held) = (proxy.received, proxy.held.clone());
    plane.dirs.write("route.yaml", &route("reviews", "7s"));
    let key = ("VHDS", host.to_owned());
    proxy.until(|proxy| proxy.held[&key] != held[&key]).await;
    assert_eq!(proxy.received, before + 1);
    let uri = format!("/v1/wait?generation={}&timeout_ms=20000", generation + 1);
    let progress = proxy.follow(plane.json(Method::GET, &uri, "")).await;
    assert_eq!((progress["applied"].as_u64(), progress["total"].as_u64()), (Some(1), Some(1)));
    assert!(progress["ms"].as_f64().is_some_and(|ms| ms > 0.0));
    let changes = plane.json(Method::GET, "/v1/changes?since=0&timeout_ms=20000", "").await;
    let change = changes["changes"].as_array().and_then(|changes| changes.last()).expect("one").clone();
    assert!(change["files"][0].as_str().is_some_and(|file| file.ends_with("route.yaml")), "{change}");
    assert_eq!(change["objects"], serde_json::json!(["VirtualService/shop/reviews"]));
    assert_eq!((change["applied"].as_u64(), change["ms"].as_f64()), (Some(1), progress["ms"].as_f64()));

    // The file goes: so does what it changed.
    std::fs::remove_file(plane.dirs.config().join("ratings.yaml")).expect("removed");
    proxy.until(|proxy| !proxy.has("CDS", "outbound|80||ratings.shop.svc.cluster.local")).await;
    assert!(!proxy.has("VHDS", "80/ratings.shop.svc.cluster.local:80") && proxy.has("CDS", REVIEWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_not_served() {
    let plane = Plane::new("strangers", &[("reviews.yaml", &service("reviews"))]).await;
    let token = Some(plane.token("shop", "cart").await);
    let forged = token.as_ref().map(|token| format!("{token}x"));
    for (token, namespace, account, code) in [
        (None, "shop", "cart", Code::Unauthenticated),
        (forged, "shop", "cart", Code::Unauthenticated),
        (token.clone(), "other", "cart", Code::PermissionDenied),
        (token.clone(), "shop", "other", Code::PermissionDenied),
    ] {
        let mut proxy = Proxy::start(plane.way(token, None).await, node(namespace, account));
        assert_eq!(proxy.refusal().await, code, "{namespace} {account}");
    }
    let mut odd = node("shop", "cart");
    odd.id = "debug~0.0.0.0~a~b".to_owned();
    let mut proxy = Proxy::start(plane.way(token, None).await, odd);
    assert_eq!(proxy.refusal().await, Code::InvalidArgument);
    let plaintext = Way { address: plane.running.plaintext, tls: None, token: None };
    let mut proxy = Proxy::start(plaintext.clone(), node("shop", "cart"));
    proxy.until(|proxy| proxy.has("CDS", REVIEWS)).await;
    let refused = plaintext.certificate(&id("shop", "cart")).await.map(drop);
    assert_eq!(refused.map_err(|status| status.code()), Err(Code::Unauthenticated));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_for_the_caller_only_and_open_the_door() {
    let plane = Plane::new("certificates", &[("reviews.yaml", &service("reviews"))]).await;
    let by_token = plane.way(Some(plane.token("shop", "cart").await), None).await;
    for other in [id("shop", "other"), id("other", "cart"), id("istio-system", "istiod")] {
        let refused = by_token.certificate(&other).await.map(drop);
        assert_eq!(refused.map_err(|status| status.code()), Err(Code::PermissionDenied), "{other}");
    }
    let svid = by_token.certificate(&id("shop", "cart")).await.expect("signed");
    let life = svid.not_after.as_secs() - common::now().as_secs();
    assert!((3500..=3600).contains(&life), "{life}");
    let by_certificate = plane.way(None, Some(&svid)).await;
    let renewed = by_certificate.certificate(&id("shop", "cart")).await.expect("signed");
    assert_ne!(renewed.serial, svid.serial);
    let refused = by_certificate.certificate(&id("shop", "other")).await.map(drop);
    assert_eq!(refused.map_err(|status| status.code()), Err(Code::PermissionDenied));
    // The certificate counts, not a token that is shown beside it.
    let both = plane.way(Some(plane.token("shop", "other").await), Some(&renewed)).await;
    let mut proxy = Proxy::start(both.clone(), node("shop", "other"));
    assert_eq!(proxy.refusal().await, Code::PermissionDenied);
    let mut proxy = Proxy::start(both, node("shop", "cart"));
    proxy.until(|proxy| proxy.has("CDS", REVIEWS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_refuses_is_shown() {
    let plane = Plane::new("refused", &[("reviews.yaml", &service("reviews"))]).await;
    let mut proxy = Proxy::start(plane.way(Some(plane.token("shop", "cart").await), None).await, node("shop", "cart"));
    proxy.refuse = Some("virtualInbound");
    proxy.until(|proxy| proxy.has("VHDS", "80/reviews.shop.svc.cluster.local:80")).await;
    let seen = async {
        loop {
            let status = plane.json(Method::GET, "/v1/status", "").await;
            let proxy = &status["proxies"][0];
            if proxy["last_error"] == "LDS: virtualInbound: not here" {
                return proxy.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let shown = tokio::time::timeout(PATIENCE, proxy.follow(seen)).await.expect("in time");
    assert_eq!((shown["connected"].as_bool(), shown["generation"].as_u64()), (Some(true), Some(0)));
}

const POLICY: &str =
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny, namespace: shop}\nspec: {}\n";

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_are_not_enforced_stop_everything() {
    let dirs = Dirs::new("policies", &[("a.yaml", &service("reviews")), ("b.yaml", &format!("\n{POLICY}"))]);
    let mut options = dirs.options();
    let error = start(&options).await.map(drop).expect_err("it must not start");
    assert!(matches!(error, StartError::Unenforced { .. }));
    let text = error.to_string();
    assert!(text.contains("b.yaml:2") && text.contains("AuthorizationPolicy/shop/deny"), "{text}");
    assert!(text.contains("--allow-unenforced"), "{text}");
    assert!(!common::exists(&dirs.socket()));
    options.allow_unenforced = true;
    drop(start(&options).await.expect("it was asked to"));

    // One that comes later holds back everything that comes with it and after it.
    let plane = Plane::new("late-policy", &[("a.yaml", &service("reviews"))]).await;
    let mut proxy = Proxy::start(plane.way(Some(plane.token("shop", "cart").await), None).await, node("shop", "cart"));
    proxy.until(|proxy| proxy.has("CDS", REVIEWS)).await;
    plane.dirs.write("b.yaml", POLICY);
    let held_back = async {
        loop {
            let status = plane.json(Method::GET, "/v1/status", "").await;
            let messages = status["findings"].as_array().expect("a list").iter();
            if messages
                .clone()
                .any(|finding| finding["object"] == "AuthorizationPolicy/shop/deny" && finding["line"] == 1)
            {
                return status["generation"].as_u64();
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, proxy.follow(held_back)).await.expect("in time"), Some(1));
    plane.dirs.write("c.yaml", &service("ratings"));
    std::fs::remove_file(plane.dirs.config().join("b.yaml")).expect("removed");
    proxy.until(|proxy| proxy.has("CDS", "outbound|80||ratings.shop.svc.cluster.local")).await;
}

const BAD: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: shop}\nspec: {prots: []}\n";

#[tokio::test(flavor = "multi_thread")]
async fn control_socket() {
    let plane = Plane::new("socket", &[("a.yaml", &service("reviews")), ("bad.yaml", BAD)]).await;
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(plane.dirs.socket()).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let pod = r#"{"kind":"List","apiVersion":"v1","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"shop"},
        "spec":{"containers":[]},"status":{"podIP":"10.0.0.2"}}]}"#;
    let generation = plane.json(Method::PUT, "/v1/runtime", pod).await["generation"].as_u64().expect("a number");
    assert_eq!(generation, 2);
    plane.json(Method::GET, "/v1/wait?generation=2&timeout_ms=20000", "").await;
    let pods = plane.json(Method::GET, "/v1/objects?kind=pods", "").await;
    assert_eq!((pods[0]["object"].as_str(), pods[0]["state"].as_str()), (Some("Pod/shop/p"), Some("in force")));
    for (method, uri, body, status) in [
        (Method::GET, "/v1/wait?generation=99&timeout_ms=1", "", StatusCode::GATEWAY_TIMEOUT),
        (Method::GET, "/v1/wait?generation=x", "", StatusCode::BAD_REQUEST),
        (Method::GET, "/v1/changes?since=0&timeout_ms=1", "", StatusCode::OK),
        (Method::GET, "/v1/objects?kind=Nothing", "", StatusCode::BAD_REQUEST),
        (Method::POST, "/v1/token", r#"{"namespace":"a/sa/b","service_account":"c"}"#, StatusCode::BAD_REQUEST),
        (Method::POST, "/v1/token", "{", StatusCode::BAD_REQUEST),
        (Method::PUT, "/v1/runtime", "a: [", StatusCode::BAD_REQUEST),
        (Method::GET, "/v1/other", "", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(plane.ask(method, uri, body).await.0, status, "{uri}");
    }
    let status = plane.json(Method::GET, "/v1/status", "").await;
    let finding = &status["findings"][0];
    assert!(finding["file"].as_str().is_some_and(|file| file.ends_with("bad.yaml")), "{status}");
    assert_eq!(
        (&finding["severity"], &finding["line"], &finding["object"]),
        (&"error".into(), &4.into(), &"Service/shop/bad".into())
    );
    assert_eq!(status["last_change"], serde_json::Value::Null, "the first reading is no change");
    let objects = plane.json(Method::GET, "/v1/objects?kind=svc", "").await;
    let states = objects.as_array().expect("a list").iter().map(|object| object["state"].as_str().expect("text"));
    assert_eq!(states.collect::<Vec<_>>(), ["in force", "refused"]);
    let error = start(&plane.dirs.options()).await.map(drop).expect_err("the socket is taken");
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn monitoring() {
    let plane = Plane::new("monitoring", &[("a.yaml", &service("reviews"))]).await;
    let tokens =
        [plane.token("shop", "cart").await, plane.token("other", "x").await, plane.token("istio-system", "x").await];
    let mut proxy = Proxy::start(plane.way(Some(tokens[0].clone()), None).await, node("shop", "cart"));
    proxy.until(|proxy| proxy.has("CDS", REVIEWS)).await;
    assert_eq!(plane.monitoring("/ready", None).await.0, StatusCode::OK);
    assert!(plane.monitoring("/version", None).await.1.contains("version"));
    let (_, metrics) = plane.monitoring("/metrics", None).await;
    assert!(metrics.contains("\npilot_xds 1\n") && metrics.contains("pilot_xds_pushes{type=\"cds\"} 1\n"), "{metrics}");
    assert_eq!(plane.monitoring("/debug/syncz", None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(plane.monitoring("/debug/syncz", Some("x")).await.0, StatusCode::UNAUTHORIZED);
    for (token, shown) in tokens.iter().zip([true, false, true]) {
        let (status, clients) = plane.monitoring("/debug/syncz", Some(token)).await;
        assert_eq!((status, clients.contains("p.shop")), (StatusCode::OK, shown));
    }
    assert_eq!(plane.monitoring("/other", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_is_for_loopback() {
    let dirs = Dirs::new("plaintext", &[]);
    let mut options = dirs.options();
    options.plaintext_address = "0.0.0.0:0".parse().expect("an address");
    let error = start(&options).await.map(drop).expect_err("it must not start");
    assert!(matches!(error, StartError::PlaintextAddress { .. }));
}
