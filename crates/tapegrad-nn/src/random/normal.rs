//! The standard normal distribution by the ratio of uniforms (Kinderman and Monahan, "Computer generation of random
//! variables using the ratio of uniform deviates", ACM TOMS 3, 1977).
//!
//! Why not `rand_distr`'s ziggurat: in its tails it *returns* a logarithm, taken from the platform or from `libm`
//! according to whether any crate of the build turns on `num-traits/std`, so adding `ndarray` to a program could
//! change the last bit of a weight. Here the number returned is a quotient, exact to the rounding on every platform.
//! The logarithm only decides whether to keep it: two logarithms that differ in the last bit would have to fall on
//! the two sides of it, which happens less than once in 10¹⁵ draws. It costs 1.37 pairs of draws and as many
//! logarithms, which for initial weights is nothing.

use super::Rng;

/// √(2/e), the greatest |v| for which a pair (u, v) can be kept.
const V_MAX: f64 = 0.857_763_884_960_706_8;

/// The next number of the standard normal distribution.
pub(super) fn standard_normal(rng: &mut Rng) -> f64 {
    loop {
        let u = 1.0 - rng.unit(); // in (0, 1]: the quotient is finite
        let v = V_MAX * (2.0 * rng.unit() - 1.0);
        let x = v / u;
        if x * x <= -4.0 * u.ln() {
            return x;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_normals_never_change() {
        let mut rng = Rng::seed(1);
        let drawn: Vec<f64> = (0..8).map(|_| standard_normal(&mut rng)).collect();
        let golden = [
            -0.03045451646948684,
            -0.5920731700239745,
            -0.49066319720354107,
            -0.3195132165050253,
            -0.38072979393589046,
            -0.32551676032247934,
            2.463368350809259,
            0.5350701951504724,
        ];
        assert_eq!(drawn, golden);
    }

    #[test]
    fn normals_have_the_moments_and_tails_of_the_normal_distribution() {
        let (mut rng, n) = (Rng::seed(20), 400_000);
        let drawn: Vec<f64> = (0..n).map(|_| standard_normal(&mut rng)).collect();
        // Each estimate within four of its standard errors.
        let n = n as f64;
        let moment = |k: i32| drawn.iter().map(|x| x.powi(k)).sum::<f64>() / n;
        for (k, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0_f64)] {
            let bound = 4.0 * (variance / n).sqrt();
            assert!((moment(k) - expected).abs() < bound, "moment {k}: expected {expected}, found {}", moment(k));
        }
        // Φ at -3, -2, -1, 0, 1, 2, 3.
        let phi = [
            0.001_349_898_03,
            0.022_750_131_95,
            0.158_655_253_93,
            0.5,
            0.841_344_746_07,
            0.977_249_868_05,
            0.998_650_101_97,
        ];
        for (x, p) in (-3..=3).zip(phi) {
            let found = drawn.iter().filter(|&&y| y <= f64::from(x)).count() as f64 / n;
            assert!(
                (found - p).abs() < 4.0 * (p * (1.0 - p) / n).sqrt(),
                "share below {x}: expected {p}, found {found}"
            );
        }
    }
}
