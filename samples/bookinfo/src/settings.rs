//! What the environment says. The names are those of Istio's sample and of Kubernetes (`DETAILS_SERVICE_PORT` is set
//! there by itself).

use std::env;

/// Where another service is.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// `details:9080`
    pub authority: String,
}

impl Upstream {
    /// The service `name`, unless `NAME_HOSTNAME` or `NAME_SERVICE_PORT` say otherwise.
    pub fn named(name: &str) -> Self {
        let upper = name.to_uppercase();
        let host = variable(&format!("{upper}_HOSTNAME"), name);
        let port = variable(&format!("{upper}_SERVICE_PORT"), "9080");
        Self { authority: format!("{host}:{port}") }
    }

    /// The URL of `path` there.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }
}

/// The port to listen on: `PORT`, or 9080.
pub fn port() -> u16 {
    variable("PORT", "9080").parse().unwrap_or(9080)
}

/// Which version of the service this is: `SERVICE_VERSION`, or `v1`.
pub fn service_version() -> String {
    variable("SERVICE_VERSION", "v1")
}

/// A variable of the environment; `default` where it is absent or empty.
pub fn variable(name: &str, default: &str) -> String {
    env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
}
