//! Reasons of a bundle's conditions: a closed list.

/// What a reason says of its condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonClass {
    /// The condition is not True yet: work is under way, or waits for something.
    Pending,
    /// The condition is not True: somebody has to act, or another try has to succeed.
    Failed,
    /// The condition is True.
    Done,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident: $class:ident,)*) => {
        /// Why a condition of a bundle is as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum BundleReason {
            $($(#[$doc])* $reason,)*
        }

        impl BundleReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)*];

            /// The reason as it stands in a condition.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$reason => stringify!($reason),)*
                }
            }

            /// What it says of its condition.
            #[must_use]
            pub fn class(self) -> ReasonClass {
                match self {
                    $(Self::$reason => ReasonClass::$class,)*
                }
            }
        }
    };
}

reasons! {
    /// Options, image and dependencies are not resolved yet.
    ProfilePending: Pending,
    /// An option, the image or a dependency is refused.
    ProfileFailed: Failed,
    /// Options, image and dependencies are resolved and stored.
    ProfilePersisted: Done,
    /// Secrets and certificates are being generated.
    SecretsPending: Pending,
    /// Secrets or certificates could not be generated.
    SecretsFailed: Failed,
    /// Secrets and certificates are stored.
    SecretsDistributed: Done,
    /// Commands in other bundles are to run.
    BindingsPending: Pending,
    /// A command in another bundle failed; it is tried again.
    BindingsFailed: Failed,
    /// Commands have run, and the workload is applied.
    BindingsCompleted: Done,
    /// The objects of the workload are not applied yet.
    WorkloadPending: Pending,
    /// The API refuses an object of the workload.
    WorkloadFailed: Failed,
    /// The pod is not ready yet.
    StartPending: Pending,
    /// The pod does not start by itself.
    StartFailed: Failed,
    /// The service runs and is ready.
    StartCompleted: Done,
    /// The bundle is prepared and stopped on purpose.
    StartSkipped: Done,
}

impl BundleReason {
    /// The reason of this word; `None` for one of another release.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.word() == word)
    }
}
