//! Weighted choice: weights in, positions out.

/// Cumulative weights; `pick` maps a uniform random number to a position.
#[derive(Clone, Debug, Default)]
pub struct WeightTable {
    /// Sum of the weights up to and including each position.
    cumulative: Vec<u64>,
}

impl WeightTable {
    /// A table of these weights; position i is picked in `weights[i]` of `sum(weights)` cases.
    pub fn new(weights: &[u32]) -> Self {
        let mut sum = 0;
        let add = |weight: &u32| {
            sum += u64::from(*weight);
            sum
        };
        Self { cumulative: weights.iter().map(add).collect() }
    }

    /// Position for a uniform `random`; `None` when there is no weight at all.
    #[inline]
    pub fn pick(&self, random: u64) -> Option<usize> {
        let total = *self.cumulative.last().filter(|total| **total > 0)?;
        // The high half of the product spreads 64 random bits over 0..total, off by at most total / 2^64.
        let point = ((u128::from(random) * u128::from(total)) >> 64) as u64;
        Some(self.cumulative.partition_point(|sum| *sum <= point))
    }
}

#[cfg(test)]
mod tests;
