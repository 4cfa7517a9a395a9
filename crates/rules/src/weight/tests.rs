//! Shares of weights at exact points.

use super::*;

#[test]
fn positions_by_share() {
    let cases: [(&[u32], &[Option<usize>]); 7] = [
        (&[], &[None; 4]),
        (&[0, 0], &[None; 4]),
        (&[7], &[Some(0); 4]),
        (&[1, 1], &[Some(0), Some(0), Some(1), Some(1)]),
        (&[1, 0, 1], &[Some(0), Some(0), Some(2), Some(2)]),
        (&[0, 3, 1], &[Some(1), Some(1), Some(1), Some(2)]),
        (&[u32::MAX, u32::MAX], &[Some(0), Some(0), Some(1), Some(1)]),
    ];
    for (weights, wanted) in cases {
        let table = WeightTable::new(weights);
        let quarters = [0, 1 << 62, 1 << 63, 3 << 62];
        assert_eq!(quarters.map(|random| table.pick(random)).as_slice(), wanted, "{weights:?}");
        let last = weights.iter().rposition(|weight| *weight > 0);
        assert_eq!(table.pick(u64::MAX), last, "{weights:?}");
    }
}
