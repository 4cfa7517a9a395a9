//! Header operations: removed first, then set, then added; a host among them is an authority rewrite.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use mizzen_world::virtual_service::Ops;

/// Operations on the headers of one direction, as Envoy lists them.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) remove: Vec<String>,
    pub(super) add: Vec<HeaderValueOption>,
}

/// Several levels of operations in the order in which they act: all removals, then each level's values.
pub(super) fn listed<'a>(levels: impl IntoIterator<Item = &'a Ops>) -> Listed {
    let mut listed = Listed::default();
    for ops in levels {
        listed.remove.extend(ops.remove.iter().filter(|name| !is_pseudo(name)).map(ToString::to_string));
        let set = ops.set.iter().map(|pair| (pair, HeaderAppendAction::OverwriteIfExistsOrAdd));
        let add = ops.add.iter().map(|pair| (pair, HeaderAppendAction::AppendIfExistsOrAdd));
        let values = set.chain(add).filter(|((name, _), _)| !is_host(name) && !is_pseudo(name));
        listed.add.extend(values.map(|((name, value), action)| option(name, value, action)));
    }
    listed
}

/// The authority that operations on the request put in place of the client's: `Host` among what is set, else added.
pub(super) fn authority(ops: &Ops) -> Option<&Arc<str>> {
    let host = |pairs: &'_ [(Arc<str>, Arc<str>)]| pairs.iter().position(|(name, _)| is_host(name));
    match (host(&ops.set), host(&ops.add)) {
        (Some(index), _) => Some(&ops.set[index].1),
        (None, Some(index)) => Some(&ops.add[index].1),
        (None, None) => None,
    }
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

fn is_pseudo(name: &str) -> bool {
    name.starts_with(':')
}

fn option(name: &str, value: &str, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: value.to_owned(), ..HeaderValue::default() }),
        append_action: action as i32,
        ..HeaderValueOption::default()
    }
}
