//! Numbers survive both framings; a number out of turn is noticed.

use bytes::BytesMut;

use super::{Protocol, Shared, encode, lock, take};

#[test]
fn numbers_in_and_out_of_turn() {
    for protocol in [Protocol::Websocket, Protocol::Echo] {
        let (shared, mut due, mut buffer) = (Shared::default(), 0, BytesMut::new());
        for number in [0, 1, 3, 3] {
            buffer.extend_from_slice(&encode(protocol, number));
        }
        buffer.extend_from_slice(&encode(protocol, 4)[..1]);
        take(protocol, &mut buffer, &mut due, &shared).expect("whole frames and a part of one");
        let frames = lock(&shared);
        assert_eq!((due, frames.received, frames.out_of_order, buffer.len()), (4, 4, 1, 1), "{protocol:?}");
    }
}
