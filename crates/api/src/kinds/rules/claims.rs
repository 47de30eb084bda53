//! PersistentVolumeClaim.

use super::*;

fn claim() -> Sample {
    let object = json!({"metadata": {"name": "c", "namespace": "d"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    Sample::new("persistentvolumeclaims", object)
}

fn spec(change: Value) -> Value {
    json!({"spec": change})
}

fn storage(amount: &str) -> Value {
    spec(json!({"resources": {"requests": {"storage": amount}}}))
}

#[test]
fn a_claim_says_how_much_and_how() {
    claim().refuses([
        (spec(json!({"accessModes": null})), "spec.accessModes", REQUIRED),
        (spec(json!({"accessModes": []})), "spec.accessModes", REQUIRED),
        (spec(json!({"accessModes": ["Bogus"]})), "spec.accessModes", UNSUPPORTED),
        (spec(json!({"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]})), "spec.accessModes", FORBIDDEN),
        (spec(json!({"resources": null})), "spec.resources[storage]", REQUIRED),
        (storage("0"), "spec.resources[storage]", INVALID),
        (storage("-1"), "spec.resources[storage]", INVALID),
        (storage("much"), "spec.resources[storage]", INVALID),
        (spec(json!({"storageClassName": "A_b"})), "spec.storageClassName", INVALID),
        (spec(json!({"volumeMode": "Block"})), "spec.volumeMode", UNSUPPORTED),
        (spec(json!({"volumeMode": "Bogus"})), "spec.volumeMode", UNSUPPORTED),
        (spec(json!({"volumeName": "pvc-other"})), "spec.volumeName", FORBIDDEN),
        (json!({"status": {"capacity": {"storage": "much"}}}), "status.capacity[storage]", INVALID),
    ]);
    claim().accepts([
        spec(json!({"accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"]})),
        spec(json!({"accessModes": ["ReadWriteOncePod"]})),
        spec(json!({"storageClassName": "encrypted"})),
        spec(json!({"storageClassName": ""})),
        spec(json!({"volumeMode": "Filesystem"})),
        storage("129e6"),
        json!({"metadata": {"name": "x".repeat(253)}}),
    ]);
}

#[test]
fn a_claim_stays_what_its_volume_is() {
    for (after, field) in [
        (spec(json!({"accessModes": ["ReadWriteMany"]})), "spec"),
        (spec(json!({"storageClassName": "encrypted"})), "spec"),
        (spec(json!({"volumeName": "other"})), "spec"),
        (spec(json!({"volumeName": null})), "spec"),
        (spec(json!({"resources": {"limits": {"storage": "5Gi"}}})), "spec"),
        (storage("2Gi"), "spec.resources.requests.storage"),
        (storage("1Mi"), "spec.resources.requests.storage"),
    ] {
        let bound = claim().stored(json!({}));
        let mut named = bound.clone();
        named["spec"]["volumeName"] = "pvc-u".into();
        assert_eq!(claim().admit(named.clone(), Some(&bound)), [], "the volume's name is set once");
        let mut next = named.clone();
        merge(&mut next, &after);
        assert_eq!(claim().admit(next, Some(&named)), [(field.to_owned(), FORBIDDEN)], "{after}");
    }
    for same in [storage("1024Mi"), json!({"metadata": {"labels": {"a": "b"}}}), json!({"status": {"phase": "Bound"}})]
    {
        assert_eq!(claim().update(json!({}), same.clone()), [], "{same}");
    }
}

#[test]
fn a_class_that_is_none_is_told() {
    let warnings = |class: &str| {
        let claim = claim().with(&spec(json!({"storageClassName": class})));
        super::super::find("persistentvolumeclaims").unwrap().admit(claim, None).unwrap().warnings
    };
    assert_eq!(warnings("encrypted"), [""; 0]);
    assert_eq!(warnings(""), [""; 0]);
    // A slip of the pen must not leave data in the open unnoticed.
    let told = warnings("encryptd");
    assert!(
        told.len() == 1 && told[0].contains("spec.storageClassName") && told[0].contains("not encrypted"),
        "{told:?}"
    );
}
