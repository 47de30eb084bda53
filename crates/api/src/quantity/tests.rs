use proptest::prelude::*;

use super::*;

#[test]
fn quantities_scale_and_round_up() {
    for (text, wanted) in [
        ("1", 1_000),
        ("+1", 1_000),
        ("1.", 1_000),
        ("250m", 250),
        ("0.5", 500),
        (".5", 500),
        ("5e-1", 500),
        ("100u", 1),
        ("5n", 1),
        ("1500u", 2),
        ("1.5k", 1_500_000),
        ("1Ki", 1_024_000),
        ("0.0001", 1),
        ("-0", 0),
        ("0e999999999999999999999", 0),
    ] {
        assert_eq!(milli(text), Ok(wanted), "{text}");
    }
    for (text, wanted) in [
        ("64Mi", 64 << 20),
        ("1G", 1_000_000_000),
        ("129e6", 129_000_000),
        ("1e3", 1_000),
        ("1E6", 1_000_000),
        ("2e9", 2_000_000_000),
        ("12E3", 12_000),
        ("1e+3", 1_000),
        ("1E", 1_000_000_000_000_000_000),
        ("8Ei", 8 << 60),
        ("1.5Gi", 3 << 29),
        ("100", 100),
        ("1m", 1),
        ("1n", 1),
        ("1e-999999999999999999999", 1),
        ("18446744073709551615", u64::MAX),
        ("0.000000000000000000000000000000000000000000001", 1),
    ] {
        assert_eq!(units(text), Ok(wanted), "{text}");
    }
}

#[test]
fn nonsense_is_refused() {
    let digits = "1".repeat(SIGNIFICANT_DIGITS_MAX + 1);
    let long = "0".repeat(TEXT_MAX + 1);
    for bad in [
        "",
        "x",
        "1X",
        "-1",
        "1.2.3",
        "1 Mi",
        " 1",
        "99Ei",
        ".",
        "+",
        "e6",
        "1e",
        "1e+",
        "1ee6",
        "1e6k",
        "1e1.5",
        "--1",
        "+-1",
        "1e999999999999999999999",
        "1i",
        "1KI",
        "1mi",
        "1ä",
        &digits,
        &long,
    ] {
        assert!(units(bad).is_err(), "{bad}");
    }
    assert!(units(&long).unwrap_err().to_string().len() < 2 * TEXT_MAX + 256, "the error is bounded too");
}

#[test]
fn the_same_amount_is_equal_however_it_is_written() {
    for (one, other) in
        [("1Gi", "1024Mi"), ("1", "1000m"), ("1e3", "1k"), ("0", "-0"), ("0.5", "500m"), ("2.50", "25e-1")]
    {
        assert!(equal(one, other), "{one} {other}");
    }
    for (one, other) in [("1Gi", "1G"), ("1", "-1"), ("1", "2"), ("x", "x")] {
        assert!(!equal(one, other), "{one} {other}");
    }
}

/// The oracle: numerator and denominator of what the grammar says, in whole numbers.
fn rational(whole: u32, fraction: &str, tens: i32, twos: u32) -> (u128, u128) {
    let digits: u128 = format!("{whole}{fraction}").parse().unwrap();
    let power = tens - i32::try_from(fraction.len()).unwrap();
    let numerator = (digits << twos) * 10_u128.pow(u32::try_from(power.max(0)).unwrap());
    (numerator, 10_u128.pow(power.min(0).unsigned_abs()))
}

proptest! {
    #[test]
    fn quantities_are_exact(
        whole in 0_u32..1_000_000,
        fraction in "[0-9]{0,6}",
        sign in prop_oneof![Just(""), Just("+")],
        (suffix, tens, twos) in prop_oneof![
            prop_oneof![
                Just(("n", -9)), Just(("u", -6)), Just(("m", -3)), Just(("", 0)), Just(("k", 3)), Just(("M", 6)),
                Just(("G", 9)), Just(("T", 12)),
            ].prop_map(|(suffix, tens)| (suffix.to_owned(), tens, 0)),
            prop_oneof![Just(("Ki", 10)), Just(("Mi", 20)), Just(("Gi", 30)), Just(("Ti", 40)), Just(("Pi", 50))]
                .prop_map(|(suffix, twos)| (suffix.to_owned(), 0, twos)),
            (prop_oneof![Just("e"), Just("E")], -12_i32..12).prop_map(|(letter, e)| (format!("{letter}{e}"), e, 0)),
            (prop_oneof![Just("e+"), Just("E+")], 0_i32..12).prop_map(|(letter, e)| (format!("{letter}{e}"), e, 0)),
        ],
    ) {
        let text = if fraction.is_empty() { format!("{sign}{whole}{suffix}") } else { format!("{sign}{whole}.{fraction}{suffix}") };
        let (numerator, denominator) = rational(whole, &fraction, tens, twos);
        prop_assert_eq!(units(&text).ok(), u64::try_from(numerator.div_ceil(denominator)).ok(), "{}", text);
        let thousands = (numerator * 1_000).div_ceil(denominator);
        prop_assert_eq!(milli(&text).ok(), u64::try_from(thousands).ok(), "{}", text);
        prop_assert!(equal(&text, &text));
    }

    #[test]
    fn no_text_is_too_odd_to_be_looked_at(text in "[-+0-9.eEnumkMGTPi]{0,40}") {
        let (_, _) = (units(&text), milli(&text));
        prop_assert_eq!(units(&text).is_ok() && !equal(&text, &text), false);
    }
}
