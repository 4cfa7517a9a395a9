//! A pick allocates nothing.

use mizzen_balance::{Host, Picker, Policy};

#[test]
fn picks_allocate_nothing() {
    for policy in [Policy::RoundRobin, Policy::LeastRequest, Policy::Random] {
        for weights in [[1, 1, 1, 1], [1, 2, 3, 4]] {
            let host = |(n, weight): (u32, u32)| Host { weight, healthy: n != 1, priority: n / 2 };
            let hosts: Vec<Host> = (0..).zip(weights).map(host).collect();
            let mut picker = Picker::new(policy, &hosts, 0);
            let mut state = 1_u64;
            let mut random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state
            };
            let counted = allocation_counter::measure(|| {
                for _ in 0..1000 {
                    std::hint::black_box(picker.pick(|_| 1, |host| host == 0, 3, &mut random));
                }
            });
            assert_eq!(counted.count_total, 0, "{policy:?} with {weights:?} allocates");
        }
    }
}
