//! NumPy's legacy random numbers: MT19937 and the recipes on top of it (docs/original.md §4).

use rand_mt::Mt;

/// A stream equal to `numpy.random.RandomState(seed)`.
pub struct Legacy {
    words: Mt,
    spare_normal: Option<f64>,
}

impl Legacy {
    /// Starts the stream as `numpy.random.seed(seed)` does.
    pub fn seeded(seed: u32) -> Self {
        Legacy { words: Mt::new(seed), spare_normal: None }
    }

    /// `rand()`: uniform in [0, 1) with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        let high = f64::from(self.words.next_u32() >> 5);
        let low = f64::from(self.words.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// `randint(low, high)`, `high` excluded; the caller sees to it that `low < high`.
    pub fn integer(&mut self, low: i64, high: i64) -> i64 {
        let range = (high - 1 - low) as u32;
        if range == 0 {
            return low;
        }
        let mask = u32::MAX >> range.leading_zeros();
        loop {
            let value = self.words.next_u32() & mask;
            if value <= range {
                return low + i64::from(value);
            }
        }
    }

    /// `randn()`: a standard normal by the polar method; the second of each pair is kept.
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let x1 = 2.0 * self.uniform() - 1.0;
            let x2 = 2.0 * self.uniform() - 1.0;
            let square = x1 * x1 + x2 * x2;
            if square > 0.0 && square < 1.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                self.spare_normal = Some(factor * x1);
                return factor * x2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The expected values were printed by NumPy: np.random.seed(1) and the named calls.

    #[test]
    fn uniforms_equal_numpys() {
        let mut random = Legacy::seeded(1);
        assert_eq!(random.uniform(), 0.417022004702574);
        assert_eq!(random.uniform(), 0.7203244934421581);
        assert_eq!(random.uniform(), 0.00011437481734488664);
    }

    #[test]
    fn normals_equal_numpys() {
        let mut random = Legacy::seeded(1);
        let drawn: Vec<f64> = (0..3).map(|_| random.normal()).collect();
        assert_eq!(drawn, [1.6243453636632417, -0.6117564136500754, -0.5281717522634557]);
    }

    #[test]
    fn integers_equal_numpys() {
        let mut random = Legacy::seeded(1);
        let drawn: Vec<i64> = (0..8).map(|_| random.integer(10, 47)).collect();
        assert_eq!(drawn, NUMPY_INTEGERS);
        assert_eq!(random.integer(5, 6), 5);
    }

    const NUMPY_INTEGERS: [i64; 8] = [22, 18, 19, 21, 15, 25, 10, 26];
}
