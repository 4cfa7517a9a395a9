//! The sample, as the README shows it.

use std::{fs, time::Duration};

use mizzen_e2e::{Mesh, eventually, sample, within};
use serde_json::Value;

fn edge<'a>(report: &'a Value, source: &str, destination: &str) -> &'a Value {
    let edges = report["edges"].as_array().expect("edges");
    edges
        .iter()
        .find(|edge| edge["source"] == source && edge["destination"] == destination)
        .unwrap_or_else(|| panic!("no edge {source} → {destination} in {edges:#?}"))
}

#[test]
fn the_sample_runs_for_a_while_and_reports() {
    let report = std::env::temp_dir().join(format!("mz-report-{}.json", std::process::id()));
    let path = report.to_string_lossy().into_owned();
    let mut mesh =
        Mesh::copy_of(&sample("bookinfo"), &["--for", "10s", "--report", &path, "--publish", "127.0.0.1:18080:80"]);
    mesh.wait_ready();
    let ended = mesh.wait_end();
    assert_eq!(ended.code(), Some(0), "{:#?}", mesh.lines());
    let text = fs::read_to_string(&report).expect("the report");
    fs::remove_file(&report).ok();
    let report: Value = serde_json::from_str(&text).expect("JSON");

    assert!(report["requests_total"].as_u64().expect("a number") >= 100, "{text}");
    assert_eq!(report["success_rate"], 1.0, "{text}");
    assert_eq!(report["mtls_share"], 1.0, "{text}");
    let reviews = ["v1", "v2", "v3"]
        .map(|version| edge(&report, "default/productpage-v1", &format!("default/reviews-{version}")));
    let counts = reviews.map(|edge| edge["requests"].as_u64().expect("a number"));
    let total: u64 = counts.iter().sum();
    // 80/10/10; 5 σ of a binomial.
    let share = counts[0] as f64 / total as f64;
    let sigma = (0.8 * 0.2 / total as f64).sqrt();
    assert!((share - 0.8).abs() < 5.0 * sigma, "{counts:?}");
    for edge in reviews {
        assert_eq!(edge["protocol"], "http");
        assert_eq!(edge["mtls"], 1.0, "{edge}");
        assert_eq!(edge["key_exchange"], "X25519MLKEM768", "{edge}");
        assert!(edge["p50_ms"].as_f64().expect("measured") > 0.0, "{edge}");
    }
    let workloads = report["workloads"].as_array().expect("workloads");
    assert!(workloads.iter().all(|w| w["ready"] == true), "{workloads:#?}");
    assert!(workloads.iter().any(|w| w["proxy_rss_kb"].as_u64().is_some_and(|kb| kb > 1000)), "{workloads:#?}");
}

#[test]
fn an_edit_moves_traffic_and_the_ingress_answers_on_the_host() {
    let mesh = Mesh::copy_of(&sample("bookinfo"), &["--publish", "127.0.0.1:18081:80"]);
    mesh.wait_ready();
    let page = eventually("a page through the ingress", || {
        let output = std::process::Command::new("curl")
            .args(["-s", "--max-time", "5", "-w", "\n%{http_code}", "http://127.0.0.1:18081/productpage"])
            .output()
            .expect("curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.ends_with("\n200").then_some(text)
    });
    assert!(page.contains("Comedy of Errors") || page.contains("reviews") || page.contains("Reviews"), "{page}");

    let all_to_v3 = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews}\nspec:\n  hosts: [reviews]\n  http:\n  - route: [{destination: {host: reviews, subset: v3}}]\n";
    let file = fs::read_to_string(mesh.directory().join("reviews.yaml")).expect("the sample's file");
    let others: Vec<&str> = file.split("\n---\n").filter(|doc| !doc.contains("kind: VirtualService")).collect();
    mesh.apply("reviews.yaml", &format!("{}\n---\n{all_to_v3}", others.join("\n---\n")));
    for _ in 0..20 {
        let (status, body) = mesh.curl("default/productpage-v1", &["http://reviews:9080/reviews/0"]);
        assert_eq!(status, 200, "{body}");
        assert!(body.contains("red"), "v3 shows red stars: {body}");
    }
}

#[test]
fn a_second_up_on_the_same_directory_is_refused() {
    let mesh = Mesh::copy_of(&sample("bookinfo"), &["--publish", "127.0.0.1:18082:80"]);
    mesh.wait_ready();
    let second = mesh.mizzen(&["up", &mesh.directory().to_string_lossy(), "--plain"]);
    assert_ne!(second.status, 0);
    assert!(second.err.contains(&mesh.pid().to_string()), "names the process that holds it: {second:?}");
    let status = within(Duration::from_secs(10), "status from another terminal", || {
        let status = mesh.mizzen(&["status"]);
        status.succeeded().then_some(status)
    });
    assert!(status.out.contains("reviews-v2"), "{status:?}");
}
