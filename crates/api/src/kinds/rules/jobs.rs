//! Job and CronJob.

use super::*;

fn pods() -> Value {
    json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}})
}

fn job() -> Sample {
    Sample::new("jobs", json!({"metadata": {"name": "w", "namespace": "d"}, "spec": {"template": pods()}}))
}

fn cron() -> Sample {
    let spec = json!({"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": pods()}}});
    Sample::new("cronjobs", json!({"metadata": {"name": "w", "namespace": "d"}, "spec": spec}))
}

fn spec(change: Value) -> Value {
    json!({"spec": change})
}

fn indexed(change: Value) -> Value {
    let mut spec = json!({"completionMode": "Indexed", "completions": 3});
    merge(&mut spec, &change);
    json!({"spec": spec})
}

#[test]
fn numbers_and_modes_fit_together() {
    let restart = "spec.template.spec.restartPolicy";
    job().refuses([
        (spec(json!({"template": {"spec": {"restartPolicy": null}}})), restart, UNSUPPORTED),
        (spec(json!({"template": {"spec": {"restartPolicy": "Always"}}})), restart, UNSUPPORTED),
        (spec(json!({"parallelism": -1})), "spec.parallelism", INVALID),
        (spec(json!({"parallelism": 2_000_000_000})), "spec.parallelism", INVALID),
        (spec(json!({"completions": -1})), "spec.completions", INVALID),
        (spec(json!({"backoffLimit": -1})), "spec.backoffLimit", INVALID),
        (spec(json!({"activeDeadlineSeconds": -1})), "spec.activeDeadlineSeconds", INVALID),
        (spec(json!({"ttlSecondsAfterFinished": -1})), "spec.ttlSecondsAfterFinished", INVALID),
        (spec(json!({"completionMode": "Bogus"})), "spec.completionMode", UNSUPPORTED),
        (spec(json!({"completionMode": "Indexed", "parallelism": 1})), "spec.completions", REQUIRED),
        (indexed(json!({"completions": 100_001})), "spec.completions", INVALID),
        (indexed(json!({"maxFailedIndexes": 4, "backoffLimitPerIndex": 1})), "spec.maxFailedIndexes", INVALID),
        (indexed(json!({"maxFailedIndexes": 1})), "spec.backoffLimitPerIndex", REQUIRED),
        (spec(json!({"backoffLimitPerIndex": 1})), "spec.backoffLimitPerIndex", INVALID),
        (spec(json!({"podReplacementPolicy": "Bogus"})), "spec.podReplacementPolicy", UNSUPPORTED),
        (spec(json!({"managedBy": "own"})), "spec.managedBy", INVALID),
        (spec(json!({"selector": {"matchLabels": {"a": "b"}}})), "spec.selector", INVALID),
        (spec(json!({"manualSelector": true})), "spec.selector", REQUIRED),
    ]);
    job().accepts([
        indexed(json!({"maxFailedIndexes": 3, "backoffLimitPerIndex": 0})),
        spec(json!({"parallelism": 0, "completions": 0, "backoffLimit": 0, "suspend": true})),
        spec(json!({"managedBy": "example.com/own", "podReplacementPolicy": "Failed"})),
    ]);
}

#[test]
fn rules_of_policies_can_be_followed() {
    let rule = |rule: Value| spec(json!({"podFailurePolicy": {"rules": [rule]}}));
    let codes = |operator: &str, values: Value| json!({"action": "Count", "onExitCodes": {"operator": operator, "values": values}});
    let at = "spec.podFailurePolicy.rules[0]";
    let named = json!({"action": "Count", "onExitCodes": {"containerName": "x", "operator": "In", "values": [1]}});
    let condition = |change: Value| {
        let mut pattern = json!({"type": "DisruptionTarget"});
        merge(&mut pattern, &change);
        rule(json!({"action": "Ignore", "onPodConditions": [pattern]}))
    };
    for (patch, field, reason) in [
        (rule(json!({"action": "Count"})), at.to_owned(), INVALID),
        (rule(json!({"action": "Bogus", "onPodConditions": [{"type": "X"}]})), format!("{at}.action"), UNSUPPORTED),
        (rule(json!({"action": "FailIndex", "onPodConditions": [{"type": "X"}]})), format!("{at}.action"), INVALID),
        (rule(codes("Bogus", json!([1]))), format!("{at}.onExitCodes.operator"), UNSUPPORTED),
        (rule(codes("In", json!([]))), format!("{at}.onExitCodes.values"), INVALID),
        (rule(codes("In", json!([0]))), format!("{at}.onExitCodes.values"), INVALID),
        (rule(codes("In", json!([2, 1]))), format!("{at}.onExitCodes.values"), INVALID),
        (rule(named), format!("{at}.onExitCodes.containerName"), INVALID),
        (condition(json!({"status": "Maybe"})), format!("{at}.onPodConditions[0].status"), UNSUPPORTED),
        (condition(json!({"type": "a b"})), format!("{at}.onPodConditions[0].type"), INVALID),
    ] {
        assert_eq!(job().create(patch.clone()), [(field, reason)], "{patch}");
    }
    let success = |rule: Value| indexed(json!({"successPolicy": {"rules": [rule]}}));
    job().refuses([
        (success(json!({})), "spec.successPolicy.rules[0]", REQUIRED),
        (success(json!({"succeededIndexes": "1,0"})), "spec.successPolicy.rules[0].succeededIndexes", INVALID),
        (success(json!({"succeededIndexes": "0-3"})), "spec.successPolicy.rules[0].succeededIndexes", INVALID),
        (success(json!({"succeededCount": 4})), "spec.successPolicy.rules[0].succeededCount", INVALID),
        (indexed(json!({"successPolicy": {"rules": []}})), "spec.successPolicy.rules", REQUIRED),
        (spec(json!({"successPolicy": {"rules": [{"succeededCount": 1}]}})), "spec.successPolicy", INVALID),
    ]);
    job().accepts([
        rule(codes("NotIn", json!([0, 1, 137]))),
        condition(json!({})),
        success(json!({"succeededIndexes": "0,2"})),
    ]);
}

#[test]
fn a_job_that_exists_stays_what_it_is() {
    for (after, field) in [
        (spec(json!({"completions": 2})), "spec.completions"),
        (spec(json!({"template": {"spec": {"nodeSelector": {"a": "b"}}}})), "spec.template"),
        (spec(json!({"managedBy": "example.com/own"})), "spec.managedBy"),
        (spec(json!({"selector": {"matchLabels": {"a": "b"}}})), "spec.selector"),
    ] {
        assert_eq!(job().update(json!({}), after.clone()), [(field.to_owned(), INVALID)], "{after}");
    }
    for (before, after) in [
        (json!({}), spec(json!({"parallelism": 4, "suspend": true, "backoffLimit": 9, "ttlSecondsAfterFinished": 1}))),
        (spec(json!({"suspend": true})), spec(json!({"template": {"spec": {"nodeSelector": {"a": "b"}}}}))),
        (indexed(json!({})), spec(json!({"completions": 5, "parallelism": 5}))),
    ] {
        assert_eq!(job().update(before, after.clone()), [], "{after}");
    }
}

#[test]
fn a_schedule_can_be_read() {
    for schedule in ["", "* * * *", "61 * * * *", "@never", "TZ=UTC * * * * *"] {
        let found = cron().create(spec(json!({"schedule": schedule})));
        assert_eq!(
            found.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(),
            ["spec.schedule"],
            "{schedule:?}"
        );
    }
    cron().refuses([
        (spec(json!({"timeZone": ""})), "spec.timeZone", INVALID),
        (spec(json!({"timeZone": "Local"})), "spec.timeZone", INVALID),
        (spec(json!({"timeZone": "Mars/Base"})), "spec.timeZone", INVALID),
        (spec(json!({"concurrencyPolicy": "Bogus"})), "spec.concurrencyPolicy", UNSUPPORTED),
        (spec(json!({"startingDeadlineSeconds": -1})), "spec.startingDeadlineSeconds", INVALID),
        (spec(json!({"successfulJobsHistoryLimit": -1})), "spec.successfulJobsHistoryLimit", INVALID),
        (
            spec(json!({"jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}})),
            "spec.jobTemplate.spec.template.spec.restartPolicy",
            UNSUPPORTED,
        ),
        (spec(json!({"jobTemplate": {"spec": null}})), "spec.jobTemplate.spec", REQUIRED),
        (json!({"metadata": {"name": "x".repeat(53)}}), "metadata.name", INVALID),
    ]);
    cron().accepts([spec(json!({"schedule": "@hourly", "suspend": true})), spec(json!({"timeZone": "UTC"}))]);
}

#[test]
fn omitted_fields_get_kubernetes_values() {
    let stored = job().stored(json!({}));
    for (field, value) in [
        ("completions", json!(1)),
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
    ] {
        assert_eq!(stored["spec"][field], value, "{field}");
    }
    assert_eq!(job().stored(spec(json!({"parallelism": 2})))["spec"]["completions"], Value::Null);
    let limited = job().stored(indexed(json!({"backoffLimitPerIndex": 1})));
    assert_eq!(limited["spec"]["backoffLimit"], i32::MAX);
    let stored = cron().stored(json!({}));
    for (field, value) in [
        ("concurrencyPolicy", json!("Allow")),
        ("successfulJobsHistoryLimit", json!(3)),
        ("failedJobsHistoryLimit", json!(1)),
    ] {
        assert_eq!(stored["spec"][field], value, "{field}");
    }
}
