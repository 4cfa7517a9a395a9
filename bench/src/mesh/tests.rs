//! The arithmetic of the figures.

use super::Quantiles;

#[test]
fn quantiles_are_values_that_occurred() {
    let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
    let cases = [
        (vec![], None),
        (vec![7.0], Some((7.0, 7.0))),
        (vec![2.0, 1.0], Some((1.0, 2.0))),
        (vec![3.0, 1.0, 2.0], Some((2.0, 3.0))),
        (hundred, Some((50.0, 99.0))),
    ];
    for (values, want) in cases {
        let text = format!("{values:?}");
        assert_eq!(Quantiles::of(values), want.map(|(p50, p99)| Quantiles { p50, p99 }), "{text}");
    }
}
