//! `PeerAuthentication` → model.

use mizzen_api::Object;
use mizzen_api::istio::{MtlsMode as Written, PeerAuthentication as Source};

use super::{age, labels};
use crate::peer_auth::{MtlsMode, PeerAuthentication};

pub(crate) fn peer_authentication(object: &Object, source: &Source) -> PeerAuthentication {
    let selector = source.selector.as_ref().map(|selector| labels(&selector.match_labels));
    PeerAuthentication {
        age: age(object),
        object: object.id.to_string().into(),
        selector: selector.filter(|selector| !selector.is_empty()),
        mode: match source.mtls.map(|mtls| mtls.mode).unwrap_or_default() {
            Written::Unset => None,
            Written::Disable => Some(MtlsMode::Disable),
            Written::Permissive => Some(MtlsMode::Permissive),
            Written::Strict => Some(MtlsMode::Strict),
        },
        refused: object.refuses_traffic,
    }
}
