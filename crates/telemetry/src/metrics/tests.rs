//! Exposition, sharding, the bound, expiry and revival.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{HttpOutcome, Limits, Metrics, RequestProtocol};
use crate::{
    flags::{Flag, Flags},
    labels::{Labels, Reporter, SecurityPolicy, Service, Workload},
};

fn labels(source: &str) -> Labels {
    let reviews = Workload {
        workload: "reviews-v1".into(),
        namespace: "default".into(),
        principal: "spiffe://cluster.local/ns/default/sa/reviews".into(),
        app: "reviews".into(),
        version: "v1".into(),
        canonical_service: "reviews".into(),
        canonical_revision: "v1".into(),
        cluster: "Kubernetes".into(),
    };
    Labels {
        reporter: Reporter::Destination,
        source: Arc::new(Workload { workload: source.into(), ..Workload::unknown() }),
        destination: Arc::new(reviews),
        service: Arc::new(Service {
            host: "reviews.default.svc.cluster.local".into(),
            name: "reviews".into(),
            namespace: "default".into(),
        }),
        security: SecurityPolicy::MutualTls,
    }
}

fn outcome(code: u16) -> HttpOutcome {
    HttpOutcome {
        protocol: RequestProtocol::Http,
        code,
        flags: Flags::default(),
        duration: Duration::from_millis(30),
        request_bytes: 700,
        response_bytes: 3,
    }
}

fn text(metrics: &Metrics) -> String {
    let mut text = String::new();
    metrics.render(&mut text);
    text
}

/// The value of the only sample of `name` whose labels contain `labels`.
fn sample(text: &str, name: &str, labels: &str) -> Option<f64> {
    let mut found = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(labels));
    let line = found.next()?;
    assert_eq!(found.next(), None, "more than one sample of {name} with {labels}");
    line.rsplit_once(' ')?.1.parse().ok()
}

const LABELS: &str = "reporter=\"destination\",source_workload=\"a\",source_canonical_service=\"unknown\",\
source_canonical_revision=\"latest\",source_workload_namespace=\"unknown\",source_principal=\"unknown\",source_app=\"unknown\",\
source_version=\"unknown\",source_cluster=\"unknown\",destination_workload=\"reviews-v1\",destination_workload_namespace=\"default\",\
destination_principal=\"spiffe://cluster.local/ns/default/sa/reviews\",destination_app=\"reviews\",destination_version=\"v1\",\
destination_service=\"reviews.default.svc.cluster.local\",destination_canonical_service=\"reviews\",\
destination_canonical_revision=\"v1\",destination_service_name=\"reviews\",destination_service_namespace=\"default\",\
destination_cluster=\"Kubernetes\"";

#[test]
fn http_families_have_istios_names_order_and_buckets() {
    let metrics = Metrics::new(Limits::default());
    metrics.shard().http(&labels("a")).record(&outcome(200));
    let all = format!(
        "{LABELS},request_protocol=\"http\",response_code=\"200\",grpc_response_status=\"\",response_flags=\"-\",\
         connection_security_policy=\"mutual_tls\""
    );
    let text = text(&metrics);
    for line in [
        "# TYPE istio_requests_total counter".to_owned(),
        format!("istio_requests_total{{{all}}} 1"),
        "# TYPE istio_request_duration_milliseconds histogram".to_owned(),
        format!("istio_request_duration_milliseconds_bucket{{{all},le=\"0.5\"}} 0"),
        format!("istio_request_duration_milliseconds_bucket{{{all},le=\"25\"}} 0"),
        format!("istio_request_duration_milliseconds_bucket{{{all},le=\"50\"}} 1"),
        format!("istio_request_duration_milliseconds_bucket{{{all},le=\"+Inf\"}} 1"),
        format!("istio_request_duration_milliseconds_sum{{{all}}} 30"),
        format!("istio_request_duration_milliseconds_count{{{all}}} 1"),
        format!("istio_request_bytes_sum{{{all}}} 700"),
        format!("istio_response_bytes_bucket{{{all},le=\"5\"}} 1"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
    }
    assert!(!text.contains("istio_tcp"), "what was not seen is not shown");
}

#[test]
fn code_protocol_and_flags_make_rows() {
    let metrics = Metrics::new(Limits::default());
    let series = metrics.shard().http(&labels("a"));
    let flags: Flags = [Flag::RetryLimitExceeded, Flag::UpstreamConnectFailure].into_iter().collect();
    for _ in 0..3 {
        series.record(&outcome(200));
    }
    series.record(&HttpOutcome { flags, ..outcome(503) });
    series.record(&HttpOutcome { protocol: RequestProtocol::Grpc { status: Some(14) }, ..outcome(200) });
    series.record(&HttpOutcome {
        protocol: RequestProtocol::Grpc { status: None },
        flags: Flags::of(Flag::DownstreamRemoteReset),
        ..outcome(0)
    });
    series.messages(5, 7);
    series.messages(1, 0);
    let text = text(&metrics);
    for (part, count) in [
        ("request_protocol=\"http\",response_code=\"200\",grpc_response_status=\"\",response_flags=\"-\"", 3.0),
        ("request_protocol=\"http\",response_code=\"503\",grpc_response_status=\"\",response_flags=\"URX,UF\"", 1.0),
        ("request_protocol=\"grpc\",response_code=\"200\",grpc_response_status=\"14\",response_flags=\"-\"", 1.0),
        ("request_protocol=\"grpc\",response_code=\"0\",grpc_response_status=\"\",response_flags=\"DR\"", 1.0),
    ] {
        assert_eq!(sample(&text, "istio_requests_total", part), Some(count), "{part}");
    }
    assert!(text.contains(&format!("istio_request_messages_total{{{LABELS}}} 6\n")));
    assert!(text.contains(&format!("istio_response_messages_total{{{LABELS}}} 7\n")));
}

#[test]
fn shards_are_summed() {
    let metrics = Metrics::new(Limits::default());
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let shard = metrics.shard();
            std::thread::spawn(move || {
                let series = shard.http(&labels("a"));
                let counter = shard.counter("mizzen_test_total", &[("of", "workers")]);
                for _ in 0..1_000 {
                    series.record(&outcome(200));
                    counter.add(2);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("a worker panicked");
    }
    let text = text(&metrics);
    assert_eq!(sample(&text, "istio_requests_total", ""), Some(3_000.0));
    assert_eq!(sample(&text, "mizzen_test_total", "of=\"workers\""), Some(6_000.0));
}

#[test]
fn tcp_families() {
    let metrics = Metrics::new(Limits::default());
    let series = metrics.shard().tcp(&labels("a"));
    series.opened();
    series.opened();
    series.transferred(10, 20);
    series.closed(Flags::of(Flag::UpstreamConnectFailure));
    let text = text(&metrics);
    let end = |flags| {
        format!("request_protocol=\"tcp\",response_flags=\"{flags}\",connection_security_policy=\"mutual_tls\"}}")
    };
    assert_eq!(sample(&text, "istio_tcp_connections_opened_total", &end("-")), Some(2.0));
    assert_eq!(sample(&text, "istio_tcp_connections_closed_total", &end("UF")), Some(1.0));
    assert_eq!(sample(&text, "istio_tcp_sent_bytes_total", &end("-")), Some(10.0));
    assert_eq!(sample(&text, "istio_tcp_received_bytes_total", &end("-")), Some(20.0));
}

#[test]
fn beyond_the_bound_everything_is_folded_and_counted() {
    let metrics = Metrics::new(Limits { series: 3, ..Limits::default() });
    let shard = metrics.shard();
    let first = shard.http(&labels("a"));
    first.record(&outcome(200));
    first.record(&outcome(404)); // a second row
    shard.http(&labels("b")).record(&outcome(200));
    let unseen = shard.http(&labels("c")); // no room for a series
    unseen.record(&outcome(200));
    unseen.record(&outcome(204));
    first.record(&outcome(500)); // no room for a row
    first.record(&outcome(200)); // known: not affected
    let text = text(&metrics);
    assert_eq!(sample(&text, "istio_requests_total", "source_workload=\"overflow\""), Some(3.0));
    assert_eq!(sample(&text, "istio_requests_total", "source_workload=\"c\""), None);
    let first =
        text.lines().filter(|line| line.starts_with("istio_requests_total{") && line.contains("source_workload=\"a\""));
    assert_eq!(first.filter(|line| line.ends_with(" 2") || line.ends_with(" 1")).count(), 2);
    assert!(
        text.contains("\nmizzen_metrics_overflow_total 4\n"),
        "a series, a row, and two through the handle: {text}"
    );
    assert!(text.contains("\nmizzen_metrics_series 3\n"), "{text}");
}

#[test]
fn one_series_cannot_have_rows_without_end() {
    let metrics = Metrics::new(Limits::default());
    let series = metrics.shard().http(&labels("a"));
    for code in 100..1_000 {
        series.record(&outcome(code));
        series.record(&outcome(code));
    }
    let text = text(&metrics);
    let rows = text.lines().filter(|line| line.starts_with("istio_requests_total{")).count();
    assert_eq!(rows, super::rows::ROWS_MAX + 1);
    let folded = 2 * (900 - super::rows::ROWS_MAX) as u64;
    assert_eq!(sample(&text, "istio_requests_total", "source_workload=\"overflow\""), Some(folded as f64));
}

#[test]
fn silence_retires_a_series_and_a_kept_handle_revives_it() {
    let metrics = Metrics::new(Limits { idle: Duration::from_secs(10), ..Limits::default() });
    let shard = metrics.shard();
    let (kept, busy) = (shard.http(&labels("kept")), shard.http(&labels("busy")));
    let start = Instant::now();
    kept.record(&outcome(200));
    for second in [0, 5, 10] {
        busy.record(&outcome(200));
        metrics.expire(start + Duration::from_secs(second));
    }
    let shown = text(&metrics);
    assert_eq!(sample(&shown, "istio_requests_total", "source_workload=\"kept\""), None);
    assert_eq!(sample(&shown, "istio_requests_total", "source_workload=\"busy\""), Some(3.0));
    assert!(shown.contains("\nmizzen_metrics_series 1\n"), "{shown}");

    // Another handle of the same labels appears, then the old one speaks again: both count.
    shard.http(&labels("kept")).record(&outcome(200));
    kept.record(&outcome(200));
    let shown = text(&metrics);
    assert_eq!(sample(&shown, "istio_requests_total", "source_workload=\"kept\""), Some(3.0));
    assert!(shown.contains("\nmizzen_metrics_series 3\n"), "{shown}");
}

#[test]
fn own_counters_and_gauges() {
    let metrics = Metrics::new(Limits { idle: Duration::from_secs(10), ..Limits::default() });
    metrics.build("0.1.0");
    let counter = metrics.counter("mizzen_test_total", &[("cluster_name", "a\"b\\c\nd")]);
    counter.add(2);
    metrics.counter("mizzen_test_total", &[("cluster_name", "a\"b\\c\nd")]).add(1);
    let gauge = metrics.gauge("mizzen_test", &[]);
    gauge.add(-4);
    let shown = text(&metrics);
    for line in [
        "# TYPE mizzen_test_total counter",
        "mizzen_test_total{cluster_name=\"a\\\"b\\\\c\\nd\"} 3",
        "# TYPE mizzen_test gauge",
        "mizzen_test -4",
        "# TYPE istio_build gauge",
        "istio_build{component=\"proxy\",tag=\"0.1.0\"} 1",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line}\nnot in\n{shown}");
    }

    let start = Instant::now();
    metrics.expire(start);
    metrics.expire(start + Duration::from_secs(10));
    assert!(text(&metrics).contains("mizzen_test_total{"), "a held counter stays");
    drop(counter);
    metrics.expire(start + Duration::from_secs(15));
    metrics.expire(start + Duration::from_secs(20));
    assert!(!text(&metrics).contains("mizzen_test_total{"));
}

#[test]
fn row_keys_survive_packing() {
    use super::http::RowKey;
    for code in [0, 200, 503, u16::MAX] {
        for protocol in
            [RequestProtocol::Http, RequestProtocol::Grpc { status: None }, RequestProtocol::Grpc { status: Some(16) }]
        {
            for flags in [
                Flags::default(),
                Flags::of(Flag::UpstreamMaxStreamDuration),
                [Flag::NoRoute, Flag::NoCluster].into_iter().collect(),
            ] {
                let key = RowKey { code, protocol, flags };
                assert_eq!(RowKey::from_bits(key.to_bits()), key);
            }
        }
    }
}
