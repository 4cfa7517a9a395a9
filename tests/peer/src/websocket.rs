//! As much of RFC 6455 as an echo needs: the accept key, frames in and out. No fragments are joined: an echo returns
//! them as they came.

use anyhow::bail;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Buf as _, Bytes, BytesMut};

/// The longest frame taken.
const PAYLOAD_MAX: usize = 1024 * 1024;
/// In the place of a length: it follows in 16 or 64 bits.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
/// Opcodes.
pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// One frame, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Bytes,
}

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub(crate) fn accept(key: &[u8]) -> String {
    let mut hash = sha1_smol::Sha1::from(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.digest().bytes())
}

impl Frame {
    /// A whole message.
    pub(crate) fn new(opcode: u8, payload: impl Into<Bytes>) -> Self {
        Self { fin: true, opcode, payload: payload.into() }
    }

    /// Appends the frame; a client masks it.
    pub(crate) fn encode(&self, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
        let masked = if mask.is_some() { 0x80 } else { 0 };
        out.push(u8::from(self.fin) << 7 | self.opcode);
        match self.payload.len() {
            length @ 0..=125 => out.push(masked + length as u8),
            length @ 126..=0xffff => {
                out.push(masked + LENGTH_16);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(masked + LENGTH_64);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let mask_bytes = mask.unwrap_or_default();
        if mask.is_some() {
            out.extend_from_slice(&mask_bytes);
        }
        out.extend(self.payload.iter().zip(mask_bytes.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }

    /// Takes one frame off the front; none while it is incomplete.
    pub(crate) fn decode(buffer: &mut BytesMut) -> anyhow::Result<Option<Self>> {
        let [first, second, ..] = buffer[..] else { return Ok(None) };
        let extended = match second & 0x7f {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            _ => 0,
        };
        let masked = second & 0x80 != 0;
        let head = 2 + extended + if masked { 4 } else { 0 };
        if buffer.len() < head {
            return Ok(None);
        }
        let length = match extended {
            0 => u64::from(second & 0x7f),
            _ => buffer[2..2 + extended].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= PAYLOAD_MAX) else {
            bail!("a frame of {length} bytes");
        };
        if buffer.len() < head + length {
            return Ok(None);
        }
        let mask: [u8; 4] = if masked { buffer[head - 4..head].try_into()? } else { [0; 4] };
        buffer.advance(head);
        let payload = buffer.split_to(length).iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        Ok(Some(Self { fin: first & 0x80 != 0, opcode: first & 0x0f, payload }))
    }
}

#[cfg(test)]
mod tests;
