//! The parser of the option language. Every error carries the byte range it is about.
//!
//! ```text
//! declaration = [ "?" ] key [ "=" alternatives ] { ws "*" key [ "=" word ] } [ ws "#" about ]
//! alternatives = [ alternative ] { "|" alternative }           only the first may be empty
//! alternative = "&" service | macro | "<" kind ">" | word
//! macro       = "!dns" | "!local_ip" | "!rand" len charset | "!tls" part | "!if" key [ "=" word ] operand operand
//! operand     = "(" macro ")" | word
//! word        = bare | '"' { char | '\"' | '\\' | reference } '"'
//! reference   = "${" ( key | "file" key | "self" fact | "peer" key fact ) "}"      "$$" is a "$"
//! expression  = macro | [ "\" ] template                       the whole string of an env value
//! ```

use winnow::LocatingSlice;
use winnow::combinator::{opt, preceded, repeat, terminated};
use winnow::error::{ErrMode, ParserError};
use winnow::prelude::*;
use winnow::stream::{Location, Stream};
use winnow::token::{any, literal, rest, take_while};

use crate::charset::Charset;
use crate::declaration::{Alternative, Declaration, Dependency};
use crate::expr::{
    Condition, Expression, Located, Macro, PeerFact, Reference, Segment, SelfFact, Span, Template, TlsPart,
};
use crate::key::{Key, is_key_char};
use crate::kind::Kind;
use crate::names::is_dns_label;

/// Deepest nesting of `!if`.
pub const MAX_NESTING: usize = 8;
/// Longest random secret, in characters.
pub const MAX_RANDOM_LEN: usize = 1024;

type Input<'a> = LocatingSlice<&'a str>;
type Parsed<T> = Result<T, ErrMode<SyntaxError>>;

/// What is wrong inside one string, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Byte range in the string.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What could stand there instead.
    pub expected: Vec<String>,
}

impl<I: Stream + Location> ParserError<I> for SyntaxError {
    type Inner = Self;

    fn from_input(input: &I) -> Self {
        let at = input.current_token_start();
        Self { span: at..at, message: "unexpected text".to_owned(), expected: Vec::new() }
    }

    fn into_inner(self) -> Result<Self::Inner, Self> {
        Ok(self)
    }
}

fn fail<T>(span: Span, message: impl Into<String>, expected: impl IntoIterator<Item = String>) -> Parsed<T> {
    Err(ErrMode::Cut(SyntaxError { span, message: message.into(), expected: expected.into_iter().collect() }))
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn whole<'a, T>(text: &'a str, mut parser: impl FnMut(&mut Input<'a>) -> Parsed<T>) -> Result<T, SyntaxError> {
    if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_control()) {
        return Err(SyntaxError {
            span: at..at + c.len_utf8(),
            message: "control characters are not allowed".to_owned(),
            expected: Vec::new(),
        });
    }
    let mut input = LocatingSlice::new(text);
    parser(&mut input).map_err(|error| match error {
        ErrMode::Backtrack(error) | ErrMode::Cut(error) => error,
        ErrMode::Incomplete(_) => SyntaxError::from_input(&input),
    })
}

/// Parses one option declaration.
///
/// # Errors
/// The first place that does not fit the grammar.
pub fn declaration(text: &str) -> Result<Declaration, SyntaxError> {
    whole(text, parse_declaration)
}

/// Parses a whole string that makes a value (`env`, `with`).
///
/// # Errors
/// The first place that does not fit the grammar.
pub fn expression(text: &str) -> Result<Expression, SyntaxError> {
    whole(text, |input| {
        if input.starts_with('!') {
            let found = parse_macro(input, 0)?;
            end(input, &[])?;
            return Ok(Expression::Macro(found));
        }
        let _escape = opt('\\').parse_next(input)?;
        Ok(Expression::Template(Template(segments(input, Until::End)?)))
    })
}

fn parse_declaration(input: &mut Input<'_>) -> Parsed<Declaration> {
    spaces(input)?;
    let optional = opt('?').parse_next(input)?.is_some();
    let key = key(input, "an option name")?;
    let alternatives = if opt('=').parse_next(input)?.is_some() {
        alternatives(input)?
    } else {
        let at = input.current_token_start();
        vec![Located { value: Alternative::Open(Kind::Text), span: at..at }]
    };
    let mut requires = Vec::new();
    spaces(input)?;
    while input.starts_with('*') {
        requires.push(located(input, dependency)?);
        spaces(input)?;
    }
    let about = opt(preceded('#', rest)).parse_next(input)?;
    let about = about.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    end(input, &["|value", "*option", "# text"])?;
    Ok(Declaration { optional, key, alternatives, requires, about })
}

fn alternatives(input: &mut Input<'_>) -> Parsed<Vec<Located<Alternative>>> {
    let start = input.current_token_start();
    let mut found = Vec::new();
    if input.starts_with('|') {
        found.push(Located { value: Alternative::Nothing, span: start..start });
    } else {
        found.push(located(input, alternative)?);
    }
    while opt('|').parse_next(input)?.is_some() {
        found.push(located(input, alternative)?);
    }
    Ok(found)
}

fn alternative(input: &mut Input<'_>) -> Parsed<Alternative> {
    let start = input.current_token_start();
    match input.chars().next() {
        Some('&') => {
            any.parse_next(input)?;
            let name: &str = word_chars(input)?;
            if is_dns_label(name) {
                return Ok(Alternative::Service(name.to_owned()));
            }
            fail(span(start, input), "a service name is a DNS label (a-z, 0-9, inner '-')", strings(&["&mariadb"]))
        }
        Some('!') => Ok(Alternative::Macro(parse_macro(input, 0)?)),
        Some('<') => {
            let name = preceded('<', take_while(0.., |c: char| c != '>' && !c.is_whitespace())).parse_next(input)?;
            let closed = opt('>').parse_next(input)?.is_some();
            match Kind::by_name(name) {
                Some(kind) if closed => Ok(Alternative::Open(kind)),
                _ => fail(span(start, input), "unknown kind of value", Kind::words().map(|word| format!("<{word}>"))),
            }
        }
        _ => Ok(Alternative::Text(word(input)?)),
    }
}

fn dependency(input: &mut Input<'_>) -> Parsed<Dependency> {
    let _star = '*'.parse_next(input)?;
    let key = key(input, "the option this one depends on")?;
    let equals = equals(input)?;
    Ok(Dependency { key, equals })
}

fn equals(input: &mut Input<'_>) -> Parsed<Option<String>> {
    if opt('=').parse_next(input)?.is_none() {
        return Ok(None);
    }
    let start = input.current_token_start();
    match word(input)?.as_literal() {
        Some(text) => Ok(Some(text.to_owned())),
        None => fail(span(start, input), "a value to compare with cannot hold references", []),
    }
}

fn parse_macro(input: &mut Input<'_>, depth: usize) -> Parsed<Macro> {
    let start = input.current_token_start();
    if depth > MAX_NESTING {
        return fail(start..start, format!("macros are nested deeper than {MAX_NESTING}"), []);
    }
    let name = preceded('!', take_while(0.., |c: char| c.is_ascii_alphanumeric() || c == '_')).parse_next(input)?;
    match name {
        "dns" => Ok(Macro::Dns),
        "local_ip" => Ok(Macro::LocalIp),
        "rand" => rand(input),
        "tls" => {
            let (part, at) = argument(input)?;
            match TlsPart::ALL.iter().find(|(word, _, _)| *word == part) {
                Some((_, part, _)) => Ok(Macro::Tls(*part)),
                None => fail(at, "unknown part of the TLS material", strings(&["key", "cert", "ca"])),
            }
        }
        "if" => condition(input, depth),
        _ => fail(
            span(start, input),
            format!("unknown macro !{name}"),
            strings(&["!dns", "!local_ip", "!rand", "!tls", "!if"]),
        ),
    }
}

fn rand(input: &mut Input<'_>) -> Parsed<Macro> {
    let (digits, at) = argument(input)?;
    let len = match digits.parse::<usize>() {
        Ok(len) if (1..=MAX_RANDOM_LEN).contains(&len) => len,
        _ => return fail(at, format!("the length is a number from 1 to {MAX_RANDOM_LEN}"), []),
    };
    let (text, at) = argument(input)?;
    match Charset::parse(text) {
        Ok(charset) => Ok(Macro::Rand { len, charset }),
        Err(error) => fail(at, error.to_string(), Charset::names().map(str::to_owned).chain(["[a-z0-9]".to_owned()])),
    }
}

fn condition(input: &mut Input<'_>, depth: usize) -> Parsed<Macro> {
    spaces(input)?;
    let key = located(input, |input| key(input, "the option that decides"))?;
    let equals = equals(input)?;
    let then = operand(input, depth)?;
    let otherwise = operand(input, depth)?;
    Ok(Macro::If(Box::new(Condition { key, equals, then, otherwise })))
}

fn operand(input: &mut Input<'_>, depth: usize) -> Parsed<Expression> {
    spaces(input)?;
    let start = input.current_token_start();
    if opt('(').parse_next(input)?.is_none() {
        return Ok(Expression::Template(word(input)?));
    }
    if !input.starts_with('!') {
        return fail(start..start + 1, "parentheses hold a macro", strings(&["(!tls cert)"]));
    }
    let nested = parse_macro(input, depth + 1)?;
    match opt(')').parse_next(input)? {
        Some(_) => Ok(Expression::Macro(nested)),
        None => fail(start..start + 1, "this parenthesis is not closed", strings(&[")"])),
    }
}

/// A plain argument of a macro: the characters up to the next separator.
fn argument<'a>(input: &mut Input<'a>) -> Parsed<(&'a str, Span)> {
    spaces(input)?;
    let start = input.current_token_start();
    let text = word_chars(input)?;
    Ok((text, span(start, input)))
}

fn word_chars<'a>(input: &mut Input<'a>) -> Parsed<&'a str> {
    take_while(0.., |c: char| !c.is_whitespace() && !matches!(c, '|' | '(' | ')' | '"')).parse_next(input)
}

fn key(input: &mut Input<'_>, what: &str) -> Parsed<Key> {
    let start = input.current_token_start();
    // Upper case is taken along, so that the error is about it and not about what follows.
    let text = take_while(0.., |c: char| is_key_char(c) || c.is_ascii_uppercase()).parse_next(input)?;
    match Key::new(text) {
        Ok(key) => Ok(key),
        Err(_) if text.is_empty() => fail(span(start, input), format!("{what} is missing"), []),
        Err(error) => fail(span(start, input), error.to_string(), []),
    }
}

// === words and templates ===

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The end of the string.
    End,
    /// A separator of the language.
    Separator,
    /// A closing quote; `\"` and `\\` are escapes.
    Quote,
}

fn word(input: &mut Input<'_>) -> Parsed<Template> {
    let start = input.current_token_start();
    if opt('"').parse_next(input)?.is_some() {
        let found = segments(input, Until::Quote)?;
        return match opt('"').parse_next(input)? {
            Some(_) => Ok(Template(found)),
            None => fail(start..start + 1, "this quote is not closed", strings(&["\""])),
        };
    }
    if let Some(c) = input.chars().next().filter(|c| "!&<*#?\\".contains(*c)) {
        return fail(start..start + 1, format!("a value that begins with {c} is written in quotes"), []);
    }
    let found = segments(input, Until::Separator)?;
    if found.is_empty() {
        return fail(start..start, "a value is missing here", strings(&["text", "\"\""]));
    }
    Ok(Template(found))
}

fn segments(input: &mut Input<'_>, until: Until) -> Parsed<Vec<Segment>> {
    let mut found = Vec::new();
    let mut text = String::new();
    while let Some(c) = input.chars().next() {
        let start = input.current_token_start();
        match (until, c) {
            (Until::Quote, '"') | (Until::Separator, '|' | '(' | ')' | '"') => break,
            (Until::Separator, c) if c.is_whitespace() => break,
            (Until::Separator, '\\') => {
                return fail(start..start + 1, "a value with a backslash is written in quotes", []);
            }
            (Until::Quote, '\\') => {
                any.parse_next(input)?;
                match opt(any).parse_next(input)? {
                    Some(escaped @ ('"' | '\\')) => text.push(escaped),
                    _ => return fail(span(start, input), "unknown escape", strings(&["\\\"", "\\\\"])),
                }
            }
            (_, '$') => {
                if opt(literal("$$")).parse_next(input)?.is_some() {
                    text.push('$');
                    continue;
                }
                flush(&mut found, &mut text);
                found.push(Segment::Reference(located(input, reference)?));
            }
            _ => text.push(any.parse_next(input)?),
        }
    }
    flush(&mut found, &mut text);
    Ok(found)
}

fn flush(found: &mut Vec<Segment>, text: &mut String) {
    if !text.is_empty() {
        found.push(Segment::Text(std::mem::take(text)));
    }
}

fn reference(input: &mut Input<'_>) -> Parsed<Reference> {
    let start = input.current_token_start();
    if opt(literal("${")).parse_next(input)?.is_none() {
        return fail(start..start + 1, "a single $ is written $$", strings(&["$$", "${option}"]));
    }
    let words: Vec<(&str, Span)> = repeat(0.., reference_word).parse_next(input)?;
    if opt('}').parse_next(input)?.is_none() {
        return fail(start..start + 2, "this reference is not closed", strings(&["}"]));
    }
    let end = input.current_token_start();
    match words.as_slice() {
        [option] => Ok(Reference::Option(key_of(option)?)),
        [("file", _), option] => Ok(Reference::File(key_of(option)?)),
        [("self", _), (fact, at)] => match SelfFact::ALL.iter().find(|(word, _)| word == fact) {
            Some((_, fact)) => Ok(Reference::Itself(*fact)),
            None => fail(
                at.clone(),
                "unknown fact about the bundle itself",
                SelfFact::ALL.iter().map(|(word, _)| (*word).to_owned()),
            ),
        },
        [("peer", _), option, facts @ ..] if !facts.is_empty() => {
            Ok(Reference::Peer(key_of(option)?, peer_fact(facts)?))
        }
        _ => fail(
            start..end,
            "not a reference",
            strings(&["${option}", "${file secret}", "${self host}", "${peer option host}"]),
        ),
    }
}

fn peer_fact(facts: &[(&str, Span)]) -> Parsed<PeerFact> {
    match facts {
        [("bundle", _)] => Ok(PeerFact::Bundle),
        [("service", _)] => Ok(PeerFact::Service),
        [("host", _)] => Ok(PeerFact::Host),
        [("port", _)] => Ok(PeerFact::Port),
        [("option", _), option] => Ok(PeerFact::Option(key_of(option)?)),
        facts => {
            let at = facts.iter().map(|(_, at)| at.start).min().unwrap_or_default();
            let end = facts.iter().map(|(_, at)| at.end).max().unwrap_or_default();
            fail(
                at..end,
                "unknown fact about the peer",
                strings(&["bundle", "service", "host", "port", "option <name>"]),
            )
        }
    }
}

fn key_of((text, at): &(&str, Span)) -> Parsed<Key> {
    Key::new(text).or_else(|error| fail(at.clone(), error.to_string(), []))
}

fn reference_word<'a>(input: &mut Input<'a>) -> Parsed<(&'a str, Span)> {
    let word = take_while(1.., |c: char| !c.is_whitespace() && !matches!(c, '}' | '{' | '$' | '"' | '|'));
    let (text, at) = preceded(take_while(0.., ' '), word).with_span().parse_next(input)?;
    let at = at.end - text.len()..at.end;
    terminated(literal(""), take_while(0.., ' ')).parse_next(input)?;
    Ok((text, at))
}

// === places ===

fn spaces(input: &mut Input<'_>) -> Parsed<()> {
    take_while(0.., char::is_whitespace).void().parse_next(input)
}

fn span(start: usize, input: &Input<'_>) -> Span {
    start..input.current_token_start()
}

fn located<'a, T>(input: &mut Input<'a>, mut parser: impl FnMut(&mut Input<'a>) -> Parsed<T>) -> Parsed<Located<T>> {
    let start = input.current_token_start();
    let value = parser(input)?;
    Ok(Located { value, span: span(start, input) })
}

fn end(input: &mut Input<'_>, expected: &[&str]) -> Parsed<()> {
    spaces(input)?;
    let start = input.current_token_start();
    if input.is_empty() {
        return Ok(());
    }
    fail(start..start + input.len(), "unexpected text", strings(expected))
}
