//! From rules to a BPF program (seccomp(2), classic BPF). Pure.
//!
//! System call numbers become a balanced tree of comparisons over ranges with the same answer, so
//! a program of some hundred rules decides in about eight steps and loads fast: the kernel runs a
//! new filter once for every system call number.

use std::collections::BTreeMap;

/// Answer for a system call; values are the kernel's `SECCOMP_RET_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Do it.
    Allow,
    /// Do it and log it.
    Log,
    /// Fail with this error number.
    Errno(u16),
    /// Send SIGSYS.
    Trap,
    /// End the thread.
    KillThread,
    /// End the process.
    KillProcess,
}

impl Action {
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Errno(number) => libc::SECCOMP_RET_ERRNO | u32::from(number),
            Self::Trap => libc::SECCOMP_RET_TRAP,
            Self::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Self::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// A comparison of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// 0 to 5.
    pub(crate) argument: u8,
    pub(crate) operator: Operator,
    pub(crate) value: u64,
}

/// How an argument is compared, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Equal after masking the argument.
    MaskedEqual(u64),
}

/// An answer if all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arm {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) action: Action,
}

/// What to answer to which system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// By number; the first arm that holds counts.
    pub(crate) arms: BTreeMap<u32, Vec<Arm>>,
    /// For those without rule, or whose arms all fail.
    pub(crate) otherwise: Action,
    /// For numbers above this one, which the rules' author did not know.
    pub(crate) known_up_to: u32,
    /// For those.
    pub(crate) unknown: Action,
}

/// `AUDIT_ARCH_*` of this architecture.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xC000_003E;
/// `AUDIT_ARCH_*` of this architecture.
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xC000_00B7;

/// Set in numbers of the x32 ABI, which shares the architecture with x86_64.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The kernel's limit (`BPF_MAXINSNS`).
pub(super) const INSTRUCTIONS_MAX: usize = 4096;

type Code = Vec<libc::sock_filter>;

fn statement(code: u32, k: u32) -> libc::sock_filter {
    jump(code, k, 0, 0)
}

fn jump(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    // Codes are below 256 (linux/bpf_common.h).
    libc::sock_filter { code: (code & 0xffff) as u16, jt, jf, k }
}

fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn give(action: Action) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action.code())
}

fn test(operation: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    jump(libc::BPF_JMP | operation | libc::BPF_K, k, jt, jf)
}

/// The whole program: foreign ABIs first, then the tree.
pub(super) fn compile(rules: &Rules) -> Code {
    let mut code = vec![load(ARCH), test(libc::BPF_JEQ, ARCHITECTURE, 1, 0), give(Action::KillProcess), load(NUMBER)];
    if cfg!(target_arch = "x86_64") {
        code.extend([test(libc::BPF_JGE, X32_BIT, 0, 1), give(Action::Errno(libc::EPERM as u16))]);
    }
    code.extend(tree(&segments(rules), rules.otherwise));
    code
}

/// From this number up to the next segment's, this answer.
struct Segment<'a> {
    from: u32,
    answer: Answer<'a>,
}

#[derive(Clone, Copy, PartialEq)]
enum Answer<'a> {
    Always(Action),
    Arms(&'a [Arm]),
}

fn segments(rules: &Rules) -> Vec<Segment<'_>> {
    let mut list: Vec<Segment<'_>> = Vec::new();
    let mut next = 0;
    for (number, arms) in &rules.arms {
        if *number > next {
            unruled(&mut list, next, *number, rules);
        }
        let answer = match arms.first() {
            Some(arm) if arm.conditions.is_empty() => Answer::Always(arm.action),
            Some(_) => Answer::Arms(arms),
            None => Answer::Always(rules.otherwise),
        };
        extend(&mut list, *number, answer);
        next = number + 1;
    }
    unruled(&mut list, next, u32::MAX, rules);
    list
}

/// Numbers without rule, from one up to (not including) another.
fn unruled<'a>(list: &mut Vec<Segment<'a>>, from: u32, to: u32, rules: &Rules) {
    if from <= rules.known_up_to {
        extend(list, from, Answer::Always(rules.otherwise));
    }
    let unknown = from.max(rules.known_up_to + 1);
    if unknown < to {
        extend(list, unknown, Answer::Always(rules.unknown));
    }
}

fn extend<'a>(list: &mut Vec<Segment<'a>>, from: u32, answer: Answer<'a>) {
    let goes_on = list.last().is_some_and(|last| last.answer == answer && matches!(answer, Answer::Always(_)));
    if !goes_on {
        list.push(Segment { from, answer });
    }
}

fn tree(segments: &[Segment<'_>], otherwise: Action) -> Code {
    if segments.len() <= 1 {
        return match segments.first().map(|segment| segment.answer) {
            Some(Answer::Arms(arms)) => conditional(arms, otherwise),
            Some(Answer::Always(action)) => vec![give(action)],
            None => vec![give(otherwise)],
        };
    }
    let (low, high) = segments.split_at(segments.len() / 2);
    let border = high[0].from;
    let (low, high) = (tree(low, otherwise), tree(high, otherwise));
    let mut code = match u8::try_from(low.len()) {
        Ok(distance) => vec![test(libc::BPF_JGE, border, distance, 0)],
        Err(_) => {
            let distance = u32::try_from(low.len()).unwrap_or(u32::MAX);
            vec![test(libc::BPF_JGE, border, 0, 1), statement(libc::BPF_JMP | libc::BPF_JA, distance)]
        }
    };
    code.extend(low);
    code.extend(high);
    code
}

fn conditional(arms: &[Arm], otherwise: Action) -> Code {
    let mut code: Code = arms.iter().flat_map(arm).collect();
    code.push(give(otherwise));
    code
}

/// Falls through to what follows when a condition does not hold.
fn arm(arm: &Arm) -> Code {
    let mut code = vec![give(arm.action)];
    for condition in arm.conditions.iter().rev() {
        let mut with = comparison(condition, code.len());
        with.extend(code);
        code = with;
    }
    code
}

/// Goes on behind itself when the condition holds, else skips `rest` more instructions. Arguments
/// have 64 bits, BPF 32: the high half decides, or the low one when the halves are equal.
fn comparison(condition: &Condition, rest: usize) -> Code {
    let offset = ARGUMENTS + 8 * u32::from(condition.argument);
    let (low, high) = (load(offset), load(offset + 4));
    let (value_low, value_high) = ((condition.value & 0xffff_ffff) as u32, (condition.value >> 32) as u32);
    // At most six conditions of at most six instructions follow.
    let miss = u8::try_from(rest).unwrap_or(u8::MAX);
    let equal_high = |after: u8| test(libc::BPF_JEQ, value_high, 0, miss + after);
    match condition.operator {
        Operator::Equal => {
            vec![high, equal_high(2), low, test(libc::BPF_JEQ, value_low, 0, miss)]
        }
        Operator::NotEqual => {
            vec![high, test(libc::BPF_JEQ, value_high, 0, 2), low, test(libc::BPF_JEQ, value_low, miss, 0)]
        }
        Operator::Greater | Operator::GreaterOrEqual => {
            let last = if condition.operator == Operator::Greater { libc::BPF_JGT } else { libc::BPF_JGE };
            vec![high, test(libc::BPF_JGT, value_high, 3, 0), equal_high(2), low, test(last, value_low, 0, miss)]
        }
        Operator::Less | Operator::LessOrEqual => {
            let last = if condition.operator == Operator::Less { libc::BPF_JGE } else { libc::BPF_JGT };
            vec![
                high,
                test(libc::BPF_JGT, value_high, miss + 3, 0),
                test(libc::BPF_JEQ, value_high, 0, 2),
                low,
                test(last, value_low, miss, 0),
            ]
        }
        Operator::MaskedEqual(mask) => {
            let and = |mask: u32| statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask);
            let (mask_low, mask_high) = ((mask & 0xffff_ffff) as u32, (mask >> 32) as u32);
            vec![
                high,
                and(mask_high),
                test(libc::BPF_JEQ, value_high, 0, miss + 3),
                low,
                and(mask_low),
                test(libc::BPF_JEQ, value_low, 0, miss),
            ]
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the kernel would answer: an interpreter of the instructions used here.
    pub(crate) fn answer(code: &[libc::sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let field = |offset: u32| match offset {
            NUMBER => number,
            ARCH => architecture,
            offset => {
                let argument = arguments[((offset - ARGUMENTS) / 8) as usize];
                if (offset - ARGUMENTS).is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
            }
        };
        let (mut at, mut register) = (0, 0_u32);
        loop {
            let step = code[at];
            at += 1;
            let taken = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            match u32::from(step.code) {
                code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => register = field(step.k),
                code if code == libc::BPF_RET | libc::BPF_K => return step.k,
                code if code == libc::BPF_JMP | libc::BPF_JA => at += step.k as usize,
                code if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => at += taken(register == step.k),
                code if code == libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K => at += taken(register > step.k),
                code if code == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => at += taken(register >= step.k),
                code if code == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => register &= step.k,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    fn holds(condition: &Condition, arguments: [u64; 6]) -> bool {
        let argument = arguments[usize::from(condition.argument)];
        match condition.operator {
            Operator::Equal => argument == condition.value,
            Operator::NotEqual => argument != condition.value,
            Operator::Less => argument < condition.value,
            Operator::LessOrEqual => argument <= condition.value,
            Operator::Greater => argument > condition.value,
            Operator::GreaterOrEqual => argument >= condition.value,
            Operator::MaskedEqual(mask) => argument & mask == condition.value,
        }
    }

    fn expected(rules: &Rules, number: u32, arguments: [u64; 6]) -> u32 {
        let arms = rules.arms.get(&number);
        let found = arms.and_then(|arms| {
            arms.iter().find(|arm| arm.conditions.iter().all(|condition| holds(condition, arguments)))
        });
        match found {
            Some(arm) => arm.action.code(),
            None if arms.is_none() && number > rules.known_up_to => rules.unknown.code(),
            None => rules.otherwise.code(),
        }
    }

    /// Values that collide often: few bits in either half.
    fn value() -> impl Strategy<Value = u64> {
        (0u64..3, 0u64..3).prop_map(|(high, low)| high << 32 | low)
    }

    fn condition() -> impl Strategy<Value = Condition> {
        let operator = prop_oneof![
            Just(Operator::Equal),
            Just(Operator::NotEqual),
            Just(Operator::Less),
            Just(Operator::LessOrEqual),
            Just(Operator::Greater),
            Just(Operator::GreaterOrEqual),
            value().prop_map(Operator::MaskedEqual),
        ];
        (0u8..6, operator, value()).prop_map(|(argument, operator, value)| Condition { argument, operator, value })
    }

    fn rules() -> impl Strategy<Value = Rules> {
        let action = prop_oneof![Just(Action::Allow), (1u16..200).prop_map(Action::Errno), Just(Action::Trap)];
        let arm = (proptest::collection::vec(condition(), 0..3), action.clone())
            .prop_map(|(conditions, action)| Arm { conditions, action });
        let arms = proptest::collection::btree_map(0u32..500, proptest::collection::vec(arm, 0..4), 0..200);
        (arms, action, 400u32..600).prop_map(|(arms, otherwise, known_up_to)| Rules {
            arms,
            otherwise,
            known_up_to,
            unknown: Action::Errno(38),
        })
    }

    proptest! {
        #[test]
        fn program_answers_as_the_rules_say(
            rules in rules(),
            calls in proptest::collection::vec((0u32..700, proptest::array::uniform6(value())), 1..60),
        ) {
            let code = compile(&rules);
            for (number, arguments) in calls {
                prop_assert_eq!(answer(&code, ARCHITECTURE, number, arguments), expected(&rules, number, arguments));
            }
        }
    }
}
