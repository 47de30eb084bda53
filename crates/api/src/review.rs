//! Reviews: questions about the identity and rights of a subject; created, answered in the status, never stored.
//!
//! Source: `authentication.k8s.io/v1` and `authorization.k8s.io/v1`.

use k8s_openapi::Resource;
use schemars::{JsonSchema, Schema, SchemaGenerator};

pub use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus, UserInfo},
    authorization::v1::{
        NonResourceAttributes, NonResourceRule, ResourceAttributes, ResourceRule, SelfSubjectAccessReview,
        SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewStatus, SubjectRulesReviewStatus,
    },
};

/// Which question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Who am I?
    Identity,
    /// Whose token is this?
    Token,
    /// May I do this?
    OwnAccess,
    /// What may I do?
    OwnRules,
    /// May another subject do this?
    Access,
}

/// A kind that is a question.
#[derive(Clone, Copy, Debug)]
pub struct Review {
    /// The question.
    pub question: Question,
    /// API group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Kind in CamelCase.
    pub kind: &'static str,
    /// Lower-case plural used in URLs.
    pub plural: &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Review {
    const fn of<R: Resource + JsonSchema>(question: Question, plural: &'static str) -> Self {
        Self {
            question,
            group: R::GROUP,
            version: R::VERSION,
            kind: R::KIND,
            plural,
            schema: |g| g.subschema_for::<R>(),
        }
    }

    /// JSON schema of the kind, registered with the generator's definitions.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.schema)(generator)
    }

    /// `group/version`.
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }
}

const ALL: &[Review] = &[
    Review::of::<SelfSubjectReview>(Question::Identity, "selfsubjectreviews"),
    Review::of::<TokenReview>(Question::Token, "tokenreviews"),
    Review::of::<SelfSubjectAccessReview>(Question::OwnAccess, "selfsubjectaccessreviews"),
    Review::of::<SelfSubjectRulesReview>(Question::OwnRules, "selfsubjectrulesreviews"),
    Review::of::<SubjectAccessReview>(Question::Access, "subjectaccessreviews"),
];

/// Every review, groups side by side.
pub fn all() -> &'static [Review] {
    ALL
}
