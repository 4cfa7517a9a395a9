//! `PeerAuthentication`.

use super::labels;
use crate::{istio::PeerAuthentication, problem::At};

pub(super) fn check(at: &At<'_>, policy: &PeerAuthentication) {
    if let Some(selector) = &policy.selector {
        labels(&at.field("selector").field("matchLabels"), &selector.match_labels);
    }
    let ports = at.field("portLevelMtls");
    let selects = policy.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
    if !policy.port_level_mtls.is_empty() && !selects {
        ports.error("modes per port need a `selector`", "selector: {matchLabels: {app: reviews}}");
    }
    for key in policy.port_level_mtls.keys() {
        if !key.parse::<u16>().is_ok_and(|number| number != 0) {
            ports.field(key).error(format!("expected a port from 1 to 65535, found {key:?}"), "8080: {mode: STRICT}");
        }
    }
}
