//! Kubernetes quantities: `500m` CPU, `1Gi` of memory.

/// Why a quantity cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a quantity: a number with an optional suffix m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi or Ei")]
pub struct QuantityError {
    /// The text.
    pub text: String,
}

/// Milli-units of a quantity, rounded up: `1` is 1000, `250m` is 250.
pub fn milli(text: &str) -> Result<u64, QuantityError> {
    let fail = || QuantityError { text: text.to_owned() };
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || fraction.len() > 9 {
        return Err(fail());
    }
    let scale: u128 = match suffix {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "E" => 1_000_000_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        "Pi" => 1_000 << 50,
        "Ei" => 1_000 << 60,
        _ => return Err(fail()),
    };
    let parse = |digits: &str| {
        if digits.is_empty() { Ok(0) } else { digits.parse::<u128>().map_err(|_| fail()) }
    };
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| fail())?);
    let digits =
        parse(whole)?.checked_mul(divisor).and_then(|n| n.checked_add(parse(fraction).ok()?)).ok_or_else(fail)?;
    let milli = digits.checked_mul(scale).ok_or_else(fail)?.div_ceil(divisor);
    u64::try_from(milli).map_err(|_| fail())
}

/// Whole units of a quantity, rounded up: bytes of `64Mi`, processes of `100`.
pub fn units(text: &str) -> Result<u64, QuantityError> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    // Large byte counts overflow 64 bits as milli-units, so whole numbers are scaled directly.
    let (number, suffix) = text.split_at(end);
    let shift = match suffix {
        "Ki" => Some(1_u64 << 10),
        "Mi" => Some(1 << 20),
        "Gi" => Some(1 << 30),
        "Ti" => Some(1 << 40),
        "Pi" => Some(1 << 50),
        "Ei" => Some(1 << 60),
        "" => Some(1),
        _ => None,
    };
    match (number.parse::<u64>(), shift) {
        (Ok(number), Some(shift)) => number.checked_mul(shift).ok_or_else(|| QuantityError { text: text.to_owned() }),
        _ => milli(text).map(|milli| milli.div_ceil(1_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_scale_and_round_up() {
        for (text, wanted) in [
            ("1", 1_000),
            ("250m", 250),
            ("0.5", 500),
            (".5", 500),
            ("1.5k", 1_500_000),
            ("1Ki", 1_024_000),
            ("0.0001", 1),
        ] {
            assert_eq!(milli(text), Ok(wanted), "{text}");
        }
        for (text, wanted) in
            [("64Mi", 64 << 20), ("1G", 1_000_000_000), ("8Ei", 0), ("1.5Gi", 3 << 29), ("100", 100), ("1m", 1)]
        {
            match wanted {
                0 => assert_eq!(units(text), Ok(8 << 60), "{text}"),
                wanted => assert_eq!(units(text), Ok(wanted), "{text}"),
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "x", "1X", "-1", "1.2.3", "1 Mi", "99Ei"] {
            assert!(units(bad).is_err(), "{bad}");
        }
    }
}
