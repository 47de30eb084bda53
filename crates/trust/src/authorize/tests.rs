use super::*;
use crate::scope::Scopes;

/// `verb resource[/subresource][.group] [namespace/]name`, or `verb /path`.
fn request(text: &str) -> Attributes<'_> {
    let mut words = text.split_whitespace();
    let verb = words.next().unwrap();
    let what = words.next().unwrap();
    if what.starts_with('/') {
        return Attributes { verb, non_resource_path: Some(what), ..Attributes::default() };
    }
    let (resource, group) = what.split_once('.').unwrap_or((what, ""));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (namespace, name) = words.next().map_or(("", ""), |place| place.split_once('/').unwrap_or(("", place)));
    Attributes { verb, group, resource, subresource, namespace, name, non_resource_path: None }
}

fn check(subject: &Subject, allowed: &[&str], denied: &[&str]) {
    for text in allowed {
        let decision = built_in(subject, &request(text));
        assert!(decision.is_allowed(), "{subject} may {text}: {}", decision.reason());
    }
    for text in denied {
        let decision = built_in(subject, &request(text));
        assert!(!decision.is_allowed(), "{subject} may not {text}: {}", decision.reason());
    }
}

fn scoped(scopes: &str) -> Subject {
    Subject { scopes: Some(Scopes::parse(scopes).unwrap()), ..Subject::admin("jo") }
}

#[test]
fn anonymous_gets_health_and_version_only() {
    check(
        &Subject::anonymous(),
        &["get /healthz", "get /livez", "get /readyz", "get /readyz/keyspace", "get /version"],
        &[
            "get /metrics",
            "get /api",
            "get /apis",
            "get /openapi/v3",
            "post /healthz",
            "get /healthzz",
            "list pods",
            "get pods default/a",
            "create certificates.nanocloud.io",
            "create selfsubjectaccessreviews.authorization.k8s.io",
        ],
    );
}

#[test]
fn everybody_who_is_authenticated_gets_discovery_and_nothing_else() {
    check(
        &Subject::authenticated("jo", ["system:serviceaccounts".to_owned()]),
        &[
            "get /api",
            "get /api/v1",
            "get /apis",
            "get /apis/nanocloud.io/v1",
            "get /openapi/v3",
            "get /version",
            "create selfsubjectaccessreviews.authorization.k8s.io",
        ],
        &[
            "get pods default/a",
            "list secrets",
            "get /metrics",
            "get /debug",
            "create tokens.nanocloud.io",
            "create bundles.nanocloud.io",
        ],
    );
}

#[test]
fn masters_may_do_everything() {
    check(
        &Subject::admin("root"),
        &[
            "delete nodes one",
            "get secrets default/x",
            "create pods/exec default/x",
            "get /metrics",
            "create tokens.nanocloud.io",
            "patch widgets.example.com",
        ],
        &[],
    );
}

#[test]
fn a_node_keeps_to_its_own_things() {
    check(
        &Subject::node("one"),
        &[
            "list pods",
            "watch pods",
            "update pods/status default/a",
            "delete pods default/a",
            "update persistentvolumeclaims default/data",
            "get secrets default/x",
            "get configmaps default/x",
            "create nodes one",
            "update nodes one",
            "patch nodes/status one",
            "create leases.coordination.k8s.io kube-node-lease/one",
            "update leases.coordination.k8s.io kube-node-lease/one",
            "watch bindings.nanocloud.io",
            "patch bindings/status.nanocloud.io default/b",
            "create events default/e",
        ],
        &[
            "delete persistentvolumeclaims default/data",
            "create namespaces",
            "list secrets",
            "watch secrets",
            "update secrets default/x",
            "create pods default/a",
            "update pods default/a",
            "create pods/exec default/a",
            "update nodes two",
            "patch nodes/status two",
            "delete nodes one",
            "update leases.coordination.k8s.io kube-node-lease/two",
            "create bundles.nanocloud.io default/b",
            "get tokens.nanocloud.io x",
            "get /metrics",
        ],
    );
}

#[test]
fn controllers_manage_workloads_but_make_no_grants_and_enter_no_pods() {
    check(
        &Subject::controllers(),
        &[
            "watch bundles.nanocloud.io",
            "update bundles/status.nanocloud.io default/b",
            "create statefulsets.apps default/s",
            "patch statefulsets/status.apps default/s",
            "create pods default/p",
            "delete pods default/p",
            "create secrets default/s",
            "list secrets",
            "delete tokens.nanocloud.io old",
            "create bindings.nanocloud.io default/b",
            "delete widgets.example.com default/w",
            "create events default/e",
            "create namespaces kube-system",
            "update namespaces/finalize ns",
            "update leases.coordination.k8s.io kube-system/controllers",
        ],
        &[
            "create tokens.nanocloud.io x",
            "update tokens.nanocloud.io x",
            "create pods/exec default/p",
            "get pods/exec default/p",
            "create nodes one",
            "create certificates.nanocloud.io",
            "create widgets.example.com default/w",
            "get /metrics",
        ],
    );
}

#[test]
fn the_scheduler_places_pods_and_reads_no_secrets() {
    check(
        &Subject::scheduler(),
        &[
            "watch pods",
            "list nodes",
            "create pods/binding default/p",
            "patch pods/status default/p",
            "create events default/e",
        ],
        &[
            "create pods default/p",
            "patch pods default/p",
            "delete pods default/p",
            "get secrets default/s",
            "update nodes one",
            "create pods/exec default/p",
        ],
    );
}

#[test]
fn a_single_use_token_can_only_be_exchanged() {
    check(
        &Subject::bootstrapper("abcdefgh"),
        &[
            "create certificates.nanocloud.io",
            "create tokens/exchange.nanocloud.io",
            "create members/join.nanocloud.io",
        ],
        &[
            "get members.nanocloud.io",
            "create members/remove.nanocloud.io b",
            "create tokens.nanocloud.io",
            "list pods",
            "get certificates.nanocloud.io",
            "get /metrics",
        ],
    );
}

#[test]
fn monitoring_reads_metrics_and_no_secrets() {
    check(
        &Subject::authenticated("prometheus", ["system:monitoring".to_owned()]),
        &[
            "get /metrics",
            "list pods",
            "get pods/status default/p",
            "get members.nanocloud.io",
            "get members/status.nanocloud.io",
        ],
        &[
            "list secrets",
            "get tokens.nanocloud.io x",
            "get pods/log default/p",
            "delete pods default/p",
            "create members/lead.nanocloud.io b",
            "create members/join.nanocloud.io",
        ],
    );
}

#[test]
fn a_scope_allows_what_it_names() {
    for (scopes, allowed, denied) in [
        (
            "pods.read",
            &["get pods default/p", "get pods/log default/p"][..],
            &["get pods/exec default/p", "create pods/exec default/p", "delete pods default/p"][..],
        ),
        (
            "pods.exec",
            &["create pods/exec default/p", "get pods/exec default/p", "get pods default/p"],
            &["get pods/log default/p", "list pods"],
        ),
        ("pods.write", &["create pods default/p", "delete pods default/p"], &["create pods/exec default/p"]),
        (
            "bundles.read",
            &["list bundles.nanocloud.io", "watch bindings.nanocloud.io"],
            &[
                "create bundles/exportProfile.nanocloud.io default/b",
                "get bundles/backups.nanocloud.io default/b",
                "create bundles.nanocloud.io",
            ],
        ),
        (
            "bundles.write",
            &["create bundles.nanocloud.io", "create bundles/actions/restart.nanocloud.io default/b"],
            &["create bundles/exportProfile.nanocloud.io default/b"],
        ),
        (
            "bundles.backup",
            &[
                "create bundles/exportProfile.nanocloud.io default/b",
                "get bundles/backups/latest.nanocloud.io default/b",
            ],
            &["create bundles.nanocloud.io"],
        ),
        ("events.read", &["watch events"], &["list pods"]),
        (
            "cluster.read",
            &["list pods", "get /metrics", "get pods/log default/p", "list widgets.example.com"],
            &["list secrets", "list tokens.nanocloud.io", "get pods/exec default/p", "create pods"],
        ),
        (
            "cluster.admin",
            &["list secrets", "create tokens.nanocloud.io", "create pods/exec default/p", "get /metrics"],
            &[],
        ),
        ("pods.read pods.exec", &["list pods", "create pods/exec default/p"], &["delete pods default/p"]),
    ] {
        check(&scoped(scopes), allowed, denied);
    }
}

#[test]
fn scopes_limit_even_masters_and_none_at_all_leaves_discovery() {
    check(&scoped(""), &["get /api", "get /version"], &["get pods default/p", "get /metrics"]);
}

#[test]
fn a_refusal_says_what_was_missing() {
    let decision = built_in(&scoped("pods.read"), &request("create pods/exec default/p"));
    assert_eq!(
        decision.reason(),
        "create pods/exec \"p\" in namespace \"default\" is not within the scopes of jo's token (pods.read)"
    );
    let decision = built_in(&Subject::authenticated("jo", []), &request("delete nodes one"));
    assert_eq!(decision.reason(), "", "the server says what was asked");
}

#[test]
fn a_star_never_means_a_confidential_kind_and_an_empty_resource_never_matches() {
    let nothing = Attributes { verb: "get", ..Attributes::default() };
    assert!(!built_in(&Subject::controllers(), &nothing).is_allowed());
    let monitoring = Subject::authenticated("m", ["system:monitoring".to_owned()]);
    assert!(!built_in(&monitoring, &request("get secrets/status default/x")).is_allowed());
}
