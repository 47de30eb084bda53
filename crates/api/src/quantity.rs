//! Kubernetes quantities: `500m` CPU, `1Gi` of memory, `129e6` bytes.

/// Most significant digits a quantity may have; zeros in front and behind do not count.
pub const SIGNIFICANT_DIGITS_MAX: usize = 20;
/// Longest text of a quantity, in bytes.
pub const TEXT_MAX: usize = 256;

/// Why a quantity cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It is not written as one.
    #[error(
        "{0:?} is not a quantity: write a number of at most {SIGNIFICANT_DIGITS_MAX} significant digits with an \
         optional suffix n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi or Ei, or an exponent such as e6"
    )]
    Malformed(String),
    /// It is below zero.
    #[error("{0:?} must not be negative")]
    Negative(String),
    /// It is more than can be counted.
    #[error("{text:?} is too large: at most {most} can be counted")]
    TooLarge {
        /// The text, shortened.
        text: String,
        /// The largest quantity, in whole units.
        most: u64,
    },
}

/// A number as it is written: `mantissa · 10^tens · 2^twos`, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exact {
    negative: bool,
    /// Below 10^20, hence below 2^67.
    mantissa: u128,
    tens: i64,
    /// 0 to 60.
    twos: u32,
}

/// Milli-units of a quantity, rounded up: `1` is 1000, `250m` is 250.
pub fn milli(text: &str) -> Result<u64, QuantityError> {
    scaled(text, 3)
}

/// Whole units of a quantity, rounded up: bytes of `64Mi`, processes of `100`.
pub fn units(text: &str) -> Result<u64, QuantityError> {
    scaled(text, 0)
}

/// Whether two texts say the same quantity, as `1Gi` and `1024Mi` do. Texts that are no quantities are equal to none.
pub fn equal(one: &str, other: &str) -> bool {
    let same = |one: Exact, other: Exact| {
        let (one_value, other_value) = (one.canonical(), other.canonical());
        one_value == other_value && (one.negative == other.negative || one_value.0 == 0)
    };
    read(one).zip(read(other)).is_some_and(|(one, other)| same(one, other))
}

fn scaled(text: &str, tens: u32) -> Result<u64, QuantityError> {
    let shown = || text.chars().take(TEXT_MAX).collect();
    let mut exact = read(text).ok_or_else(|| QuantityError::Malformed(shown()))?;
    if exact.negative && exact.mantissa != 0 {
        return Err(QuantityError::Negative(shown()));
    }
    exact.tens = exact.tens.saturating_add(i64::from(tens));
    let too_large = || QuantityError::TooLarge { text: shown(), most: u64::MAX / 10_u64.pow(tens) };
    exact.round_up().ok_or_else(too_large)
}

impl Exact {
    /// The smallest whole number that is not below its absolute value, if that fits.
    fn round_up(self) -> Option<u64> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let value = self.mantissa << self.twos;
        let power = u32::try_from(self.tens.unsigned_abs()).ok().and_then(|tens| 10_u128.checked_pow(tens));
        let whole = match (self.tens >= 0, power) {
            (true, power) => value.checked_mul(power?)?,
            (false, Some(power)) => value.div_ceil(power),
            // A power that does not fit 128 bits is more than any value.
            (false, None) => 1,
        };
        u64::try_from(whole).ok()
    }

    /// The value as a number that no ten divides, and a power of ten.
    fn canonical(self) -> (u128, i64) {
        let (mut value, mut tens) = (self.mantissa << self.twos, self.tens);
        if value == 0 {
            return (0, 0);
        }
        while value.is_multiple_of(10) {
            value /= 10;
            tens = tens.saturating_add(1);
        }
        (value, tens)
    }
}

fn read(text: &str) -> Option<Exact> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = unsigned.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let (suffix_tens, twos) = scale(suffix)?;
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = if fraction.is_empty() { digits.trim_end_matches('0') } else { digits };
    if significant.len() > SIGNIFICANT_DIGITS_MAX {
        return None;
    }
    let mantissa = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    let behind = i64::try_from(digits.len() - significant.len()).ok()? - i64::try_from(fraction.len()).ok()?;
    Some(Exact { negative, mantissa, tens: suffix_tens.saturating_add(behind), twos })
}

/// The powers of ten and of two that a suffix stands for.
fn scale(suffix: &str) -> Option<(i64, u32)> {
    Some(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => (exponent(suffix.strip_prefix(['e', 'E'])?)?, 0),
    })
}

/// An exponent: digits behind an optional sign. One that does not fit is as good as the largest.
fn exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let limit = i64::from(i32::MAX);
    let value = digits.parse().unwrap_or(limit).min(limit);
    Some(if text.starts_with('-') { -value } else { value })
}

mod amount;

pub use self::amount::Amount;

#[cfg(test)]
mod tests;
