//! Header operations.

use envoy_types::pb::envoy::config::core::v3::{self as core, header_value_option::HeaderAppendAction as WireAction};
use http::{HeaderName, HeaderValue};

use super::{At, Refused, Result, each, refuse, required};
use crate::route::{HeaderAction, HeaderOps};

/// What one level (route, virtual host, route configuration, weighted cluster) does.
pub(crate) fn from_wire(direction: &str, add: &[core::HeaderValueOption], remove: &[String]) -> Result<HeaderOps> {
    let set = each(&format!("{direction}_headers_to_add"), add, operation)?;
    let remove = each(&format!("{direction}_headers_to_remove"), remove, |name| changeable(name))?;
    Ok(HeaderOps { remove, set: set.into_iter().flatten().collect() })
}

/// `earlier`, then `later`, as one. A header that `later` removes loses what `earlier` did to it, since all removals of
/// [`HeaderOps`] come first.
pub(crate) fn chain(earlier: HeaderOps, later: &HeaderOps) -> HeaderOps {
    let HeaderOps { mut remove, mut set } = earlier;
    set.retain(|(name, ..)| !later.remove.contains(name));
    set.extend(later.set.iter().cloned());
    remove.extend(later.remove.iter().cloned());
    HeaderOps { remove, set }
}

/// A value as the wire has it, with `%%` as `%` and no other format operator.
pub(crate) fn value(text: &str) -> Result<HeaderValue> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        plain.push('%');
        rest = after.strip_prefix('%').ok_or_else(|| {
            Refused::new(format!("`{text}` has a format operator, which is not supported in this release; `%%` is `%`"))
        })?;
    }
    plain.push_str(rest);
    HeaderValue::from_str(&plain)
        .or_else(|_| HeaderValue::from_bytes(plain.as_bytes()))
        .map_err(|_| Refused::new(format!("`{}` is no header value", text.escape_debug())))
}

/// `None` for an empty value that is not to be kept.
fn operation(wire: &core::HeaderValueOption) -> Result<Option<(HeaderName, HeaderValue, HeaderAction)>> {
    let header = required("header", wire.header.as_ref())?;
    let name = changeable(&header.key).at("header.key")?;
    let value = if header.raw_value.is_empty() {
        value(&header.value).at("header.value")?
    } else {
        let raw = HeaderValue::from_bytes(&header.raw_value);
        raw.map_err(|_| Refused::new("is no header value")).at("header.raw_value")?
    };
    let action = match (&wire.append, WireAction::try_from(wire.append_action)) {
        (Some(append), _) if append.value => HeaderAction::Append,
        (Some(_), _) | (None, Ok(WireAction::OverwriteIfExistsOrAdd)) => HeaderAction::Overwrite,
        (None, Ok(WireAction::AppendIfExistsOrAdd)) => HeaderAction::Append,
        (None, Ok(WireAction::AddIfAbsent)) => HeaderAction::AddIfAbsent,
        (None, Ok(WireAction::OverwriteIfExists)) => HeaderAction::OverwriteIfExists,
        (None, Err(_)) => return refuse(format!("{} is no action", wire.append_action)).at("append_action"),
    };
    Ok((!value.is_empty() || wire.keep_empty_value).then_some((name, value, action)))
}

/// A header that operations may touch: not a pseudo-header, and not `host` (Envoy, "Custom request/response headers").
fn changeable(name: &str) -> Result<HeaderName> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) if name == http::header::HOST => refuse("`host` is changed by `host_rewrite_literal` only"),
        Ok(name) => Ok(name),
        Err(_) => refuse(format!("`{}` is no header that can be changed", name.escape_debug())),
    }
}
