//! Choice of a virtual host by authority: exact, longest `*.suffix`, longest `prefix.*`, `*`; case and port ignored.
//!
//! Source: Envoy `config.route.v3.VirtualHost.domains`. The table is persistent: adding one host copies a path, not the
//! table. One map holds every domain under its own spelling; a wildcard is found by writing its star into a copy of the
//! authority where it would stand: `reviews.default.svc` asks for `*.default.svc`, then `*.svc`, if wildcards of these
//! lengths exist.

use smallvec::SmallVec;

use crate::trace::{Named, Step, Trace};

/// Bytes of the longest authority that is looked up; a longer one has no host (RFC 1035 allows 255, a port adds 6).
pub const AUTHORITY_BYTES_MAX: usize = 262;
/// Bytes of the longest domain that is accepted.
pub const DOMAIN_BYTES_MAX: usize = 255;

/// Domains → `V` (an `Arc` to the host).
#[derive(Clone, Debug)]
pub struct HostTable<V: Clone> {
    /// Lower case, wildcards with their star.
    domains: imbl::HashMap<Box<[u8]>, V>,
    /// `*.suffix`.
    suffixes: Lengths,
    /// `prefix.*`.
    prefixes: Lengths,
}

/// A domain that the table cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("domain `{0}` is served by another virtual host already")]
    Duplicate(Box<str>),
    #[error("domain `{0}` has a `*` that is neither its first nor its last character")]
    Wildcard(Box<str>),
    #[error("a domain must have 1 to {DOMAIN_BYTES_MAX} bytes, this one has {0}")]
    Length(usize),
}

/// Where a domain's star stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Exact,
    Suffix,
    Prefix,
    Any,
}

impl<V: Clone> HostTable<V> {
    /// A table without hosts.
    pub fn new() -> Self {
        Self { domains: imbl::HashMap::new(), suffixes: Lengths::default(), prefixes: Lengths::default() }
    }

    /// How many domains there are.
    pub fn len(&self) -> usize {
        self.domains.len()
    }

    /// Whether there is no domain.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Adds a domain: exact, `*.suffix`, `prefix.*` or `*`, in any case.
    pub fn insert(&mut self, domain: &str, value: V) -> Result<(), HostError> {
        let shape = shape(domain)?;
        let key = domain.to_ascii_lowercase().into_bytes().into_boxed_slice();
        if self.domains.contains_key(&key) {
            return Err(HostError::Duplicate(domain.into()));
        }
        match shape {
            Shape::Suffix => self.suffixes.add(key.len()),
            Shape::Prefix => self.prefixes.add(key.len()),
            Shape::Exact | Shape::Any => {}
        }
        self.domains.insert(key, value);
        Ok(())
    }

    /// Takes a domain out, and gives back what it stood for.
    pub fn remove(&mut self, domain: &str) -> Option<V> {
        let value = self.domains.remove(domain.to_ascii_lowercase().as_bytes())?;
        match shape(domain) {
            Ok(Shape::Suffix) => self.suffixes.subtract(domain.len()),
            Ok(Shape::Prefix) => self.prefixes.subtract(domain.len()),
            _ => {}
        }
        Some(value)
    }

    /// What exactly this domain stands for, wildcards taken literally.
    pub fn get(&self, domain: &str) -> Option<&V> {
        self.domains.get(domain.to_ascii_lowercase().as_bytes())
    }

    /// The domains in lower case, and what they stand for, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.domains.iter().map(|(domain, value)| (text(domain), value))
    }

    fn find(&self, authority: &str) -> Option<(&[u8], &V)> {
        let mut buffer = Buffer::default();
        let given = buffer.0.get_mut(..authority.len())?;
        given.copy_from_slice(authority.as_bytes());
        given.make_ascii_lowercase();
        let host = without_port(given);
        let bare = host.strip_suffix(b".").unwrap_or(host);
        if bare.len() > DOMAIN_BYTES_MAX {
            return None;
        }
        let length = bare.len();
        self.exact(given)
            .or_else(|| if host.len() < given.len() { self.exact(host) } else { None })
            .or_else(|| if bare.len() < host.len() { self.exact(bare) } else { None })
            .or_else(|| self.by_suffix(buffer, length))
            .or_else(|| self.by_prefix(buffer, length))
            .or_else(|| self.exact(b"*"))
    }

    fn exact(&self, name: &[u8]) -> Option<(&[u8], &V)> {
        self.domains.get_key_value(name).map(|(domain, value)| (&**domain, value))
    }

    /// A star stands for at least one character, so that a wildcard is never longer than the name.
    fn by_suffix(&self, mut name: Buffer, length: usize) -> Option<(&[u8], &V)> {
        self.suffixes.longest_first(length).map(|wildcard| length - wildcard).find_map(|star| {
            name.0[star] = b'*';
            self.exact(&name.0[star..length])
        })
    }

    fn by_prefix(&self, mut name: Buffer, length: usize) -> Option<(&[u8], &V)> {
        self.prefixes.longest_first(length).find_map(|wildcard| {
            name.0[wildcard - 1] = b'*';
            self.exact(&name.0[..wildcard])
        })
    }
}

impl<V: Clone + Named> HostTable<V> {
    /// The host that serves `authority` (as received, with or without port). Allocates nothing.
    ///
    /// A trailing dot and a port are ignored unless a domain is listed with them. `*` serves the empty authority too:
    /// HTTP/1.0 requests have none.
    pub fn decide(&self, authority: &str, trace: &mut impl Trace) -> Option<&V> {
        let (domain, value) = self.find(authority)?;
        if trace.is_heard() {
            trace.step(Step::Host { name: value.name(), domain: text(domain) });
        }
        Some(value)
    }
}

impl<V: Clone> Default for HostTable<V> {
    fn default() -> Self {
        Self::new()
    }
}

/// Room for an authority in lower case, on the stack.
#[derive(Clone, Copy)]
struct Buffer([u8; AUTHORITY_BYTES_MAX]);

impl Default for Buffer {
    fn default() -> Self {
        Self([0; AUTHORITY_BYTES_MAX])
    }
}

/// Which lengths the wildcards of one shape have, longest first, and how many there are of each.
#[derive(Clone, Debug, Default)]
struct Lengths(SmallVec<[(usize, usize); 2]>);

impl Lengths {
    fn longest_first(&self, length_max: usize) -> impl Iterator<Item = usize> {
        self.0.iter().map(|(length, _)| *length).filter(move |length| *length <= length_max)
    }

    fn add(&mut self, length: usize) {
        match self.0.binary_search_by(|(known, _)| length.cmp(known)) {
            Ok(at) => self.0[at].1 += 1,
            Err(at) => self.0.insert(at, (length, 1)),
        }
    }

    fn subtract(&mut self, length: usize) {
        if let Ok(at) = self.0.binary_search_by(|(known, _)| length.cmp(known)) {
            self.0[at].1 -= 1;
            if self.0[at].1 == 0 {
                self.0.remove(at);
            }
        }
    }
}

fn shape(domain: &str) -> Result<Shape, HostError> {
    if domain.is_empty() || domain.len() > DOMAIN_BYTES_MAX {
        return Err(HostError::Length(domain.len()));
    }
    match (domain.find('*'), domain.rfind('*')) {
        (None, _) => Ok(Shape::Exact),
        (Some(0), Some(0)) if domain.len() == 1 => Ok(Shape::Any),
        (Some(0), Some(0)) => Ok(Shape::Suffix),
        (Some(first), Some(last)) if first == last && last + 1 == domain.len() => Ok(Shape::Prefix),
        _ => Err(HostError::Wildcard(domain.into())),
    }
}

/// Domains come in as text; lower-casing ASCII keeps them so.
fn text(domain: &[u8]) -> &str {
    std::str::from_utf8(domain).unwrap_or_default()
}

/// `host:port` and `[v6]:port` without the port; a bare IPv6 address is left alone.
fn without_port(authority: &[u8]) -> &[u8] {
    let Some(colon) = authority.iter().rposition(|byte| *byte == b':') else { return authority };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    let is_port = port.iter().all(u8::is_ascii_digit) && (!host.contains(&b':') || host.ends_with(b"]"));
    if is_port { host } else { authority }
}

#[cfg(test)]
mod tests;
