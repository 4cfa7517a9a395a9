//! The same job for each proxy: one port in, one backend out, 100 further routes and clusters, metrics on, access log off.

use std::fmt::Write;

/// Routes and clusters beside the one under load.
pub(crate) const FURTHER: usize = 100;

/// Where a proxy listens and what is behind it.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    /// HTTP/1 upstream.
    pub(crate) http1: u16,
    /// HTTP/2 upstream.
    pub(crate) http2: u16,
    pub(crate) backend: u16,
}

/// Manifests for `mizzend`: a Gateway with two ports, service entries with fixed addresses.
pub(crate) fn mizzen(ports: Ports) -> String {
    let mut text = String::new();
    for (name, port, protocol) in [("h1", ports.http1, "HTTP"), ("h2", ports.http2, "HTTP2")] {
        write!(
            text,
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: bench}}\n\
             spec:\n  selector: {{app: bench}}\n  servers:\n  - port: {{number: {port}, name: http, protocol: HTTP}}\n    \
             hosts: ['*']\n---\n\
             apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: bench}}\n\
             spec:\n  hosts: [{name}.bench.example]\n  ports: [{{number: 80, name: {lower}, protocol: {protocol}, targetPort: {backend}}}]\n  \
             resolution: STATIC\n  location: MESH_EXTERNAL\n  endpoints: [{{address: 127.0.0.1}}]\n---\n\
             apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: bench}}\n\
             spec:\n  hosts: ['*']\n  gateways: [{name}]\n  http:\n",
            lower = protocol.to_lowercase(),
            backend = ports.backend,
        )
        .ok();
        for i in 0..FURTHER {
            write!(
                text,
                "  - match: [{{uri: {{prefix: /other-{i}/}}}}]\n    route: [{{destination: {{host: other-{i}.bench.example, port: {{number: 80}}}}}}]\n"
            )
            .ok();
        }
        write!(text, "  - route: [{{destination: {{host: {name}.bench.example, port: {{number: 80}}}}}}]\n---\n").ok();
    }
    for i in 0..FURTHER {
        write!(
            text,
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: other-{i}, namespace: bench}}\n\
             spec:\n  hosts: [other-{i}.bench.example]\n  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 9}}]\n  \
             resolution: STATIC\n  location: MESH_EXTERNAL\n  endpoints: [{{address: 127.0.0.1}}]\n---\n"
        )
        .ok();
    }
    text
}

/// Envoy's bootstrap, static.
pub(crate) fn envoy(ports: Ports, admin: u16) -> String {
    let mut clusters = String::new();
    let options = |http2: bool| {
        if http2 {
            "\n    typed_extension_protocol_options:\n      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n        \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n        \
             explicit_http_config: {http2_protocol_options: {}}"
        } else {
            ""
        }
    };
    let mut cluster = |name: &str, port: u16, http2: bool| {
        write!(
            clusters,
            "  - name: {name}\n    type: STATIC\n    connect_timeout: 10s\n    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: \
             [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}{}\n",
            options(http2)
        )
        .ok();
    };
    cluster("h1", ports.backend, false);
    cluster("h2", ports.backend, true);
    for i in 0..FURTHER {
        cluster(&format!("other-{i}"), 9, false);
    }
    let mut listeners = String::new();
    for (name, port) in [("h1", ports.http1), ("h2", ports.http2)] {
        let mut routes = String::new();
        for i in 0..FURTHER {
            writeln!(
                routes,
                "              - {{match: {{prefix: /other-{i}/}}, route: {{cluster: other-{i}, timeout: 0s}}}}"
            )
            .ok();
        }
        writeln!(routes, "              - {{match: {{prefix: /}}, route: {{cluster: {name}, timeout: 0s, retry_policy: {{retry_on: 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes', num_retries: 2}}}}}}").ok();
        write!(
            listeners,
            "  - name: {name}\n    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}\n    filter_chains:\n    - filters:\n      \
             - name: hcm\n        typed_config:\n          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          \
             stat_prefix: {name}\n          use_remote_address: true\n          generate_request_id: true\n          codec_type: AUTO\n          route_config:\n            name: {name}\n            virtual_hosts:\n            \
             - name: all\n              domains: ['*']\n              routes:\n{routes}          http_filters:\n          \
             - {{name: router, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}\n"
        )
        .ok();
    }
    format!(
        "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}\nstatic_resources:\n  listeners:\n{listeners}  clusters:\n{clusters}"
    )
}

/// nginx: Debian's speaks only HTTP/1 to upstreams.
pub(crate) fn nginx(ports: Ports, dir: &str) -> String {
    let mut locations = String::new();
    let mut upstreams = String::new();
    for i in 0..FURTHER {
        writeln!(upstreams, "  upstream other-{i} {{ server 127.0.0.1:9; keepalive 16; }}").ok();
        writeln!(locations, "    location /other-{i}/ {{ proxy_pass http://other-{i}; }}").ok();
    }
    let proxy = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host; \
                 proxy_set_header X-Request-Id $request_id; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
                 proxy_set_header X-Forwarded-Proto $scheme;";
    format!(
        "daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx.err;\nevents {{ worker_connections 4096; }}\n\
         http {{\n  access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n  \
         keepalive_requests 100000000; keepalive_timeout 3600;\n  upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 100000000; }}\n{upstreams}  \
         server {{ listen 127.0.0.1:{h1} reuseport; {proxy}\n{locations}    location / {{ proxy_pass http://backend; }} }}\n  \
         server {{ listen 127.0.0.1:{h2} http2; {proxy}\n{locations}    location / {{ proxy_pass http://backend; }} }}\n}}\n",
        backend = ports.backend,
        h1 = ports.http1,
        h2 = ports.http2,
    )
}

/// `HAProxy`.
pub(crate) fn haproxy(ports: Ports) -> String {
    let mut rules = String::new();
    let mut backends = String::new();
    for i in 0..FURTHER {
        writeln!(rules, "  use_backend other-{i} if {{ path_beg /other-{i}/ }}").ok();
        writeln!(backends, "backend other-{i}\n  server s 127.0.0.1:9").ok();
    }
    format!(
        "global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode http\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n  \
         retries 2\n  retry-on conn-failure\n  option forwardfor\n  unique-id-format %{{+X}}o%ci:%cp_%fi:%fp_%Ts_%rt:%pid\n  unique-id-header X-Request-Id\n\
         frontend h1\n  bind 127.0.0.1:{h1}\n{rules}  default_backend h1\n\
         frontend h2\n  bind 127.0.0.1:{h2} proto h2\n{rules}  default_backend h2\n\
         backend h1\n  http-reuse always\n  server s 127.0.0.1:{backend}\n\
         backend h2\n  http-reuse always\n  server s 127.0.0.1:{backend} proto h2\n{backends}",
        h1 = ports.http1,
        h2 = ports.http2,
        backend = ports.backend,
    )
}
