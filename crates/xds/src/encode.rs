//! `DeltaDiscoveryResponse` written field by field, so that a resource is encoded once for all clients.
//!
//! In: entries of a [`Set`](crate::set::Set). Out: byte pieces which, put one after the other, are one message.
//! Field numbers: `envoy/service/discovery/v3/discovery.proto`.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::kind::Kind;
use crate::set::{Entry, Version};

// DeltaDiscoveryResponse
const SYSTEM_VERSION_INFO: u32 = 1;
const RESOURCES: u32 = 2;
const TYPE_URL: u32 = 4;
const NONCE: u32 = 5;
const REMOVED_RESOURCES: u32 = 6;
// Resource
const RESOURCE_VERSION: u32 = 1;
const RESOURCE_BODY: u32 = 2;
const RESOURCE_NAME: u32 = 3;
// Any
const ANY_TYPE_URL: u32 = 1;
const ANY_VALUE: u32 = 2;

const VERSION_LEN: usize = 16;

/// Some resources, encoded, with what was encoded.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    pub(crate) resources: Vec<(Arc<str>, Version)>,
    /// There were more than fit.
    pub(crate) more: bool,
}

/// Encodes entries until `bytes_max` would be exceeded.
pub(crate) fn first_chunk<'a>(
    kind: Kind,
    bytes_max: usize,
    entries: impl Iterator<Item = (&'a Arc<str>, &'a Entry)>,
) -> Chunk {
    let mut chunk = ChunkBuilder::new(kind, bytes_max);
    for (name, entry) in entries {
        if !chunk.fits(name, entry) {
            return Chunk { more: true, ..chunk.finish() };
        }
        chunk.push(name, entry);
    }
    chunk.finish()
}

/// A chunk being filled.
pub(crate) struct ChunkBuilder {
    kind: Kind,
    bytes_max: usize,
    bytes: BytesMut,
    resources: Vec<(Arc<str>, Version)>,
}

impl ChunkBuilder {
    pub(crate) fn new(kind: Kind, bytes_max: usize) -> Self {
        Self { kind, bytes_max, bytes: BytesMut::new(), resources: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// Whether the entry may be added; an empty chunk takes anything.
    pub(crate) fn fits(&self, name: &str, entry: &Entry) -> bool {
        self.is_empty() || self.bytes.len() + resource_len(self.kind, name, entry) <= self.bytes_max
    }

    pub(crate) fn push(&mut self, name: &Arc<str>, entry: &Entry) {
        let any = any_len(self.kind, entry);
        let inner = field_len(RESOURCE_VERSION, VERSION_LEN)
            + field_len(RESOURCE_BODY, any)
            + field_len(RESOURCE_NAME, name.len());
        let out = &mut self.bytes;
        out.reserve(field_len(RESOURCES, inner));
        put_header(out, RESOURCES, inner);
        put_header(out, RESOURCE_VERSION, VERSION_LEN);
        put_version(out, entry.version);
        put_header(out, RESOURCE_BODY, any);
        put_field(out, ANY_TYPE_URL, self.kind.type_url().as_bytes());
        put_field(out, ANY_VALUE, &entry.body);
        put_field(out, RESOURCE_NAME, name.as_bytes());
        self.resources.push((name.clone(), entry.version));
    }

    pub(crate) fn finish(self) -> Chunk {
        Chunk { bytes: self.bytes.freeze(), resources: self.resources, more: false }
    }
}

/// What a response has of its own: system version, type URL, nonce.
pub(crate) fn head(kind: Kind, info: &str, nonce: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    put_field(&mut out, SYSTEM_VERSION_INFO, info.as_bytes());
    put_field(&mut out, TYPE_URL, kind.type_url().as_bytes());
    put_field(&mut out, NONCE, nonce.as_bytes());
    out.freeze()
}

/// The list of names that are gone.
pub(crate) fn removed<'a>(names: impl Iterator<Item = &'a str>) -> Bytes {
    let mut out = BytesMut::new();
    for name in names {
        put_field(&mut out, REMOVED_RESOURCES, name.as_bytes());
    }
    out.freeze()
}

/// Bytes that one removed name takes in a message.
pub(crate) fn removed_len(name: &str) -> usize {
    field_len(REMOVED_RESOURCES, name.len())
}

fn any_len(kind: Kind, entry: &Entry) -> usize {
    field_len(ANY_TYPE_URL, kind.type_url().len()) + field_len(ANY_VALUE, entry.body.len())
}

fn resource_len(kind: Kind, name: &str, entry: &Entry) -> usize {
    let inner = field_len(RESOURCE_VERSION, VERSION_LEN)
        + field_len(RESOURCE_BODY, any_len(kind, entry))
        + field_len(RESOURCE_NAME, name.len());
    field_len(RESOURCES, inner)
}

fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}

fn put_header(out: &mut BytesMut, tag: u32, len: usize) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

fn put_field(out: &mut BytesMut, tag: u32, value: &[u8]) {
    put_header(out, tag, value.len());
    out.put_slice(value);
}

/// [`Version`]'s text without an allocation.
fn put_version(out: &mut BytesMut, version: Version) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for shift in (0..VERSION_LEN).rev() {
        out.put_u8(DIGITS[(version.0 >> (4 * shift)) as usize & 15]);
    }
}
