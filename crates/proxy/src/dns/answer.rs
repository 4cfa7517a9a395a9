//! Answers from the mesh's name table. Pure: a query and the table in, a reply or "not ours" out.

use std::net::IpAddr;

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME},
    },
};
use mizzen_snapshot::view::Names;

/// Seconds that a client may keep an answer (Istio).
const TTL: u32 = 30;

/// Addresses in one answer: what a client makes use of, and what fits a datagram.
const ADDRESSES_MAX: usize = 64;

/// What becomes of a query.
#[derive(Debug)]
pub(crate) enum Outcome {
    Reply(Box<Message>),
    /// For the upstream name servers.
    Forward,
}

/// Answers `query` from `names` (`None` before the first table). `search` are the domains of resolv.conf, which a
/// resolver appends to short names; `rotate` varies the order of addresses.
pub(crate) fn answer(query: &Message, names: Option<&Names>, search: &[String], rotate: usize) -> Outcome {
    let ([question], MessageType::Query, OpCode::Query) =
        (&*query.queries, query.metadata.message_type, query.metadata.op_code)
    else {
        return Outcome::Reply(Box::new(failure(query, ResponseCode::NotImp)));
    };
    let Some(names) = names else { return Outcome::Reply(Box::new(failure(query, ResponseCode::ServFail))) };
    let wanted = question.query_type();
    if question.query_class() != DNSClass::IN || !matches!(wanted, RecordType::A | RecordType::AAAA) {
        return Outcome::Forward;
    }
    let asked = text(question.name());
    let (found, canonical) = match find(names, &asked) {
        Some(found) => (found, None),
        None => match without_search(&asked, search).and_then(|short| Some((find(names, short)?, short))) {
            Some((found, short)) => (found, Name::from_ascii(format!("{short}.")).ok()),
            None => return Outcome::Forward,
        },
    };
    let mut reply = reply(query);
    reply.metadata.authoritative = true;
    let owner = canonical.clone().unwrap_or_else(|| question.name().clone());
    if let Some(canonical) = canonical {
        reply.add_answer(Record::from_rdata(question.name().clone(), TTL, RData::CNAME(CNAME(canonical))));
    }
    let of_family = |ip: &&IpAddr| ip.is_ipv4() == (wanted == RecordType::A);
    let mut addresses: Vec<&IpAddr> = found.iter().filter(of_family).collect();
    if !addresses.is_empty() {
        let by = rotate % addresses.len();
        addresses.rotate_left(by);
    }
    for ip in addresses.into_iter().take(ADDRESSES_MAX) {
        let data = match ip {
            IpAddr::V4(ip) => RData::A(A(*ip)),
            IpAddr::V6(ip) => RData::AAAA(AAAA(*ip)),
        };
        reply.add_answer(Record::from_rdata(owner.clone(), TTL, data));
    }
    Outcome::Reply(Box::new(reply))
}

/// Lower case, without the trailing dot.
fn text(name: &Name) -> String {
    let mut text = name.to_ascii();
    text.make_ascii_lowercase();
    text.truncate(text.trim_end_matches('.').len());
    text
}

fn find<'a>(names: &'a Names, name: &str) -> Option<&'a [IpAddr]> {
    if let Some(found) = names.addresses.get(name) {
        return Some(found);
    }
    let mut rest = name;
    while let Some((_, parent)) = rest.split_once('.') {
        if let Some(found) = names.wildcards.get(parent) {
            return Some(found);
        }
        rest = parent;
    }
    None
}

fn without_search<'a>(name: &'a str, search: &[String]) -> Option<&'a str> {
    search.iter().find_map(|domain| name.strip_suffix(domain.as_str())?.strip_suffix('.'))
}

fn reply(query: &Message) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.add_queries(query.queries.iter().cloned());
    reply
}

/// A reply without an answer.
pub(crate) fn failure(query: &Message, code: ResponseCode) -> Message {
    let mut reply = reply(query);
    reply.metadata.response_code = code;
    reply
}

#[cfg(test)]
mod tests;
