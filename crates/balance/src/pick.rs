//! Round robin, least request (two random choices), random; priorities by health.
//!
//! A picker is built when the hosts of a cluster or their health change, and picks without allocating.

use crate::{priority, random, schedule::Schedule};

/// One endpoint as the picker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// At least 1.
    pub weight: u32,
    pub healthy: bool,
    /// 0 is the first choice.
    pub priority: u32,
}

/// How to pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// In turn; with weights that differ, smoothly in proportion to them.
    RoundRobin,
    /// The less busy of two random hosts; with weights that differ, in proportion to weight / (requests under way + 1).
    LeastRequest,
    /// In proportion to the weights.
    Random,
}

/// Picks positions in the list that it was built from. One per worker and cluster: its cursor is not shared.
#[derive(Debug)]
pub struct Picker {
    /// Priorities that get load.
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    /// Percent of the load that this level and those before it get.
    share_until: u64,
    turn: Turn,
}

/// How a level picks among its healthy hosts. `hosts` holds their positions.
#[derive(Debug)]
enum Turn {
    Rotation { hosts: Vec<usize>, next: usize },
    TwoChoices { hosts: Vec<usize> },
    Uniform { hosts: Vec<usize> },
    Weighted { hosts: Vec<usize>, weight_until: Vec<u64> },
    Schedule(Schedule),
    BusySchedule(Schedule),
}

impl Picker {
    /// Builds the picker for these hosts. `start` is a random number: where rotations begin, so that workers and proxies
    /// that are built from the same list do not all begin with its first host.
    pub fn new(policy: Policy, hosts: &[Host], start: u64) -> Self {
        let mut share_until = 0;
        let level = |(priority, share): (u32, u32)| {
            share_until += u64::from(share);
            let chosen = |(_, host): &(usize, &Host)| host.healthy && host.priority == priority;
            let members = hosts.iter().enumerate().filter(chosen).map(|(at, host)| (at, host.weight.max(1)));
            Level { share_until, turn: Turn::new(policy, members.collect(), start) }
        };
        Self { levels: priority::loads(hosts).into_iter().map(level).collect() }
    }

    /// The position of the next host, or `None` when no host is healthy. `in_flight(i)` is the caller's count of
    /// requests under way at host i; `avoid(i)` marks hosts already tried (used if nothing else is found after
    /// `attempts` further tries); `random` yields uniform numbers.
    pub fn pick(
        &mut self,
        in_flight: impl Fn(usize) -> u32,
        avoid: impl Fn(usize) -> bool,
        attempts: u32,
        random: &mut impl FnMut() -> u64,
    ) -> Option<usize> {
        let mut found = self.pick_once(&in_flight, random)?;
        for _ in 0..attempts {
            if !avoid(found) {
                break;
            }
            found = self.pick_once(&in_flight, random)?;
        }
        Some(found)
    }

    fn pick_once(&mut self, in_flight: &impl Fn(usize) -> u32, random: &mut impl FnMut() -> u64) -> Option<usize> {
        let level = match self.levels.as_mut_slice() {
            [only] => only,
            levels => {
                let point = random::below(100, random());
                levels.iter_mut().find(|level| point < level.share_until)?
            }
        };
        level.turn.pick(in_flight, random)
    }
}

impl Turn {
    fn new(policy: Policy, members: Vec<(usize, u32)>, start: u64) -> Self {
        let equal = members.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let next = random::below(members.len() as u64, start) as usize;
        let hosts = || members.iter().map(|(at, _)| *at).collect();
        match (policy, equal) {
            (Policy::RoundRobin, true) => Self::Rotation { hosts: hosts(), next },
            (Policy::RoundRobin, false) => Self::Schedule(Schedule::new(members.into_iter(), next)),
            (Policy::LeastRequest, true) => Self::TwoChoices { hosts: hosts() },
            (Policy::LeastRequest, false) => Self::BusySchedule(Schedule::new(members.into_iter(), next)),
            (Policy::Random, true) => Self::Uniform { hosts: hosts() },
            (Policy::Random, false) => {
                let mut sum = 0;
                let add = |(_, weight): &(usize, u32)| {
                    sum += u64::from(*weight);
                    sum
                };
                Self::Weighted { weight_until: members.iter().map(add).collect(), hosts: hosts() }
            }
        }
    }

    fn pick(&mut self, in_flight: &impl Fn(usize) -> u32, random: &mut impl FnMut() -> u64) -> Option<usize> {
        match self {
            Self::Rotation { hosts, next } => {
                let found = hosts.get(*next).copied();
                *next = if *next + 1 < hosts.len() { *next + 1 } else { 0 };
                found
            }
            Self::TwoChoices { hosts } | Self::Uniform { hosts } if hosts.len() < 2 => hosts.first().copied(),
            Self::TwoChoices { hosts } => {
                let (one, other) = random::two_below(hosts.len(), random());
                let (one, other) = (hosts[one], hosts[other]);
                Some(if in_flight(other) < in_flight(one) { other } else { one })
            }
            Self::Uniform { hosts } => Some(hosts[random::below(hosts.len() as u64, random()) as usize]),
            Self::Weighted { hosts, weight_until } => {
                let point = random::below(*weight_until.last()?, random());
                Some(hosts[weight_until.partition_point(|until| *until <= point)])
            }
            Self::Schedule(schedule) => schedule.pick(|_| 1),
            Self::BusySchedule(schedule) => schedule.pick(|host| in_flight(host).saturating_add(1)),
        }
    }
}

#[cfg(test)]
mod tests;
