//! Property: what is printed parses to what was printed.

use proptest::prelude::*;

use crate::charset::Charset;
use crate::declaration::{Alternative, Declaration, Dependency};
use crate::expr::{Condition, Expression, Located, Macro, PeerFact, Reference, Segment, SelfFact, Template, TlsPart};
use crate::grammar;
use crate::key::Key;
use crate::kind::Kind;

fn located<T>(value: T) -> Located<T> {
    Located { value, span: 0..0 }
}

fn key() -> impl Strategy<Value = Key> {
    "[a-z0-9]([a-z0-9_.:-]{0,6}[a-z0-9])?".prop_map(|text| Key::new(&text).expect("the pattern is that of keys"))
}

fn text() -> impl Strategy<Value = String> {
    // Everything with a meaning somewhere, and other characters.
    proptest::collection::vec(
        prop_oneof![
            proptest::sample::select(" |\"\\$!&<>*#?(){}=%'-ab".chars().collect::<Vec<_>>()),
            any::<char>().prop_filter("no control characters", |c| !c.is_control()),
        ],
        0..8,
    )
    .prop_map(String::from_iter)
}

fn reference() -> impl Strategy<Value = Reference> {
    let self_fact = proptest::sample::select(SelfFact::ALL.map(|(_, fact)| fact).to_vec());
    let peer_fact = prop_oneof![
        Just(PeerFact::Bundle),
        Just(PeerFact::Service),
        Just(PeerFact::Host),
        Just(PeerFact::Port),
        key().prop_map(PeerFact::Option),
    ];
    prop_oneof![
        key().prop_map(Reference::Option),
        key().prop_map(Reference::File),
        self_fact.prop_map(Reference::Itself),
        (key(), peer_fact).prop_map(|(key, fact)| Reference::Peer(key, fact)),
    ]
}

fn template() -> impl Strategy<Value = Template> {
    let piece = prop_oneof![
        text().prop_map(Segment::Text),
        reference().prop_map(|reference| Segment::Reference(located(reference))),
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| {
        let mut merged: Vec<Segment> = Vec::new();
        for piece in pieces {
            match (merged.last_mut(), piece) {
                (_, Segment::Text(text)) if text.is_empty() => {}
                (Some(Segment::Text(before)), Segment::Text(text)) => before.push_str(&text),
                (_, piece) => merged.push(piece),
            }
        }
        Template(merged)
    })
}

fn found_macro() -> impl Strategy<Value = Macro> {
    let charset = proptest::sample::select(vec!["hex", "alnum", "[a-c_-]"]);
    let plain = prop_oneof![
        Just(Macro::Dns),
        Just(Macro::LocalIp),
        (1usize..=1024, charset)
            .prop_map(|(len, charset)| Macro::Rand { len, charset: Charset::parse(charset).expect("a charset") }),
        proptest::sample::select(TlsPart::ALL.map(|(_, part, _)| part).to_vec()).prop_map(Macro::Tls),
    ];
    plain.prop_recursive(3, 8, 2, |inner| {
        let operand = prop_oneof![template().prop_map(Expression::Template), inner.prop_map(Expression::Macro)];
        (key(), proptest::option::of(text()), operand.clone(), operand).prop_map(|(key, equals, then, otherwise)| {
            Macro::If(Box::new(Condition { key: located(key), equals, then, otherwise }))
        })
    })
}

fn alternative() -> impl Strategy<Value = Alternative> {
    let kinds: Vec<Kind> = Kind::words().filter_map(Kind::by_name).collect();
    prop_oneof![
        "[a-z]([a-z0-9-]{0,6}[a-z0-9])?".prop_map(Alternative::Service),
        found_macro().prop_map(Alternative::Macro),
        proptest::sample::select(kinds).prop_map(Alternative::Open),
        template().prop_map(Alternative::Text),
    ]
}

fn declaration() -> impl Strategy<Value = Declaration> {
    let dependency =
        (key(), proptest::option::of(text())).prop_map(|(key, equals)| located(Dependency { key, equals }));
    let about = text().prop_map(|text| Some(text.trim().to_owned()).filter(|text| !text.is_empty()));
    (
        any::<bool>(),
        key(),
        any::<bool>(),
        proptest::collection::vec(alternative(), 1..4),
        proptest::collection::vec(dependency, 0..3),
        about,
    )
        .prop_map(|(optional, key, nothing, alternatives, requires, about)| {
            let first = nothing.then_some(Alternative::Nothing);
            let alternatives = first.into_iter().chain(alternatives).map(located).collect();
            Declaration { optional, key, alternatives, requires, about }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn declarations(declaration in declaration()) {
        let printed = declaration.to_string();
        prop_assert_eq!(grammar::declaration(&printed), Ok(declaration), "{}", printed);
    }

    #[test]
    fn expressions(expression in prop_oneof![
        template().prop_map(Expression::Template),
        found_macro().prop_map(Expression::Macro),
    ]) {
        let printed = expression.to_string();
        prop_assert_eq!(grammar::expression(&printed), Ok(expression), "{}", printed);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in text()) {
        if let Err(error) = grammar::declaration(&text) {
            prop_assert!(error.span.end <= text.len(), "{:?} beyond {:?}", error, text);
            prop_assert!(text.is_char_boundary(error.span.start) && text.is_char_boundary(error.span.end));
        }
        if let Err(error) = grammar::expression(&text) {
            prop_assert!(text.get(error.span.clone()).is_some(), "{:?} in {:?}", error, text);
        }
    }
}
