//! Manifests of workloads, as values: a test says what matters to it, the rest is the same everywhere.
//!
//! In: names, commands, ports. Out: documents (JSON, which is YAML), to be joined with [`documents`].

use std::fmt;

use serde_json::{Map, Value, json};

/// Joins documents to one file.
pub fn documents(parts: &[&dyn fmt::Display]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n---\n")
}

/// A Deployment of one container, with a ServiceAccount of the same name.
#[derive(Clone, Debug)]
pub struct Deployment {
    name: String,
    command: String,
    replicas: u32,
    port: Option<u16>,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    environment: Vec<Value>,
    files: Vec<(String, String)>,
    scratch: Vec<String>,
}

/// A Deployment `name` that runs `command`, with the label `app: name`.
pub fn deployment(name: &str, command: &str) -> Deployment {
    Deployment {
        name: name.to_owned(),
        command: command.to_owned(),
        replicas: 1,
        port: None,
        labels: Map::from_iter([("app".to_owned(), name.into())]),
        annotations: Map::new(),
        environment: Vec::new(),
        files: Vec::new(),
        scratch: Vec::new(),
    }
}

/// A workload in which a test runs its commands.
pub fn client(name: &str) -> Deployment {
    deployment(name, "/bin/sleep 100000")
}

impl Deployment {
    /// Declares a port; the workload is ready when it accepts connections.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push(json!({"name": name, "value": value}));
        self
    }

    /// Mounts a ConfigMap.
    #[must_use]
    pub fn files(mut self, config_map: &str, path: &str) -> Self {
        self.files.push((config_map.to_owned(), path.to_owned()));
        self
    }

    /// Mounts an empty directory.
    #[must_use]
    pub fn scratch(mut self, path: &str) -> Self {
        self.scratch.push(path.to_owned());
        self
    }

    /// Without a sidecar.
    #[must_use]
    pub fn bare(self) -> Self {
        self.label("sidecar.istio.io/inject", "false")
    }
}

impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut annotations = self.annotations.clone();
        annotations.insert("mizzen.io/local-command".to_owned(), self.command.as_str().into());
        let maps = self.files.iter().map(|(map, path)| (map.clone(), json!({"configMap": {"name": map}}), path));
        let empty =
            self.scratch.iter().enumerate().map(|(at, path)| (format!("scratch-{at}"), json!({"emptyDir": {}}), path));
        let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
        for (name, mut volume, path) in maps.chain(empty) {
            mounts.push(json!({"name": name, "mountPath": path}));
            volume["name"] = name.into();
            volumes.push(volume);
        }
        let mut container = json!({"name": self.name, "env": self.environment, "volumeMounts": mounts});
        if let Some(port) = self.port {
            container["ports"] = json!([{"containerPort": port}]);
            container["readinessProbe"] = json!({"tcpSocket": {"port": port}, "periodSeconds": 1});
        }
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": self.name}});
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": self.labels},
                "template": {
                    "metadata": {"labels": self.labels, "annotations": annotations},
                    "spec": {"serviceAccountName": self.name, "containers": [container], "volumes": volumes},
                },
            },
        });
        write!(f, "{account}\n---\n{deployment}")
    }
}

/// A Service of the workloads with `app: name`; its ports are (name, port, target).
pub fn service(name: &str, ports: &[(&str, u16, u16)]) -> Value {
    let ports: Vec<Value> =
        ports.iter().map(|(name, port, target)| json!({"name": name, "port": port, "targetPort": target})).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    })
}

/// A ConfigMap.
pub fn config_map(name: &str, files: &[(&str, &str)]) -> Value {
    let data: Map<String, Value> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// The mesh's configuration; `settings` is YAML of `MeshConfig`.
pub fn mesh_config(settings: &str) -> Value {
    let map = json!({"mesh": settings});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"}, "data": map})
}

/// The mTLS mode of a namespace, or of the workloads with `app: name`.
pub fn peer_authentication(app: Option<&str>, mode: &str) -> Value {
    let mut spec = json!({"mtls": {"mode": mode}});
    if let Some(app) = app {
        spec["selector"] = json!({"matchLabels": {"app": app}});
    }
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": app.unwrap_or("default")},
        "spec": spec,
    })
}

/// A VirtualService of the host `name`; `http` are its routes as YAML in flow style.
pub fn virtual_service(name: &str, http: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": {"hosts": [name], "http": http},
    })
}

/// All requests to `name`, tried once.
pub fn without_retries(name: &str) -> Value {
    virtual_service(name, &json!([{"route": [{"destination": {"host": name}}], "retries": {"attempts": 0}}]))
}
