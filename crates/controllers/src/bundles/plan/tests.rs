use api::{decode, encode};
use serde_json::{Value, json};

use super::*;
use crate::testing::{MARIADB, WORDPRESS, info};

const NOW: &str = "2026-01-01T00:00:00Z";

fn bundle(name: &str, service: &str, options: Value) -> Bundle {
    decode(json!({"metadata": {"name": name, "namespace": "default", "uid": format!("{name}-uid"), "generation": 1},
        "spec": {"service": service, "options": options}}))
    .unwrap()
}

fn surface(service: &str) -> Surface {
    super::super::surface(&info(service).unwrap()).unwrap()
}

fn observed(bundle: Bundle) -> Observed {
    let service = bundle.spec.service.clone();
    Observed {
        image: Ok(Image {
            reference: format!("registry.nanocloud.io/{service}:latest"),
            digest: "sha256:1".into(),
            surface: surface(&service),
        }),
        bundle,
        peers: BTreeMap::new(),
        surfaces: BTreeMap::new(),
        facts: dockyard::Facts::default(),
        authority: crate::testing::context().issuer.authority().map(str::to_owned),
        profile_secret: None,
        tls_secret: None,
        bindings: Vec::new(),
        service: None,
        set: None,
        pod: None,
        claims: Vec::new(),
        now: NOW.parse().unwrap(),
    }
}

fn first_open(plan: &Plan) -> (String, String) {
    let open = plan.status.conditions.iter().find(|condition| condition.status != "True");
    open.map(|condition| (condition.reason.clone(), condition.message.clone())).unwrap_or_default()
}

/// A MariaDB whose secrets are made.
fn prepared_database() -> Observed {
    let mut observed = observed(bundle("mariadb", MARIADB, json!({})));
    let make = plan(&observed).make.unwrap();
    let request = make.certificate.unwrap();
    let issued = crate::testing::context().issuer.issue(&request).unwrap();
    observed.now = issued.not_before;
    let step = secrets::tls_step(&observed.bundle, None, &request, &issued);
    let Step::Create { object, .. } = step else { panic!() };
    observed.tls_secret = Some(decode(object).unwrap());
    observed
}

#[test]
fn a_certificate_of_another_authority_is_issued_anew() {
    let mut observed = prepared_database();
    let due = |observed: &Observed| plan(observed).make.is_some_and(|make| make.certificate.is_some());
    assert!(!due(&observed));
    observed.authority = None;
    assert!(!due(&observed), "an authority that cannot be used");
    observed.authority = Some("another".into());
    assert!(due(&observed));
}

#[test]
fn refusals_name_field_and_allowed_values_and_nothing_is_made() {
    let cases = [
        (json!({"public": "maybe"}), "spec.options.public", "yes, no"),
        (json!({"nonsense": "1"}), "spec.options.nonsense", "database"),
        (json!({"database_password": "mine"}), "spec.options.database_password", "generated"),
    ];
    for (options, field, rest) in cases {
        let mut observed = observed(bundle("blog", WORDPRESS, options));
        observed.peers.insert("mariadb".into(), bundle("mariadb", MARIADB, json!({})));
        let plan = plan(&observed);
        let (reason, message) = first_open(&plan);
        assert_eq!(reason, "ProfileFailed");
        assert!(message.contains(field) && message.contains(rest), "{message}");
        assert!(plan.steps.is_empty() && plan.make.is_none());
    }
}

#[test]
fn a_missing_dependency_says_what_to_install() {
    let mut observed = observed(bundle("blog", WORDPRESS, json!({})));
    let (reason, message) = first_open(&plan(&observed));
    assert_eq!(reason, "ProfileFailed", "whoever installs it is told at once");
    assert!(message.contains("run `nanocloud install mariadb` first"), "{message}");
    // What was prepared once waits for the other to come back.
    let status = json!({"profile": {"image": "i"}});
    observed.bundle.status = serde_json::from_value(status).unwrap();
    assert_eq!(first_open(&plan(&observed)).0, "ProfilePending");
    observed.bundle.status = None;
    observed.peers.insert("mariadb".into(), bundle("mariadb", WORDPRESS, json!({})));
    assert_eq!(first_open(&plan(&observed)).0, "ProfileFailed", "an instance of another service");
    observed.bundle.spec.options.insert("database".into(), "mariadb:db2".into());
    assert!(first_open(&plan(&observed)).1.contains("nanocloud install mariadb --name db2"));
}

#[test]
fn images_that_cannot_be_read_are_told_apart() {
    for (open, reason) in
        [(Open::Pending("later".into()), "ProfilePending"), (Open::Failed("no".into()), "ProfileFailed")]
    {
        let mut observed = observed(bundle("db", MARIADB, json!({})));
        observed.image = Err(open);
        let plan = plan(&observed);
        assert_eq!(first_open(&plan).0, reason);
        assert_eq!(plan.status.observed_generation, None, "an update is not forgotten");
    }
}

#[test]
fn secrets_come_first_and_are_never_made_again() {
    let observed = observed(bundle("mariadb", MARIADB, json!({})));
    let first = plan(&observed);
    assert_eq!(first_open(&first).0, "SecretsPending");
    assert!(first.steps.is_empty());
    let names = first.make.unwrap().certificate.unwrap().names;
    for name in [
        "mariadb",
        "mariadb.default",
        "mariadb.default.svc",
        "mariadb.default.svc.cluster.local",
        "mariadb.nanocloud.local",
        "localhost",
        "127.0.0.1",
    ] {
        assert!(names.iter().any(|found| found == name), "{name}");
    }
    let mut ready = prepared_database();
    let next = plan(&ready);
    assert_eq!(next.make, None);
    assert!(matches!(next.next, Next::After(_)), "it comes back to renew the certificate");
    ready.now += jiff::SignedDuration::from_hours(24 * 300);
    assert!(plan(&ready).make.unwrap().certificate.is_some(), "two thirds of its life are over");
}

#[test]
fn existing_secrets_are_kept_and_new_ones_put_beside_them() {
    let blog = bundle("blog", WORDPRESS, json!({}));
    let mut observed = observed(blog.clone());
    observed.peers.insert("mariadb".into(), prepared("mariadb"));
    observed.surfaces.insert("mariadb".into(), surface(MARIADB));
    let recipes = plan(&observed).make.unwrap().secrets;
    let make = |found: Option<&Secret>| secrets::profile_step(&blog, found, &recipes, &crate::KernelRandom).unwrap();
    let Some(Step::Create { object, .. }) = make(None) else { panic!() };
    let made: Secret = decode(object).unwrap();
    assert_eq!(made.data.as_ref().unwrap()["database_password"].0.len(), 32);
    let Some(Step::Replace { object, .. }) = make(Some(&made)) else { panic!() };
    assert_eq!(decode::<Secret>(object).unwrap().data, made.data);
    observed.profile_secret = Some(made);
    assert_eq!(plan(&observed).make, None);
}

fn prepared(name: &str) -> Bundle {
    let mut peer = bundle(name, MARIADB, json!({}));
    let now = NOW.parse().unwrap();
    peer.status.get_or_insert_default().conditions = conditions(&peer, &Progress::Running, now);
    peer
}

#[test]
fn the_workload_is_locked_down_and_complete() {
    let observed = prepared_database();
    let plan = plan(&observed);
    let set = plan.steps.iter().find_map(|step| match step {
        Step::Create { kind, object, .. } if kind.kind() == "StatefulSet" => Some(object.clone()),
        _ => None,
    });
    let set = set.unwrap();
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
    );
    assert_eq!(container["readinessProbe"]["tcpSocket"]["port"], 3306);
    assert_eq!(container["resources"]["limits"]["memory"], "256Mi");
    assert_eq!(set["spec"]["template"]["metadata"]["annotations"]["nanocloud.io/pids-limit"], "99");
    assert_eq!(pod["volumes"][0]["secret"], json!({"defaultMode": 0o400, "secretName": "mariadb-tls"}));
    assert_eq!(container["volumeMounts"][1]["mountPath"], "/var/run/nanocloud.io/tls");
    let claim = &set["spec"]["volumeClaimTemplates"][0];
    assert_eq!(claim["metadata"]["ownerReferences"][0]["uid"], "mariadb-uid");
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "8Gi");
    assert_eq!(plan.status.endpoints, ["mariadb.default.svc.cluster.local:3306"]);
    assert_eq!(plan.status.profile.unwrap().options["storage"], "8Gi");
}

#[test]
fn an_applied_workload_is_left_alone_and_follows_its_annotations() {
    let mut observed = prepared_database();
    for step in plan(&observed).steps {
        let Step::Create { kind, object, .. } = step else { panic!() };
        let stored = kind.admit(object, None).unwrap().object;
        match kind.kind() {
            "Service" => observed.service = Some(decode(stored).unwrap()),
            "StatefulSet" => observed.set = Some(decode(stored).unwrap()),
            other => panic!("{other}"),
        }
    }
    assert!(plan(&observed).steps.is_empty());
    let annotate = |observed: &mut Observed, name: &str, value: &str| {
        observed.bundle.metadata.annotations.get_or_insert_default().insert(name.into(), value.into());
    };
    annotate(&mut observed, api::names::annotation::RESTARTED_AT, "today");
    let [Step::Replace { object, .. }] = &plan(&observed).steps[..] else { panic!() };
    assert_eq!(object["spec"]["template"]["metadata"]["annotations"]["nanocloud.io/restarted-at"], "today");
}

#[test]
fn a_crash_loop_is_told_with_its_last_lines() {
    let mut observed = prepared_database();
    observed.set = Some(decode(json!({"metadata": {"name": "mariadb", "generation": 2}, "status": {"replicas": 1, "observedGeneration": 2}})).unwrap());
    observed.pod = Some(
        decode(json!({"metadata": {"name": "mariadb-0"}, "status": {"phase": "Running", "containerStatuses": [{
            "name": "mariadb", "image": "i", "imageID": "i", "ready": false, "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            "lastState": {"terminated": {"exitCode": 1, "message": "line one\nline two\n"}}}]}}))
        .unwrap(),
    );
    let (reason, message) = first_open(&plan(&observed));
    assert_eq!(reason, "StartFailed");
    assert_eq!(
        message,
        "CrashLoopBackOff: container mariadb of pod mariadb-0 exited with code 1 (4 restarts); back-off 40s; last lines:\nline one\nline two"
    );
}

#[test]
fn published_ports_come_first_among_the_endpoints() {
    let mut observed = observed(bundle("blog", WORDPRESS, json!({"port": "127.0.0.1:8081"})));
    observed.peers.insert("mariadb".into(), prepared("mariadb"));
    observed.surfaces.insert("mariadb".into(), surface(MARIADB));
    let (_, resolution) = resolve(&observed).unwrap();
    let endpoints = readiness::endpoints(&observed.bundle, &resolution);
    assert_eq!(endpoints, ["http://127.0.0.1:8081", "blog.default.svc.cluster.local:80"]);
}

#[test]
fn volumes_follow_the_bundle_unless_they_are_to_be_kept() {
    let claim = |owned: bool| -> PersistentVolumeClaim {
        let mut claim: PersistentVolumeClaim = decode(json!({"metadata": {"name": "data-mariadb-0"}})).unwrap();
        let owner = controller_reference(&bundle("mariadb", MARIADB, json!({})));
        claim.metadata.owner_references = owned.then(|| vec![owner]);
        claim
    };
    let mut bundle = bundle("mariadb", MARIADB, json!({}));
    assert!(claim_owners(&bundle, &[claim(true)]).is_empty());
    assert_eq!(claim_owners(&bundle, &[claim(false)]).len(), 1, "one that was kept is taken over");
    bundle.metadata.annotations = Some(BTreeMap::from([(api::names::annotation::KEEP_VOLUMES.into(), "true".into())]));
    bundle.metadata.finalizers = Some(vec![BUNDLE_CLEANUP.name().into()]);
    bundle.metadata.deletion_timestamp = Some(api::Time(NOW.parse().unwrap()));
    let steps = finalize(&bundle, &[claim(true)]);
    let [Step::Replace { object: freed, .. }, Step::Replace { object: ended, .. }] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!(freed["metadata"]["ownerReferences"], json!([]));
    assert_eq!(ended["metadata"]["finalizers"], json!([]));
}

#[test]
fn a_status_is_written_once_and_told_by_what_changed() {
    let observed = observed(bundle("blog", WORDPRESS, json!({})));
    let status = plan(&observed).status;
    let steps = status_steps(&observed.bundle, &status);
    let news: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Notify(notice) => Some(notice.reason.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(news, ["ProfileFailed"]);
    let stored = Bundle { status: Some(status), ..observed.bundle.clone() };
    let stored: Bundle = decode(encode(&stored)).unwrap();
    let again = plan(&Observed { bundle: stored.clone(), ..observed });
    assert!(status_steps(&stored, &again.status).is_empty());
}

#[test]
fn a_set_keeps_its_claims_or_is_made_anew() {
    let mut observed = prepared_database();
    let of_set = |plan: Plan| {
        plan.steps.into_iter().find(|step| match step {
            Step::Create { kind, .. } | Step::Replace { kind, .. } | Step::Delete { kind, .. } => {
                kind.kind() == "StatefulSet"
            }
            _ => false,
        })
    };
    let Some(Step::Create { object, .. }) = of_set(plan(&observed)) else { panic!("the set is made") };
    let made: StatefulSet = decode(object.clone()).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut object = encode(&{
            let mut set = made.clone();
            set.apply_defaults();
            set
        });
        change(&mut object["spec"]);
        decode::<StatefulSet>(object).unwrap()
    };
    observed.set = Some(with(&|_| {}));
    assert!(of_set(plan(&observed)).is_none(), "nothing to do");
    // What other versions of the image, or other annotations, would make of the claims does not reach those that exist.
    observed.set = Some(with(&|spec| {
        spec["replicas"] = 7.into();
        spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = "77Gi".into();
    }));
    let Some(Step::Replace { object, kind, .. }) = of_set(plan(&observed)) else { panic!("the set is changed") };
    let before = encode(observed.set.as_ref().unwrap());
    assert_eq!(object["spec"]["volumeClaimTemplates"], before["spec"]["volumeClaimTemplates"]);
    assert!(kind.admit(object, Some(&before)).is_ok(), "the API takes the change");
    observed.set = Some(with(&|spec| spec["volumeClaimTemplates"][0]["metadata"]["name"] = "old".into()));
    assert!(matches!(of_set(plan(&observed)), Some(Step::Delete { .. })), "its pods would have other volumes");
    observed.set.as_mut().unwrap().metadata.deletion_timestamp = Some(api::Time(observed.now));
    assert!(of_set(plan(&observed)).is_none(), "it is waited for");
}
