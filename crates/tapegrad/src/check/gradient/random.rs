//! Directions and weights.

/// Numbers between ½ and 1 of either sign: none so small that an error would hide in it. The generator is SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let magnitude = 0.5 + (z >> 12) as f64 / (1u64 << 53) as f64;
        if z & 1 == 0 { magnitude } else { -magnitude }
    }

    /// As many numbers as each of these values has elements.
    pub(super) fn like(&mut self, values: &[Vec<f64>]) -> Vec<Vec<f64>> {
        values.iter().map(|value| value.iter().map(|_| self.next()).collect()).collect()
    }
}
