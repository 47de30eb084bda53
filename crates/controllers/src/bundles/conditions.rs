//! The conditions of a bundle: each depends on those before it.

use api::{
    Condition, Time,
    kinds::bundle::{Bundle, BundleReason, CONDITIONS},
};
use jiff::Timestamp;

/// Longest message of a condition, in bytes.
pub const MESSAGE_MAX: usize = 4096;

/// How far a bundle is: the first thing that is not done, and how it is going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Options, image and dependencies.
    Profile(Open),
    /// Generated secrets and certificates.
    Secrets(Open),
    /// Commands in other bundles.
    Bindings(Open),
    /// The objects that run it.
    Workload(Open),
    /// Running.
    Start(Open),
    /// It is prepared and stopped on purpose.
    Stopped,
    /// It runs.
    Running,
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    /// It is under way, or waits for something.
    Pending(String),
    /// It failed: somebody has to act, or another try has to succeed.
    Failed(String),
}

impl Open {
    fn message(&self) -> &str {
        match self {
            Self::Pending(message) | Self::Failed(message) => message,
        }
    }
}

/// Reasons of a condition when it is pending, failed and done, and its message when it is done.
struct Words {
    pending: BundleReason,
    failed: BundleReason,
    done: BundleReason,
    message: &'static str,
}

/// By condition, in order. `Bound` has two stages, which [`Progress`] distinguishes.
const WORDS: [Words; 4] = [
    Words {
        pending: BundleReason::ProfilePending,
        failed: BundleReason::ProfileFailed,
        done: BundleReason::ProfilePersisted,
        message: "options, image and dependencies are resolved",
    },
    Words {
        pending: BundleReason::SecretsPending,
        failed: BundleReason::SecretsFailed,
        done: BundleReason::SecretsDistributed,
        message: "secrets and certificates are available",
    },
    Words {
        pending: BundleReason::BindingsPending,
        failed: BundleReason::BindingsFailed,
        done: BundleReason::BindingsCompleted,
        message: "bindings are done and the workload is applied",
    },
    Words {
        pending: BundleReason::StartPending,
        failed: BundleReason::StartFailed,
        done: BundleReason::StartCompleted,
        message: "the service runs and is ready",
    },
];

/// The conditions at this progress. A condition keeps its transition time while its status stays.
pub(crate) fn conditions(bundle: &Bundle, progress: &Progress, now: Timestamp) -> Vec<Condition> {
    let (reached, open) = match progress {
        Progress::Profile(open) => (0, Some(open)),
        Progress::Secrets(open) => (1, Some(open)),
        Progress::Bindings(open) | Progress::Workload(open) => (2, Some(open)),
        Progress::Start(open) => (3, Some(open)),
        Progress::Stopped | Progress::Running => (4, None),
    };
    let texts = CONDITIONS.iter().zip(&WORDS).enumerate().map(|(index, (name, words))| {
        let (done, reason, message) = match open.filter(|_| index == reached) {
            Some(open) => (false, open_reason(words, progress, open), cut(open.message())),
            None if index > reached => (false, words.pending, format!("waits for {}", CONDITIONS[reached])),
            None if index == 3 && *progress == Progress::Stopped => {
                (true, BundleReason::StartSkipped, "prepared and kept stopped (spec.start is false)".to_owned())
            }
            None => (true, words.done, words.message.to_owned()),
        };
        condition(bundle, name, done, reason, message, now)
    });
    texts.collect()
}

fn open_reason(words: &Words, progress: &Progress, open: &Open) -> BundleReason {
    match (progress, open) {
        (Progress::Workload(_), Open::Pending(_)) => BundleReason::WorkloadPending,
        (Progress::Workload(_), Open::Failed(_)) => BundleReason::WorkloadFailed,
        (_, Open::Pending(_)) => words.pending,
        (_, Open::Failed(_)) => words.failed,
    }
}

fn condition(
    bundle: &Bundle,
    name: &str,
    done: bool,
    reason: BundleReason,
    message: String,
    now: Timestamp,
) -> Condition {
    let status = if done { "True" } else { "False" };
    let before = bundle.condition(name).filter(|before| before.status == status);
    Condition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: reason.word().to_owned(),
        message,
        observed_generation: bundle.metadata.generation,
        last_transition_time: before.map_or(Time(now), |before| before.last_transition_time.clone()),
    }
}

/// At most [`MESSAGE_MAX`] bytes; of long messages the end is kept, for there the last log lines are.
fn cut(message: &str) -> String {
    if message.len() <= MESSAGE_MAX {
        return message.to_owned();
    }
    let mut start = message.len() - MESSAGE_MAX;
    while !message.is_char_boundary(start) {
        start += 1;
    }
    message[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use api::decode;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn bundle() -> Bundle {
        decode(json!({"metadata": {"name": "b", "generation": 3}, "spec": {"service": "s"}})).unwrap()
    }

    fn any_progress() -> impl Strategy<Value = Progress> {
        (0..7_usize, any::<bool>()).prop_map(|(stage, failed)| {
            let open = if failed { Open::Failed("f".into()) } else { Open::Pending("p".into()) };
            match stage {
                0 => Progress::Profile(open),
                1 => Progress::Secrets(open),
                2 => Progress::Bindings(open),
                3 => Progress::Workload(open),
                4 => Progress::Start(open),
                5 => Progress::Stopped,
                _ => Progress::Running,
            }
        })
    }

    proptest! {
        #[test]
        fn order_vocabulary_and_times(steps in proptest::collection::vec(any_progress(), 1..20)) {
            let mut bundle = bundle();
            for (second, progress) in steps.iter().enumerate() {
                let now = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
                let next = conditions(&bundle, progress, now);
                prop_assert!(next.windows(2).all(|pair| pair[0].status == "True" || pair[1].status == "False"));
                prop_assert!(next.iter().all(|condition| BundleReason::parse(&condition.reason).is_some()));
                for condition in &next {
                    let before = bundle.condition(&condition.type_);
                    let changed = before.is_none_or(|before| before.status != condition.status);
                    prop_assert_eq!(condition.last_transition_time.0 == now, changed);
                }
                prop_assert_eq!(&conditions(&bundle, progress, now), &next);
                bundle.status.get_or_insert_default().conditions = next;
            }
        }
    }

    #[test]
    fn long_messages_keep_their_end() {
        let long = format!("{}é-end", "x".repeat(MESSAGE_MAX));
        let kept = cut(&long);
        assert!(kept.len() <= MESSAGE_MAX && kept.ends_with("é-end"));
    }
}
