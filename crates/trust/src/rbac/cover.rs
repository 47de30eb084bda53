//! Which rules say no more than others do: nobody grants what they do not hold.

use api::k8s_openapi::api::rbac::v1::PolicyRule;

/// Matches everything in a list of a rule.
const ALL: &str = "*";

/// The parts of the wanted rules that the held ones do not cover, each a rule of its own.
pub fn uncovered<'a>(
    held: impl IntoIterator<Item = &'a PolicyRule>,
    wanted: impl IntoIterator<Item = &'a PolicyRule>,
) -> Vec<PolicyRule> {
    let held: Vec<_> = held.into_iter().collect();
    let parts = wanted.into_iter().flat_map(parts);
    let mut left: Vec<PolicyRule> = parts.filter(|part| !held.iter().any(|rule| covers(rule, part))).collect();
    left.dedup();
    left
}

/// A rule taken apart: one verb, and one path or one resource of one group, and one name if it has any.
fn parts(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut all = Vec::new();
    for verb in &rule.verbs {
        let verbs = vec![verb.clone()];
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let part = PolicyRule {
                    verbs: verbs.clone(),
                    api_groups: Some(vec![group.clone()]),
                    resources: Some(vec![resource.clone()]),
                    ..PolicyRule::default()
                };
                match rule.resource_names.as_deref().unwrap_or_default() {
                    [] => all.push(part),
                    names => all.extend(
                        names
                            .iter()
                            .map(|name| PolicyRule { resource_names: Some(vec![name.clone()]), ..part.clone() }),
                    ),
                }
            }
        }
        let path = |path: &String| PolicyRule {
            verbs: verbs.clone(),
            non_resource_urls: Some(vec![path.clone()]),
            ..PolicyRule::default()
        };
        all.extend(rule.non_resource_urls.iter().flatten().map(path));
    }
    all
}

/// Whether the held rule allows all that the wanted one does.
fn covers(held: &PolicyRule, wanted: &PolicyRule) -> bool {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let has_all = |held: &[String], wanted: &[String]| {
        held.iter().any(|item| item == ALL) || wanted.iter().all(|item| held.contains(item))
    };
    let (held_names, names) = (list(&held.resource_names), list(&wanted.resource_names));
    let (held_resources, held_paths) = (list(&held.resources), list(&held.non_resource_urls));
    let resource = |wanted: &String| {
        let (plural, part) = wanted.split_once('/').unwrap_or((wanted, ""));
        held_resources.iter().any(|held| held == wanted || self::resource(held, plural, part))
    };
    has_all(&held.verbs, &wanted.verbs)
        && has_all(&list(&held.api_groups), &list(&wanted.api_groups))
        && list(&wanted.resources).iter().all(resource)
        && (held_names.is_empty() || !names.is_empty() && names.iter().all(|name| held_names.contains(name)))
        && list(&wanted.non_resource_urls).iter().all(|wanted| held_paths.iter().any(|held| path(held, wanted)))
}

/// Whether a pattern of a rule names a resource or a part of it: `pods`, `pods/log`, `*/scale`, `*`.
pub(super) fn resource(pattern: &str, plural: &str, part: &str) -> bool {
    if pattern == ALL {
        return true;
    }
    let (pattern, pattern_part) = pattern.split_once('/').unwrap_or((pattern, ""));
    pattern_part == part && (pattern == plural || pattern == ALL && !part.is_empty())
}

/// Whether a pattern of a rule names a path: `/metrics`, `/healthz/*`, `*`.
pub(super) fn path(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

/// A rule in the words of Kubernetes' refusals: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
pub fn written(rule: &PolicyRule) -> String {
    let empty = Vec::new();
    let lists = [
        ("APIGroups", rule.api_groups.as_ref().unwrap_or(&empty)),
        ("Resources", rule.resources.as_ref().unwrap_or(&empty)),
        ("ResourceNames", rule.resource_names.as_ref().unwrap_or(&empty)),
        ("NonResourceURLs", rule.non_resource_urls.as_ref().unwrap_or(&empty)),
        ("Verbs", &rule.verbs),
    ];
    let shown = lists.into_iter().filter(|(_, list)| !list.is_empty());
    format!("{{{}}}", shown.map(|(name, list)| format!("{name}:{list:?}")).collect::<Vec<_>>().join(", "))
}
