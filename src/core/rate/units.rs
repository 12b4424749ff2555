//! Amounts and rates in whole numbers: units, and how many of them a time is worth.
//!
//! A limiter counts in *units*, a fixed power of ten of a token, a billionth if it can. Decimal, because amounts are what people write:
//! 0.1 and 0.2 make 0.3. Time becomes units by one multiplication with a 64-bit fixed-point rate, always from one fixed moment on, never
//! by adding up small steps: so nothing drifts, and the error over years is below one unit. It is rounded so that the rate is never
//! exceeded: what has come in is rounded down, what is used up from now on is rounded up.

use crate::clock::Nanos;

/// An amount, in units.
pub type Units = u64;

/// The largest amount: a limiter's burst, and what one call may ask for.
pub const MAX_UNITS: Units = 1_000_000_000_000_000_000;

/// How many units make a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(u64);

impl Scale {
    /// Billionths of a token, or as fine as lets `largest` tokens be counted. `None` if not even whole tokens do.
    pub fn for_largest(largest: f64) -> Option<Self> {
        (0..=9).rev().map(|digits| Self(10_u64.pow(digits))).find(|scale| scale.units(largest).is_some())
    }

    pub fn per_token(self) -> Units {
        self.0
    }

    /// To the nearest unit. `tokens` is finite and not negative; `None` if it is more than [`MAX_UNITS`].
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "bounded by the check"
    )]
    pub fn units(self, tokens: f64) -> Option<Units> {
        if tokens > MAX_UNITS as f64 {
            return None;
        }
        // In two steps, so that whole tokens stay exact.
        let whole = tokens.trunc();
        let fraction = ((tokens - whole) * self.0 as f64).round() as u64;
        let units = u128::from(whole as u64) * u128::from(self.0) + u128::from(fraction);
        u64::try_from(units).ok().filter(|&units| units <= MAX_UNITS)
    }

    #[expect(clippy::cast_precision_loss, reason = "a float is what people read; exact to 15 digits")]
    pub fn tokens(self, units: i128) -> f64 {
        units as f64 / self.0 as f64
    }
}

/// Why a rate cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaceError {
    TooFast,
    TooSlow,
}

/// A rate: `multiplier / 2^shift` units a nanosecond, never more than was asked for and less by no more than 2^-63 of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub(super) multiplier: u64,
    pub(super) shift: u32,
}

/// A finite positive float as `mantissa * 2^exponent`, the mantissa having exactly 53 bits.
fn decompose(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).expect("eleven bits");
    let fraction = bits & ((1 << 52) - 1);
    if exponent == 0 {
        let up = fraction.leading_zeros() - 11;
        return (fraction << up, -1074 - i32::try_from(up).expect("at most 52"));
    }
    (fraction | (1 << 52), exponent - 1075)
}

impl Pace {
    /// `rate` tokens per `period` seconds; both finite and positive.
    pub fn new(rate: f64, period: f64, scale: Scale) -> Result<Self, PaceError> {
        let (rate, rate_exponent) = decompose(rate);
        let (period, period_exponent) = decompose(period);
        let numerator = u128::from(rate) * u128::from(scale.0); // below 2^83
        let denominator = u128::from(period) * 1_000_000_000; // below 2^83
        // Long division, until the quotient has 64 bits.
        let mut quotient = numerator / denominator;
        let mut remainder = numerator % denominator;
        let mut shift = period_exponent - rate_exponent;
        while quotient < 1 << 63 {
            remainder <<= 1;
            quotient <<= 1;
            shift += 1;
            if remainder >= denominator {
                remainder -= denominator;
                quotient += 1;
            }
        }
        let multiplier = u64::try_from(quotient).expect("64 bits: it began with fewer and grew by one at a time");
        match u32::try_from(shift) {
            Ok(shift) if shift < 128 => Ok(Self { multiplier, shift }),
            Ok(_) => Err(PaceError::TooSlow),
            Err(_) => Err(PaceError::TooFast),
        }
    }

    /// How many whole units come in during `time`.
    #[inline]
    pub fn floor(self, time: Nanos) -> u128 {
        (u128::from(time) * u128::from(self.multiplier)) >> self.shift
    }

    /// As `floor`, and one more if there was a fraction.
    #[inline]
    pub fn ceil(self, time: Nanos) -> u128 {
        let product = u128::from(time) * u128::from(self.multiplier);
        let floor = product >> self.shift;
        floor + u128::from(floor << self.shift != product)
    }

    /// The shortest time in which so many units come in: the least with `floor(time) >= units`. `Nanos::MAX` for "never".
    pub fn time(self, units: u128) -> Nanos {
        if units.leading_zeros() < self.shift {
            return Nanos::MAX;
        }
        Nanos::try_from((units << self.shift).div_ceil(u128::from(self.multiplier))).unwrap_or(Nanos::MAX)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const NANO: Scale = Scale(1_000_000_000);

    #[test]
    fn decimals_are_exact() {
        assert_eq!(NANO.units(0.1 + 0.2), NANO.units(0.3));
        assert_eq!(NANO.units(2.5), Some(2_500_000_000));
        assert_eq!(NANO.units(1e9), Some(MAX_UNITS));
        assert_eq!(NANO.units(1e9 + 1.0), None);
        assert_eq!(Scale::for_largest(1e9), Some(NANO));
        assert_eq!(Scale::for_largest(1e12), Some(Scale(1_000_000)));
        assert_eq!(Scale::for_largest(1e19), None);
        assert!((NANO.tokens(300_000_000) - 0.3).abs() < f64::EPSILON);
    }

    #[test]
    fn a_round_rate_has_no_error() {
        let pace = Pace::new(10.0, 1.0, NANO).unwrap();
        assert_eq!(pace.floor(100_000_000), 1_000_000_000);
        assert_eq!(pace.ceil(100_000_000), 1_000_000_000);
        assert_eq!(pace.time(1_000_000_000), 100_000_000);
        let years = 1_000_000_000 * 86_400 * 365 * 20;
        assert_eq!(pace.floor(years), 10 * u128::from(years));
    }

    #[test]
    fn time_is_the_inverse_of_floor() {
        for rate in [1e-9, 0.1 + 0.2, 1.0 / 3.0, 3.0, 7.0, 54.0, 1e6 / 3.0, 1e9, f64::MIN_POSITIVE] {
            for period in [1.0, 60.0, 3600.0, 0.1] {
                let Ok(pace) = Pace::new(rate, period, NANO) else {
                    assert!(rate < 1e-300);
                    continue;
                };
                for units in [1, 2, 999_999_999, 1_000_000_000, 123_456_789_012_345] {
                    let time = pace.time(units);
                    if time != Nanos::MAX {
                        assert!(pace.floor(time) >= units, "{rate} {period} {units}");
                        assert!(pace.floor(time - 1) < units, "{rate} {period} {units}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_rate_is_never_exceeded_and_hardly_missed() {
        // 1/3 per second for 20 years, against exact fractions: 0.333...f = 6004799503160661 / 2^54
        let pace = Pace::new(1.0 / 3.0, 1.0, NANO).unwrap();
        let years: u64 = 1_000_000_000 * 86_400 * 365 * 20;
        let exact = u128::from(years) * 6_004_799_503_160_661 / (1 << 54);
        assert!(pace.floor(years) <= exact);
        assert!(pace.floor(years) + 1 >= exact);
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        assert_eq!(Pace::new(1e300, 1.0, NANO), Err(PaceError::TooFast));
        assert_eq!(Pace::new(1e-300, 1.0, NANO), Err(PaceError::TooSlow));
        assert!(Pace::new(5e-310, 1e-300, NANO).is_ok());
    }
}
