//! Amounts and rates as integers: units, and the number of units that come in during a time.
//!
//! A limiter counts in *units*, a fixed power of ten of a token: a billionth if the range allows it. The scale is decimal because people
//! write amounts and rates in decimal: 0.1 and 0.2 make 0.3, and a rate of 0.1 per second is one in ten seconds. A time is converted to
//! units by one multiplication with a 64-bit fixed-point rate, always from one fixed moment on, never by adding up small steps: so nothing
//! drifts, and the error over years is below one unit. It is rounded such that the rate is never exceeded: what has come in is rounded
//! down, what is used up from now on is rounded up.

use crate::clock::Nanos;

/// An amount, in units.
pub type Units = u64;

/// The largest amount: of a limiter's burst, and of one call.
pub const MAX_UNITS: Units = 1_000_000_000_000_000_000;

/// How many units make a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(u64);

impl Default for Scale {
    fn default() -> Self {
        Self(1)
    }
}

impl Scale {
    /// The finest scale, at most a billionth of a token, in which `largest` tokens can be counted. `None` if not even whole tokens can.
    pub fn for_largest(largest: f64) -> Option<Self> {
        (0..=9).rev().map(|digits| Self(10_u64.pow(digits))).find(|scale| scale.units(largest).is_some())
    }

    fn digits(self) -> i32 {
        self.0.ilog10().try_into().expect("at most 9")
    }

    pub fn per_token(self) -> Units {
        self.0
    }

    /// Rounds to the nearest unit. `tokens` is finite and not negative; `None` if it is more than [`MAX_UNITS`].
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

/// Why a rate cannot be represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateError {
    TooFast,
    TooSlow,
}

/// A rate: `multiplier / 2^shift` units a nanosecond.
///
/// For a rate that is a simple fraction (one tenth, five thirds) the multiplier is rounded up, which makes the whole part of every product
/// exact within the horizon (Granlund and Montgomery, *Division by invariant integers using multiplication*, 1994). For any other it is
/// rounded down, so that the rate is never exceeded and missed by less than 2^-63 of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub(super) multiplier: u64,
    pub(super) shift: u32,
    /// A remainder of a product below this many 2^63rds results from the rounding: the product is whole.
    pub(super) grain: u64,
    /// Up to this time the products are exact.
    pub(super) horizon: Nanos,
}

/// The shortest horizon for which the multiplier is rounded up.
const DAY: Nanos = 86_400_000_000_000;

/// A finite positive float as `digits * 10^exponent`: the shortest decimal that represents this float and no other.
fn decimal(value: f64) -> (u64, i32) {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').expect("it was asked for");
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}").parse().expect("at most 17 digits");
    let exponent: i32 = exponent.parse().expect("at most three digits");
    (digits, exponent - i32::try_from(fraction.len()).expect("at most 16"))
}

/// Multiplies by a power of ten; None if the product does not fit.
fn scaled(digits: u64, power: u32) -> Option<u128> {
    10_u128.checked_pow(power)?.checked_mul(u128::from(digits))
}

impl Rate {
    /// The rate of `rate` tokens per `period` seconds, both finite and positive.
    pub fn new(rate: f64, period: f64, scale: Scale) -> Result<Self, RateError> {
        let (rate, rate_exponent) = decimal(rate);
        let (period, period_exponent) = decimal(period);
        // Units per nanosecond: rate / period, times a power of ten.
        let power = rate_exponent - period_exponent + scale.digits() - 9;
        // Digits are below 10^17, or 2^57: what does not fit is more than 2^64 times the other side.
        let (numerator, denominator) = match u32::try_from(power) {
            Ok(power) => (scaled(rate, power).ok_or(RateError::TooFast)?, u128::from(period)),
            Err(_) => (u128::from(rate), scaled(period, power.unsigned_abs()).ok_or(RateError::TooSlow)?),
        };
        // Long division, until the quotient has 64 bits.
        let mut quotient = numerator / denominator;
        let mut remainder = numerator % denominator;
        let mut shift = 0;
        while quotient < 1 << 63 {
            // Doubles the remainder without overflow, by comparing it with half of the denominator.
            let exceeds = remainder >= denominator - remainder;
            remainder = if exceeds { remainder - (denominator - remainder) } else { remainder << 1 };
            quotient = quotient << 1 | u128::from(exceeds);
            shift += 1;
        }
        if quotient >> 64 != 0 {
            return Err(RateError::TooFast);
        }
        let multiplier = u64::try_from(quotient).expect("64 bits, checked above");
        if shift >= 128 {
            return Err(RateError::TooSlow);
        }
        if remainder == 0 {
            return Ok(Self { multiplier, shift, grain: 0, horizon: Nanos::MAX });
        }
        // Rounded up, a product is too large by `time * excess / denominator` 2^shift-ths; that must stay well below one denominator-th.
        let excess = denominator - remainder;
        let horizon = (1_u128.checked_shl(shift).unwrap_or(0) / excess) >> 2;
        match (multiplier.checked_add(1), u64::try_from(horizon), u64::try_from((1_u128 << 62) / denominator)) {
            (Some(multiplier), Ok(horizon), Ok(grain)) if horizon >= DAY && grain > 0 => {
                Ok(Self { multiplier, shift, grain, horizon })
            }
            (Some(multiplier), Err(_), Ok(grain)) if grain > 0 => Ok(Self { multiplier, shift, grain, horizon: Nanos::MAX }),
            _ => Ok(Self { multiplier, shift, grain: 0, horizon: Nanos::MAX }),
        }
    }

    /// The whole units that come in during `time`, rounded down.
    #[inline]
    pub fn floor(self, time: Nanos) -> u128 {
        (u128::from(time) * u128::from(self.multiplier)) >> self.shift
    }

    /// The units that come in during `time`, rounded up.
    #[inline]
    pub fn ceil(self, time: Nanos) -> u128 {
        let product = u128::from(time) * u128::from(self.multiplier);
        let floor = product >> self.shift;
        let left = product - (floor << self.shift);
        let left_63 = if self.shift >= 63 { left >> (self.shift - 63) } else { left << (63 - self.shift) };
        floor + u128::from(left > 0 && left_63 >= u128::from(self.grain))
    }

    /// The shortest time in which this many units come in: the smallest with `floor(time) >= units`. `Nanos::MAX` means never.
    pub fn time(self, units: u128) -> Nanos {
        if units.leading_zeros() < self.shift {
            return Nanos::MAX;
        }
        // One division only: the remainder follows from its result.
        let (scaled, multiplier) = (units << self.shift, u128::from(self.multiplier));
        let whole = scaled / multiplier;
        let time = whole + u128::from(whole * multiplier < scaled);
        // Beyond the horizon a product can be too large by one.
        Nanos::try_from(time + u128::from(time > u128::from(self.horizon))).unwrap_or(Nanos::MAX)
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
        let slow = Rate::new(0.1, 1.0, NANO).unwrap();
        assert_eq!((slow.time(1_000_000_000), slow.ceil(10_000_000_000)), (10_000_000_000, 1_000_000_000));
        let per_nano = Rate::new(10.0, 1.0, NANO).unwrap();
        assert_eq!(per_nano.floor(100_000_000), 1_000_000_000);
        assert_eq!(per_nano.ceil(100_000_000), 1_000_000_000);
        assert_eq!(per_nano.time(1_000_000_000), 100_000_000);
        let years = 1_000_000_000 * 86_400 * 365 * 20;
        assert_eq!(per_nano.floor(years), 10 * u128::from(years));
    }

    #[test]
    fn time_is_the_inverse_of_floor() {
        for rate in [1e-9, 0.1 + 0.2, 1.0 / 3.0, 3.0, 7.0, 54.0, 1e6 / 3.0, 1e9, f64::MIN_POSITIVE] {
            for period in [1.0, 60.0, 3600.0, 0.1] {
                let Ok(per_nano) = Rate::new(rate, period, NANO) else {
                    assert!(rate < 1e-300);
                    continue;
                };
                for units in [1, 2, 999_999_999, 1_000_000_000, 123_456_789_012_345] {
                    let time = per_nano.time(units);
                    if time != Nanos::MAX {
                        assert!(per_nano.floor(time) >= units, "{rate} {period} {units}");
                        assert!(per_nano.floor(time - 1) < units, "{rate} {period} {units}");
                    }
                }
            }
        }
    }

    #[test]
    fn simple_fractions_are_exact_within_the_horizon() {
        for (rate, period, numerator, denominator) in
            [(0.1, 1.0, 1, 10), (100.0, 60.0, 5, 3), (333.3, 1.0, 3333, 10), (0.5, 3600.0, 1, 7200), (7.0, 0.3, 70, 3)]
        {
            let per_nano = Rate::new(rate, period, NANO).unwrap();
            assert!(per_nano.horizon >= DAY);
            for time in [1, 2, 3, 7, 10, 7200, 1_000_000_007, 30_000_000_000, DAY - 1, DAY, per_nano.horizon.min(1 << 60)] {
                let exact = u128::from(time) * numerator;
                assert_eq!(per_nano.floor(time), exact / denominator, "{rate} per {period}, {time}");
                assert_eq!(per_nano.ceil(time), exact.div_ceil(denominator), "{rate} per {period}, {time}");
            }
        }
    }

    #[test]
    fn a_rate_is_never_exceeded_and_hardly_missed() {
        // 1/3 per second for 20 years, against exact fractions: 0.3333333333333333
        let per_nano = Rate::new(1.0 / 3.0, 1.0, NANO).unwrap();
        let years: u64 = 1_000_000_000 * 86_400 * 365 * 20;
        let exact = u128::from(years) * 3_333_333_333_333_333 / 10_u128.pow(16);
        assert!(per_nano.floor(years) <= exact);
        assert!(per_nano.floor(years) + 1 >= exact);
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        assert_eq!(Rate::new(1e300, 1.0, NANO), Err(RateError::TooFast));
        assert_eq!(Rate::new(1e-300, 1.0, NANO), Err(RateError::TooSlow));
        assert!(Rate::new(5e-310, 1e-300, NANO).is_ok());
        assert!(Rate::new(1e9, 1.0, NANO).is_ok());
        assert!(Rate::new(1e-9, 1.0, NANO).is_ok());
        // However many digits a rate has: one in a week, and a bucket so large that its units are coarse.
        for (rate, scale) in [(1.0 / 604_800.0, NANO), (1.234_567_890_123_456_7e-10, NANO), (0.1 + 0.2, Scale(1))] {
            let per_nano = Rate::new(rate, 1.0, scale).unwrap();
            let around = scale.units(rate * 1e9).unwrap();
            assert!(per_nano.floor(1_000_000_000_000_000_000).abs_diff(u128::from(around)) <= 1, "{rate}");
        }
        assert_eq!(Rate::new(1e-20, 1.0, NANO), Err(RateError::TooSlow));
        assert_eq!(Rate::new(1.234_567_890_123_456_7e-20, 1.0, NANO), Err(RateError::TooSlow));
    }
}
