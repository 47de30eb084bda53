//! Amounts to compare and to add.

use std::{fmt, ops::Add};

use super::{QuantityError, milli, units};

/// What a quantity says, in thousandths. Its text is the canonical one of Kubernetes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amount {
    milli: u128,
    /// Whether it is written with `Ki`, `Mi` and so on.
    binary: bool,
}

impl Amount {
    /// An amount of whole things.
    pub fn whole(number: u64) -> Self {
        Self { milli: u128::from(number) * 1000, binary: false }
    }

    /// Reads a quantity. Thousandths are rounded up, or whole units where thousandths are too many to count.
    ///
    /// # Errors
    /// It is not a quantity, negative, or too large.
    pub fn read(text: &str) -> Result<Self, QuantityError> {
        let milli = match milli(text) {
            Err(QuantityError::TooLarge { .. }) => u128::from(units(text)?) * 1000,
            counted => u128::from(counted?),
        };
        Ok(Self { milli, binary: text.ends_with('i') })
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.milli == 0
    }

    /// How many times the other it is; the other must not be zero.
    #[expect(clippy::cast_precision_loss, reason = "a ratio is shown with six digits, as in Kubernetes")]
    pub fn ratio(self, other: Self) -> f64 {
        self.milli as f64 / other.milli as f64
    }

    /// Whether it is more than `times` the other, exactly.
    pub fn exceeds(self, times: Self, other: Self) -> bool {
        match (self.milli.checked_mul(1000), times.milli.checked_mul(other.milli)) {
            (Some(this), Some(product)) => this > product,
            (this, product) => this.is_none() && product.is_some(),
        }
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.milli == other.milli
    }
}

impl Eq for Amount {}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.milli.cmp(&other.milli)
    }
}

impl Add for Amount {
    type Output = Self;

    /// Written as the first of the two that is not zero.
    fn add(self, other: Self) -> Self {
        let binary = if self.is_zero() { other.binary } else { self.binary };
        Self { milli: self.milli.saturating_add(other.milli), binary }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        const DECIMAL: [&str; 8] = ["m", "", "k", "M", "G", "T", "P", "E"];
        if self.is_zero() {
            return f.write_str("0");
        }
        let written_in_powers_of_two = self.binary && self.milli.is_multiple_of(1000) && self.milli >= 1_024_000;
        let (mut number, step, suffixes): (u128, u128, &[&str]) =
            if written_in_powers_of_two { (self.milli / 1000, 1024, &BINARY) } else { (self.milli, 1000, &DECIMAL) };
        let mut suffix = 0;
        while number.is_multiple_of(step) && suffix + 1 < suffixes.len() {
            number /= step;
            suffix += 1;
        }
        write!(f, "{number}{}", suffixes[suffix])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Amount {
        Amount::read(text).unwrap()
    }

    #[test]
    fn texts_are_canonical() {
        for (text, shown) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("1000m", "1"),
            ("1.5", "1500m"),
            ("1500", "1500"),
            ("2000", "2k"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("129e6", "129M"),
            ("8Ei", "8Ei"),
        ] {
            assert_eq!(read(text).to_string(), shown, "{text}");
        }
        assert!(Amount::read("-1").is_err() && Amount::read("much").is_err());
    }

    #[test]
    fn a_sum_is_written_as_its_first_part() {
        assert_eq!((read("200Mi") + read("312M")).to_string(), "521715200");
        assert_eq!((read("0") + read("512Mi") + read("512Mi")).to_string(), "1Gi");
        assert_eq!((read("300m") + read("1")).to_string(), "1300m");
        assert_eq!((Amount::whole(2) + Amount::whole(1)).to_string(), "3");
    }

    #[test]
    fn amounts_are_compared_by_value() {
        assert!(read("1Gi") == read("1024Mi") && read("1G") < read("1Gi") && read("8Ei") > read("8E"));
        assert!(read("3").exceeds(read("2"), read("1")) && !read("2").exceeds(read("2"), read("1")));
        assert!(read("1").exceeds(read("1.5"), read("600m")) && !read("900m").exceeds(read("1.5"), read("600m")));
    }
}
