//! The RFC's examples, and every length class both ways.

use bytes::BytesMut;

use super::{Frame, PAYLOAD_MAX, TEXT, accept};

#[test]
fn examples_of_the_rfc() {
    assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let mut masked = BytesMut::from(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58][..]);
    assert_eq!(Frame::decode(&mut masked).expect("a frame"), Some(Frame::new(TEXT, "Hello")));
    assert!(masked.is_empty());
}

#[test]
fn frames_survive_in_pieces() {
    for length in [0, 1, 125, 126, 0xffff, 0x1_0000] {
        for mask in [None, Some([1, 2, 3, 4])] {
            let frame = Frame::new(TEXT, vec![7; length]);
            let mut wire = Vec::new();
            frame.encode(mask, &mut wire);
            let mut buffer = BytesMut::from(&wire[..wire.len() - 1]);
            assert_eq!(Frame::decode(&mut buffer).expect("incomplete is no error"), None, "{length}");
            buffer.extend_from_slice(&wire[wire.len() - 1..]);
            buffer.extend_from_slice(b"rest");
            assert_eq!(Frame::decode(&mut buffer).expect("a frame"), Some(frame));
            assert_eq!(&buffer[..], b"rest");
        }
    }
}

#[test]
fn too_long_is_refused_before_it_is_buffered() {
    let mut wire = vec![0x82, 127];
    wire.extend_from_slice(&(PAYLOAD_MAX as u64 + 1).to_be_bytes());
    assert!(Frame::decode(&mut BytesMut::from(&wire[..])).is_err());
}
