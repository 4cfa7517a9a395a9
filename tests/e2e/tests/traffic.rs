//! Routing, as VirtualServices ask for it, between unmodified processes.

use std::collections::HashMap;

use mizzen_e2e::{Mesh, eventually, header};

/// Three versions of an echo server behind one service, and a client.
const WORKLOADS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: http2, port: 81, targetPort: 8080}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo-v1}
spec:
  selector: {matchLabels: {app: echo, version: v1}}
  template:
    metadata:
      labels: {app: echo, version: v1}
      annotations: {mizzen.io/local-command: "mizzen-peer echo --port 8080 --name v1"}
    spec: {containers: [{name: echo}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo-v2}
spec:
  selector: {matchLabels: {app: echo, version: v2}}
  template:
    metadata:
      labels: {app: echo, version: v2}
      annotations: {mizzen.io/local-command: "mizzen-peer echo --port 8080 --name v2"}
    spec: {containers: [{name: echo}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata:
      labels: {app: client}
      annotations: {mizzen.io/local-command: "mizzen-peer tcp-echo --port 9000"}
    spec: {containers: [{name: client}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
"#;

fn virtual_service(http: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: echo}}\nspec:\n  hosts: [echo]\n  http:\n{http}"
    )
}

const TO_V1: &str = "  - route: [{destination: {host: echo, subset: v1, port: {number: 80}}}]\n";

fn mesh(http: &str) -> Mesh {
    Mesh::up(&[("workloads.yaml", WORKLOADS), ("routes.yaml", &virtual_service(http))], &[])
}

/// Which version answered.
fn version(mesh: &Mesh, arguments: &[&str]) -> String {
    let (status, body) = mesh.curl("client", arguments);
    let name =
        serde_json::from_str::<serde_json::Value>(&body).ok().and_then(|json| Some(json["peer"].as_str()?.to_owned()));
    name.unwrap_or_else(|| format!("{status}: {body}"))
}

#[test]
fn matches_on_everything_that_a_request_has() {
    let mesh = mesh(
        "  - match: [{headers: {x-user: {exact: jason}}}]\n    route: [{destination: {host: echo, subset: v2, port: {number: 80}}}]\n\
         \x20 - match: [{uri: {prefix: /two}}]\n    route: [{destination: {host: echo, subset: v2, port: {number: 80}}}]\n\
         \x20 - match: [{method: {exact: PUT}}]\n    route: [{destination: {host: echo, subset: v2, port: {number: 80}}}]\n\
         \x20 - match: [{queryParams: {canary: {exact: 'yes'}}}]\n    route: [{destination: {host: echo, subset: v2, port: {number: 80}}}]\n\
         \x20 - match: [{uri: {regex: '/re[0-9]+x'}}]\n    route: [{destination: {host: echo, subset: v2, port: {number: 80}}}]\n\
         \x20 - match: [{sourceLabels: {app: nobody}}]\n    route: [{destination: {host: echo, subset: v2, port: {number: 80}}}]\n\
         \x20 - route: [{destination: {host: echo, subset: v1, port: {number: 80}}}]\n",
    );
    let cases: &[(&[&str], &str)] = &[
        (&["http://echo/"], "v1"),
        (&["-H", "x-user: jason", "http://echo/"], "v2"),
        (&["-H", "x-user: jasons", "http://echo/"], "v1"),
        (&["http://echo/two"], "v2"),
        (&["http://echo/twofold"], "v2"),
        (&["http://echo/on/two"], "v1"),
        (&["-X", "PUT", "http://echo/"], "v2"),
        (&["http://echo/?canary=yes"], "v2"),
        (&["http://echo/?canary=yess"], "v1"),
        (&["http://echo/re12x"], "v2"),
        (&["http://echo/re12xy"], "v1"),
        (&["http://echo.default.svc.cluster.local/two"], "v2"),
        (&["http://echo.default:80/two"], "v2"),
    ];
    for (arguments, want) in cases {
        assert_eq!(version(&mesh, arguments), *want, "{arguments:?}");
    }
    mesh.apply(
        "routes.yaml",
        &virtual_service(
            "  - match: [{sourceLabels: {app: client}}]\n    route: [{destination: {host: echo, subset: v2, port: {number: 80}}}]\n  - route: [{destination: {host: echo, subset: v1, port: {number: 80}}}]\n",
        ),
    );
    assert_eq!(version(&mesh, &["http://echo/"]), "v2", "the source's labels");
    assert_eq!(version(&mesh, &["--http2-prior-knowledge", "http://echo/"]), "v2", "over HTTP/2 as well");
}

#[test]
fn weights_are_kept() {
    let mesh = mesh(
        "  - route:\n    - {destination: {host: echo, subset: v1, port: {number: 80}}, weight: 70}\n    - {destination: {host: echo, subset: v2, port: {number: 80}}, weight: 30}\n",
    );
    let mut counts: HashMap<String, u32> = HashMap::new();
    let script = "for i in $(seq 400); do curl -s http://echo/; echo; done";
    let output = mesh.exec("client", &["sh", "-c", script]);
    for line in output.out.lines().filter(|line| line.starts_with('{')) {
        let json: serde_json::Value = serde_json::from_str(line).expect("JSON");
        *counts.entry(json["peer"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
    }
    let total: u32 = counts.values().sum();
    assert_eq!(total, 400, "{output:?}");
    // 5 σ of a binomial with n = 400, p = 0.3.
    let v2 = f64::from(counts.get("v2").copied().unwrap_or_default());
    assert!((v2 - 120.0).abs() < 5.0 * (400.0_f64 * 0.3 * 0.7).sqrt(), "{counts:?}");
}

#[test]
fn headers_and_paths_are_rewritten() {
    let mesh = mesh(
        "  - match: [{uri: {prefix: /old/}}]\n    rewrite: {uri: /new/}\n    headers:\n      request: {set: {x-set: one}, add: {x-add: two}, remove: [x-gone]}\n      response: {set: {x-answer: three}}\n    route: [{destination: {host: echo, subset: v1, port: {number: 80}}}]\n  - route: [{destination: {host: echo, subset: v1, port: {number: 80}}}]\n",
    );
    let (status, text) = mesh.curl("client", &["-i", "-H", "x-gone: 1", "-H", "x-set: 0", "http://echo/old/a?b=c"]);
    assert_eq!(status, 200);
    let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
    assert!(head.to_lowercase().contains("x-answer: three"), "{head}");
    let json: serde_json::Value = serde_json::from_str(body.trim()).expect("JSON");
    assert_eq!(json["uri"], "/new/a?b=c", "{body}");
    for (name, value) in [("x-set", "one"), ("x-add", "two"), ("x-gone", ""), ("x-envoy-attempt-count", "1")] {
        assert_eq!(header(&json, name), value, "{name}: {body}");
    }
    assert!(!header(&json, "x-request-id").is_empty(), "{body}");
}

#[test]
fn a_timeout_answers_504_and_not_before_its_time() {
    let mesh = mesh("  - timeout: 0.5s\n    route: [{destination: {host: echo, subset: v1, port: {number: 80}}}]\n");
    let output =
        mesh.exec("client", &["curl", "-s", "-w", "\n%{http_code} %{time_total}", "http://echo/?delay_ms=5000"]);
    let (body, figures) = output.out.rsplit_once('\n').expect("figures");
    let (status, seconds) = figures.split_once(' ').expect("two figures");
    assert_eq!(status, "504", "{output:?}");
    assert!(body.contains("upstream request timeout"), "{body}");
    let seconds: f64 = seconds.parse().expect("seconds");
    assert!((0.5..5.0).contains(&seconds), "{seconds}");
}

#[test]
fn retries_are_made_and_counted_at_the_server() {
    let mesh = mesh(
        "  - retries: {attempts: 3, retryOn: '5xx'}\n    route: [{destination: {host: echo, subset: v1, port: {number: 80}}}]\n",
    );
    let (status, body) = mesh.curl("client", &["http://echo/?fail_first=2&key=a"]);
    assert_eq!(status, 200, "two failures, then an answer: {body}");
    assert!(body.contains("\"3\""), "the attempt count reaches the server: {body}");
    let (status, _) = mesh.curl("client", &["http://echo/?status=503"]);
    assert_eq!(status, 503, "when all tries fail, the last answer is the client's");
    mesh.apply(
        "routes.yaml",
        &virtual_service(
            "  - retries: {attempts: 0}\n    route: [{destination: {host: echo, subset: v1, port: {number: 80}}}]\n",
        ),
    );
    let (status, _) = mesh.curl("client", &["http://echo/?fail_first=1&key=b"]);
    assert_eq!(status, 503, "attempts 0 switches retries off");
}

#[test]
fn fifty_edits_under_load_lose_nothing() {
    let mesh = mesh(TO_V1);
    let load = |version: &str| {
        mesh.spawn(
            "client",
            &[
                "mizzen-peer",
                "load",
                "--url",
                "http://echo/",
                "--rps",
                "500",
                "--connections",
                "16",
                "--http",
                version,
                "--duration",
                "25",
            ],
        )
    };
    let (http1, http2) = (load("1"), load("2"));
    eventually("the first answer", || (version(&mesh, &["http://echo/"]) == "v1").then_some(()));
    for edit in 0..50 {
        let subset = if edit % 2 == 0 { "v2" } else { "v1" };
        mesh.apply(
            "routes.yaml",
            &virtual_service(&format!(
                "  - route: [{{destination: {{host: echo, subset: {subset}, port: {{number: 80}}}}}}]\n"
            )),
        );
        assert_eq!(version(&mesh, &["http://echo/"]), subset, "edit {edit} is in force");
    }
    for load in [http1, http2] {
        let output = load.wait();
        let json = output.json();
        assert_eq!(json["non_2xx"], 0, "{json}");
        assert_eq!(json["resets"], 0, "{json}");
        assert!(json["ok"].as_u64().is_some_and(|ok| ok >= 5_000), "{json}");
    }
}
