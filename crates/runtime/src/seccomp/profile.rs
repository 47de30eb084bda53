//! Profiles in the OCI and Docker JSON formats. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::bpf::{Action, Arm, Condition, Operator, Rules};
use super::names;

/// Longest profile in bytes.
const PROFILE_BYTES_MAX: usize = 1 << 20;

/// Error in a profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeccompError {
    /// The text is not the JSON of a profile.
    #[error("seccomp profile is not the expected JSON")]
    Json {
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A value in it cannot be used.
    #[error("seccomp profile: {problem}")]
    Profile {
        /// Which and why.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Filter,
    #[serde(default)]
    excludes: Filter,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// Docker's conditions on a rule.
#[derive(Default, Deserialize)]
struct Filter {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

/// Reads a profile. Names this architecture does not have are left out, as OCI runtimes do.
pub(super) fn parse(text: &str) -> Result<Rules, SeccompError> {
    if text.len() > PROFILE_BYTES_MAX {
        return Err(invalid(format!("{} bytes are over the limit of {PROFILE_BYTES_MAX}", text.len())));
    }
    let profile: Profile = serde_json::from_str(text).map_err(|source| SeccompError::Json { source })?;
    if !profile.architectures.is_empty() && !profile.architectures.iter().any(|name| name == NATIVE.0) {
        return Err(invalid(format!("`architectures` must name {}", NATIVE.0)));
    }
    let otherwise = action("defaultAction", &profile.default_action, profile.default_errno_ret)?;
    let mut arms: BTreeMap<u32, Vec<Arm>> = BTreeMap::new();
    for rule in profile.syscalls.iter().filter(|rule| applies(rule)) {
        let arm = Arm { conditions: conditions(rule)?, action: action("action", &rule.action, rule.errno_ret)? };
        for name in rule.names.iter().chain(&rule.name) {
            if let Some(number) = names::number(name) {
                arms.entry(number).or_default().push(arm.clone());
            }
        }
    }
    execute_in_both_forms(&mut arms);
    for list in arms.values_mut() {
        // What depends on arguments counts before what does not.
        list.sort_by_key(|arm| arm.conditions.is_empty());
    }
    Ok(Rules { arms, otherwise, known_up_to: names::highest(), unknown: otherwise })
}

/// The runtime executes the program by descriptor, under this filter already: what a profile says of `execve` it says
/// of `execveat`, which allows nothing more. Many profiles were written from traces that only have the first.
fn execute_in_both_forms(arms: &mut BTreeMap<u32, Vec<Arm>>) {
    let (Some(by_name), Some(by_descriptor)) = (names::number("execve"), names::number("execveat")) else { return };
    match arms.get(&by_name).cloned() {
        Some(list) => drop(arms.insert(by_descriptor, list)),
        None => drop(arms.remove(&by_descriptor)),
    }
}

/// Names of this architecture in the OCI format and in Docker's.
const NATIVE: (&str, &str) =
    if cfg!(target_arch = "x86_64") { ("SCMP_ARCH_X86_64", "amd64") } else { ("SCMP_ARCH_AARCH64", "arm64") };

/// Containers have no capability, so rules for those that have some do not count.
fn applies(rule: &Rule) -> bool {
    let native = |names: &[String]| names.iter().any(|name| name == NATIVE.1 || name == NATIVE.0);
    rule.includes.caps.is_empty()
        && (rule.includes.arches.is_empty() || native(&rule.includes.arches))
        && !native(&rule.excludes.arches)
}

fn invalid(problem: String) -> SeccompError {
    SeccompError::Profile { problem }
}

fn action(field: &str, name: &str, errno: Option<u16>) -> Result<Action, SeccompError> {
    let errno = errno.unwrap_or(libc::EPERM as u16);
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ERRNO" if errno < 4096 => Action::Errno(errno),
        "SCMP_ACT_ERRNO" => return Err(invalid(format!("`{field}`: error number {errno} is above 4095"))),
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        other => {
            let problem = format!(
                "`{field}` {other:?} is not supported; use SCMP_ACT_ALLOW, _LOG, _ERRNO, _TRAP, _KILL, _KILL_THREAD or _KILL_PROCESS"
            );
            return Err(invalid(problem));
        }
    })
}

fn conditions(rule: &Rule) -> Result<Vec<Condition>, SeccompError> {
    let list = rule.args.as_deref().unwrap_or_default();
    if list.len() > 6 {
        return Err(invalid(format!("a rule has {} `args`; system calls have at most 6", list.len())));
    }
    list.iter().map(condition).collect()
}

fn condition(argument: &Argument) -> Result<Condition, SeccompError> {
    if argument.index > 5 {
        return Err(invalid(format!("`index` {} is above 5", argument.index)));
    }
    let (operator, value) = match argument.op.as_str() {
        "SCMP_CMP_EQ" => (Operator::Equal, argument.value),
        "SCMP_CMP_NE" => (Operator::NotEqual, argument.value),
        "SCMP_CMP_LT" => (Operator::Less, argument.value),
        "SCMP_CMP_LE" => (Operator::LessOrEqual, argument.value),
        "SCMP_CMP_GT" => (Operator::Greater, argument.value),
        "SCMP_CMP_GE" => (Operator::GreaterOrEqual, argument.value),
        "SCMP_CMP_MASKED_EQ" => (Operator::MaskedEqual(argument.value), argument.value_two),
        other => return Err(invalid(format!("`op` {other:?} is unknown; use SCMP_CMP_EQ and its like"))),
    };
    Ok(Condition { argument: argument.index, operator, value })
}
