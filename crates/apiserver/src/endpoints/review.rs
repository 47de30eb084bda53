//! Reviews: identity and rights of a subject, as `kubectl auth` asks for them.

use std::collections::BTreeSet;

use api::{
    Reason,
    names::user_extra::{CREDENTIAL_ID, POD_NAME, POD_UID, SCOPES},
    review::{
        NonResourceAttributes, NonResourceRule, Question, ResourceAttributes, ResourceRule, Review,
        SelfSubjectAccessReview, SelfSubjectReview, SelfSubjectReviewStatus, SelfSubjectRulesReview,
        SubjectAccessReview, SubjectAccessReviewStatus, SubjectRulesReviewStatus, TokenReview, TokenReviewStatus,
        UserInfo,
    },
};
use axum::response::Response;
use http::StatusCode;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use trust::{Attributes, Subject, jwt::API_AUDIENCE};

use super::discovery::{self, Target};
use crate::{
    api_error::{ApiError, Result},
    endpoint::{Access, Endpoint},
    request::{account, body, context::RequestContext, response},
    state::ServerState,
};

/// Everything, in the words of rules.
const EVERYTHING: &str = "*";

/// Answers a question. Nothing is stored.
pub(super) async fn answer(mut context: RequestContext, review: &'static Review) -> Result<Response> {
    let bytes = context.take_body();
    let document = body::document(&context.parts.headers, &bytes)?;
    check_kind(review, &document)?;
    let subject = &context.subject;
    let answered = match review.question {
        Question::Identity => {
            let asked: SelfSubjectReview = read(document)?;
            let status = SelfSubjectReviewStatus { user_info: Some(user(subject)) };
            written(&SelfSubjectReview { status: Some(status), ..asked })
        }
        Question::Token => {
            let asked: TokenReview = read(document)?;
            let status = token(&context.state, &asked).await?;
            written(&TokenReview { status: Some(status), ..asked })
        }
        Question::OwnAccess => {
            let asked: SelfSubjectAccessReview = read(document)?;
            let spec = &asked.spec;
            let status = access(
                &context.state,
                subject,
                spec.resource_attributes.as_ref(),
                spec.non_resource_attributes.as_ref(),
            )
            .await?;
            written(&SelfSubjectAccessReview { status: Some(status), ..asked })
        }
        Question::OwnRules => {
            let asked: SelfSubjectRulesReview = read(document)?;
            let Some(namespace) = asked.spec.namespace.as_deref().filter(|name| !name.is_empty()) else {
                return Err(ApiError::bad_request("spec.namespace: name the namespace that is asked about"));
            };
            let status = rules(subject, namespace, &context).await?;
            written(&SelfSubjectRulesReview { status: Some(status), ..asked })
        }
        Question::Access => {
            let asked: SubjectAccessReview = read(document)?;
            let spec = &asked.spec;
            let groups = spec.groups.clone().unwrap_or_default();
            let other = Subject::authenticated(spec.user.clone().unwrap_or_default(), groups);
            if other.user.is_empty() && other.groups.len() == 1 {
                return Err(ApiError::bad_request("spec.user, spec.groups: name the user or the groups asked about"));
            }
            let status = access(
                &context.state,
                &other,
                spec.resource_attributes.as_ref(),
                spec.non_resource_attributes.as_ref(),
            )
            .await?;
            written(&SubjectAccessReview { status: Some(status), ..asked })
        }
    }?;
    Ok(response::document(StatusCode::CREATED, answered))
}

fn check_kind(review: &Review, document: &Value) -> Result<()> {
    let version = review.api_version();
    for (field, wanted) in [("apiVersion", version.as_str()), ("kind", review.kind)] {
        let said = document.get(field).and_then(Value::as_str).unwrap_or(wanted);
        if said != wanted {
            return Err(ApiError::bad_request(format!(
                "{field}: {said:?} does not fit this endpoint, {wanted:?} does"
            )));
        }
    }
    Ok(())
}

fn read<T: DeserializeOwned>(document: Value) -> Result<T> {
    serde_json::from_value(document)
        .map_err(|error| ApiError::bad_request(format!("the review cannot be read: {error}")))
}

fn written(review: &impl Serialize) -> Result<Value> {
    serde_json::to_value(review).map_err(|error| ApiError::internal("the review cannot be written", error))
}

fn user(subject: &Subject) -> UserInfo {
    let scopes = subject.scopes.as_ref().map(|scopes| (SCOPES.to_owned(), vec![scopes.to_string()]));
    UserInfo {
        extra: scopes.map(|pair| [pair].into()),
        groups: Some(subject.groups.clone()),
        uid: None,
        username: Some(subject.user.clone()),
    }
}

/// Whose token it is, if it is good for one of the audiences that are asked for, or for the API.
async fn token(state: &ServerState, asked: &TokenReview) -> Result<TokenReviewStatus> {
    let audiences: Vec<&str> = match asked.spec.audiences.as_deref() {
        None | Some([]) => vec![API_AUDIENCE],
        Some(audiences) => audiences.iter().map(String::as_str).collect(),
    };
    if asked.spec.token.is_empty() {
        return Err(ApiError::bad_request("spec.token: give the token that is asked about"));
    }
    let refused = |error: String| TokenReviewStatus { error: Some(error), ..TokenReviewStatus::default() };
    let verified = match state.tokens.verify_for_any(&asked.spec.token, &audiences, state.registry.now()) {
        Ok(verified) => verified,
        Err(error) => return Ok(refused(error.to_string())),
    };
    let mut user = user(&verified.subject);
    if let Some(claim) = &verified.account {
        match account::check(&*state.registry, claim).await {
            Err(failure) if failure.status.reason == Reason::Unauthorized => {
                return Ok(refused(failure.status.message));
            }
            checked => checked?,
        }
        user.uid = Some(claim.serviceaccount.uid.clone());
        let extra = user.extra.get_or_insert_default();
        if let Some(pod) = &claim.pod {
            extra.insert(POD_NAME.into(), vec![pod.name.clone()]);
            extra.insert(POD_UID.into(), vec![pod.uid.clone()]);
        }
        extra.insert(CREDENTIAL_ID.into(), vec![format!("JTI={}", verified.id)]);
    }
    Ok(TokenReviewStatus {
        audiences: Some(verified.audiences),
        authenticated: Some(true),
        error: None,
        user: Some(user),
    })
}

/// Whether it is allowed: a refusal is no denial for good, for more rules could allow it.
async fn access(
    state: &ServerState,
    subject: &Subject,
    resource: Option<&ResourceAttributes>,
    path: Option<&NonResourceAttributes>,
) -> Result<SubjectAccessReviewStatus> {
    let text = |field: &'_ Option<String>| field.clone().unwrap_or_default();
    let decision = match (resource, path) {
        (Some(asked), None) => {
            let (verb, group, name) = (text(&asked.verb), text(&asked.group), text(&asked.name));
            let (resource, subresource) = (text(&asked.resource), text(&asked.subresource));
            let namespace = text(&asked.namespace);
            let asked = Attributes {
                verb: &verb,
                group: &group,
                resource: &resource,
                subresource: &subresource,
                namespace: &namespace,
                name: &name,
                non_resource_path: None,
            };
            state.authorizer.decide(subject, &asked).await?
        }
        (None, Some(asked)) => {
            let (verb, path) = (text(&asked.verb), text(&asked.path));
            let asked = Attributes { verb: &verb, non_resource_path: Some(&path), ..Attributes::default() };
            state.authorizer.decide(subject, &asked).await?
        }
        _ => {
            return Err(ApiError::bad_request(
                "spec: give either resourceAttributes or nonResourceAttributes, and not both",
            ));
        }
    };
    Ok(SubjectAccessReviewStatus {
        allowed: decision.is_allowed(),
        denied: None,
        evaluation_error: None,
        reason: Some(decision.reason().to_owned()).filter(|reason| !reason.is_empty()),
    })
}

/// What the subject may do in a namespace: by built-in roles and scopes, and by the rules of roles that are bound.
async fn rules(subject: &Subject, namespace: &str, context: &RequestContext) -> Result<SubjectRulesReviewStatus> {
    let mut status = built_in_rules(subject, namespace, context);
    for held in context.state.authorizer.policies().await?.rules(subject, namespace) {
        if let Some(paths) = held.non_resource_urls.clone().filter(|paths| !paths.is_empty()) {
            status
                .non_resource_rules
                .push(NonResourceRule { non_resource_urls: Some(paths), verbs: held.verbs.clone() });
        } else {
            status.resource_rules.push(ResourceRule {
                api_groups: held.api_groups.clone(),
                resource_names: held.resource_names.clone(),
                resources: held.resources.clone(),
                verbs: held.verbs.clone(),
            });
        }
    }
    Ok(status)
}

/// What built-in roles and scopes allow: each endpoint is asked for, so that it cannot differ from what is decided.
fn built_in_rules(subject: &Subject, namespace: &str, context: &RequestContext) -> SubjectRulesReviewStatus {
    let allowed = |attributes: &Attributes<'_>| trust::built_in(subject, attributes).is_allowed();
    let owned = |list: &[&str]| -> Vec<String> { list.iter().map(|text| (*text).to_owned()).collect() };
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| ResourceRule {
        api_groups: Some(owned(groups)),
        resource_names: None,
        resources: Some(owned(resources)),
        verbs: owned(verbs),
    };
    let path =
        |path: &str, verbs: &[&str]| NonResourceRule { non_resource_urls: Some(owned(&[path])), verbs: owned(verbs) };
    let all = [EVERYTHING];
    let everything = Attributes { verb: EVERYTHING, group: EVERYTHING, resource: EVERYTHING, ..Attributes::default() };
    if allowed(&everything) {
        return SubjectRulesReviewStatus {
            resource_rules: vec![rule(&all, &all, &all)],
            non_resource_rules: vec![path(EVERYTHING, &all)],
            ..SubjectRulesReviewStatus::default()
        };
    }
    let endpoints = &context.state.endpoints;
    let targets = discovery::targets(&context.served.kinds, endpoints);
    let resource_rules = targets.into_iter().filter_map(|Target { group, resource, subresource, verbs }| {
        let may = |verb: &&&str| {
            allowed(&Attributes { verb, group, resource, subresource, namespace, ..Attributes::default() })
        };
        let verbs: Vec<&str> = verbs.iter().filter(may).copied().collect();
        let name = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
        (!verbs.is_empty()).then(|| rule(&[group], &[&name], &verbs))
    });
    let paths: BTreeSet<String> = endpoints.iter().filter(|row| row.access == Access::Path).map(in_rules).collect();
    let non_resource_rules = paths.iter().filter(|name| {
        let asked = name.replace('*', "x");
        allowed(&Attributes { verb: "get", non_resource_path: Some(&asked), ..Attributes::default() })
    });
    SubjectRulesReviewStatus {
        resource_rules: resource_rules.collect(),
        non_resource_rules: non_resource_rules.map(|name| path(name, &["get"])).collect(),
        ..SubjectRulesReviewStatus::default()
    }
}

/// A path as rules name it: a `*` stands for what follows its first parameter.
fn in_rules(endpoint: &Endpoint) -> String {
    match endpoint.path.split_once('{') {
        Some((fixed, _)) => format!("{fixed}*"),
        None => endpoint.path.clone().into_owned(),
    }
}
