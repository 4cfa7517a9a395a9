//! How load falls on priorities, by their health.
//!
//! Source: Envoy, "Priority levels": the health of a priority is its share of healthy hosts times 1.4, at most 100 %;
//! load fills priority 0 up to its health, then 1, and so on. Where all together have less than 100 %, their healths are
//! scaled up. Panic routing is off: without a healthy host there is no load anywhere.

use crate::pick::Host;

/// Envoy's default overprovisioning factor, in percent.
const OVERPROVISIONING: usize = 140;

/// Priorities that get load, first one first, with the percentage of each; the percentages add up to 100.
pub(crate) fn loads(hosts: &[Host]) -> Vec<(u32, u32)> {
    let mut priorities: Vec<u32> = hosts.iter().map(|host| host.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let healths: Vec<(u32, u32)> = priorities
        .into_iter()
        .map(|priority| (priority, health(hosts.iter().filter(|host| host.priority == priority))))
        .filter(|(_, health)| *health > 0)
        .collect();
    let total = healths.iter().map(|(_, health)| health).sum::<u32>().min(100);
    let mut left = 100;
    let mut loads: Vec<(u32, u32)> = healths
        .into_iter()
        .map(|(priority, health)| {
            let load = left.min(health * 100 / total);
            left -= load;
            (priority, load)
        })
        .filter(|(_, load)| *load > 0)
        .collect();
    // What rounding lost goes to the first.
    if let Some((_, load)) = loads.first_mut() {
        *load += left;
    }
    loads
}

/// Percent. One healthy host among very many still counts.
fn health<'a>(hosts: impl Iterator<Item = &'a Host>) -> u32 {
    let (mut healthy, mut total) = (0, 0);
    for host in hosts {
        total += 1;
        healthy += usize::from(host.healthy);
    }
    if healthy == 0 { 0 } else { (OVERPROVISIONING * healthy / total).clamp(1, 100) as u32 }
}

#[cfg(test)]
mod tests;
