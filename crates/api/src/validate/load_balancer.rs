//! The `loadBalancer` part of a `DestinationRule`.

use super::{at_least_1ms, at_most_one, exactly_one, percent};
use crate::{
    istio::{ConsistentHash, LoadBalancer, LocalityLb, SimpleLb, Warmup},
    problem::At,
};

/// Largest table that maglev may have.
const MAGLEV_SLOTS_MAX: u64 = 5_000_011;

pub(super) fn check(at: &At<'_>, policy: &LoadBalancer) {
    at_most_one(at, &[("simple", policy.simple.is_some()), ("consistentHash", policy.consistent_hash.is_some())]);
    if let Some(hash) = &policy.consistent_hash {
        consistent_hash(&at.field("consistentHash"), hash);
    }
    at_most_one(
        at,
        &[
            ("localityLbSetting", policy.locality_lb_setting.is_some()),
            ("zoneAwareLbSetting", policy.zone_aware_lb_setting.is_some()),
        ],
    );
    if let Some(setting) = &policy.locality_lb_setting {
        locality(&at.field("localityLbSetting"), setting);
    }
    at_most_one(
        at,
        &[("warmup", policy.warmup.is_some()), ("warmupDurationSecs", policy.warmup_duration_secs.is_some())],
    );
    if let Some(setting) = &policy.warmup {
        warmup(&at.field("warmup"), setting);
        let simple = policy.simple.unwrap_or_default();
        if policy.consistent_hash.is_some() || matches!(simple, SimpleLb::Random | SimpleLb::Passthrough) {
            at.field("warmup").error("goes with ROUND_ROBIN and LEAST_REQUEST only", "simple: LEAST_REQUEST");
        }
    }
}

fn consistent_hash(at: &At<'_>, hash: &ConsistentHash) {
    let keys = [
        ("httpHeaderName", hash.http_header_name.is_some()),
        ("httpCookie", hash.http_cookie.is_some()),
        ("useSourceIp", hash.use_source_ip.is_some()),
        ("httpQueryParameterName", hash.http_query_parameter_name.is_some()),
    ];
    exactly_one(at, &keys);
    if hash.use_source_ip == Some(false) {
        at.field("useSourceIp").error("expected `true`, or another key of the hash", "true");
    }
    if let Some(cookie) = &hash.http_cookie
        && cookie.name.is_empty()
    {
        at.field("httpCookie").field("name").error("a cookie needs a name", "user");
    }
    let algorithms = [
        ("ringHash", hash.ring_hash.is_some()),
        ("maglev", hash.maglev.is_some()),
        ("minimumRingSize", hash.minimum_ring_size.is_some()),
    ];
    at_most_one(at, &algorithms);
    if let Some(size) = hash.maglev.and_then(|maglev| maglev.table_size)
        && !(size <= MAGLEV_SLOTS_MAX && is_prime(size))
    {
        let message = format!("expected a prime number of at most {MAGLEV_SLOTS_MAX}, found {size}");
        at.field("maglev").field("tableSize").error(message, "65537");
    }
}

fn is_prime(number: u64) -> bool {
    number > 1 && (2..=number.isqrt()).all(|divisor| !number.is_multiple_of(divisor))
}

fn locality(at: &At<'_>, setting: &LocalityLb) {
    at_most_one(at, &[("distribute", !setting.distribute.is_empty()), ("failover", !setting.failover.is_empty())]);
    if !setting.distribute.is_empty() && !setting.failover_priority.is_empty() {
        at.field("failoverPriority").error("goes with `failover` only", "");
    }
    for (index, rule) in setting.distribute.iter().enumerate() {
        let at = at.field("distribute");
        let at = at.index(index);
        if rule.from.is_empty() {
            at.field("from").error("a locality is required", "us-west/zone1/*");
        }
        let total: u64 = rule.to.values().map(|share| u64::from(*share)).sum();
        if total != 100 {
            at.field("to").error(
                format!("the shares must sum to 100, they sum to {total}"),
                "{\"us-west/*\": 80, \"us-east/*\": 20}",
            );
        }
    }
    for (index, rule) in setting.failover.iter().enumerate() {
        let at = at.field("failover");
        let at = at.index(index);
        if rule.from.is_empty() || rule.to.is_empty() || rule.from == rule.to {
            at.error("expected two different regions", "{from: us-east, to: us-west}");
        }
        if rule.from.contains(['/', '*']) || rule.to.contains(['/', '*']) {
            at.error("failover is between regions: no zone and no wildcard", "{from: us-east, to: us-west}");
        }
    }
}

fn warmup(at: &At<'_>, setting: &Warmup) {
    if setting.duration.is_none() {
        at.error("`duration` is required", "duration: 30s");
    }
    at_least_1ms(&at.field("duration"), setting.duration);
    percent(&at.field("minimumPercent"), setting.minimum_percent.unwrap_or(0.0));
    // Written so that NaN is refused as well.
    if !setting.aggression.is_none_or(|aggression| aggression > 0.0) {
        at.field("aggression").error("expected a number above 0", "1.0");
    }
}
