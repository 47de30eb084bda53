//! Server-side apply, as clients see it. The rules themselves are tested beside their code.

use serde_json::{Value, json};
use trust::Subject;

use crate::server::{self, Server, ask};

const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets/db";

fn config(replicas: Option<u32>, image: &str) -> Value {
    let mut config = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "labels": {"app": "db"}},
        "spec": {
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [{"name": "db", "image": image}]},
            },
        },
    });
    if let Some(replicas) = replicas {
        config["spec"]["replicas"] = replicas.into();
    }
    config
}

async fn apply(server: &Server, query: &str, config: &Value, code: u16) -> Value {
    let path = format!("{SETS}?{query}");
    ask("PATCH", &path).typed("application/apply-patch+yaml", config).send(server).await.expect(code).body
}

#[tokio::test]
async fn configs_make_change_and_give_up_fields() {
    let server = server::start().await;
    // Dry: nothing is there afterwards.
    apply(&server, "fieldManager=a&dryRun=All", &config(Some(1), "db:1"), 201).await;
    ask("GET", SETS).send(&server).await.expect(404);
    let made = apply(&server, "fieldManager=a", &config(Some(1), "db:1"), 201).await;
    let again = apply(&server, "fieldManager=a", &config(Some(1), "db:1"), 200).await;
    assert_eq!(
        made["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"],
        "the same config is no write"
    );

    // Whoever changes the object in another way owns what it changed.
    let patch = json!({"spec": {"replicas": 3}});
    let edited = ask("PATCH", &format!("{SETS}?fieldManager=editor")).typed("application/merge-patch+json", &patch);
    edited.send(&server).await.expect(200);
    let refused = apply(&server, "fieldManager=a", &config(Some(1), "db:2"), 409).await;
    assert_eq!(refused["reason"], "Conflict");
    let cause = &refused["details"]["causes"][0];
    assert_eq!((&cause["reason"], &cause["field"]), (&json!("FieldManagerConflict"), &json!(".spec.replicas")));
    assert!(cause["message"].as_str().unwrap().starts_with("conflict with \"editor\" using apps/v1"), "{cause}");

    // Leaving the field to the editor works, and so does taking it.
    let left = apply(&server, "fieldManager=a", &config(None, "db:2"), 200).await;
    assert_eq!((&left["spec"]["replicas"], &left["metadata"]["generation"]), (&json!(3), &json!(3)));
    let taken = apply(&server, "fieldManager=a&force=true", &config(Some(2), "db:2"), 200).await;
    assert_eq!(taken["spec"]["replicas"], 2);
    let managers = taken["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managers.len(), 1, "the editor owns nothing any more: {managers:?}");
    assert_eq!((&managers[0]["manager"], &managers[0]["operation"]), (&json!("a"), &json!("Apply")));

    let mut bare = config(Some(2), "db:2");
    bare["metadata"]["labels"] = Value::Null;
    let bare = apply(&server, "fieldManager=a", &bare, 200).await;
    assert_eq!(bare["metadata"].get("labels"), None);
}

#[tokio::test]
async fn what_cannot_be_applied_is_refused() {
    let server = server::start().await;
    let wish = config(None, "db:1");
    apply(&server, "", &wish, 422).await;
    let mut owned = wish.clone();
    owned["metadata"]["managedFields"] = json!([]);
    apply(&server, "fieldManager=a", &owned, 400).await;
    apply(&server, &format!("fieldManager={}", "x".repeat(129)), &wish, 400).await;
    let forced = ask("PATCH", &format!("{SETS}?force=true")).typed("application/merge-patch+json", &json!({}));
    forced.send(&server).await.expect(400);
    let mut renamed = wish.clone();
    renamed["metadata"]["name"] = "other".into();
    apply(&server, "fieldManager=a", &renamed, 400).await;
    let stranger = ask("PATCH", &format!("{SETS}?fieldManager=a")).by(Subject::authenticated("nobody", []));
    stranger.typed("application/apply-patch+yaml", &wish).send(&server).await.expect(403);
}

#[tokio::test]
async fn status_has_owners_of_its_own() {
    let server = server::start().await;
    apply(&server, "fieldManager=a", &config(Some(1), "db:1"), 201).await;
    let status = json!({"status": {"replicas": 1, "readyReplicas": 1}});
    let wrote = ask("PATCH", &format!("{SETS}/status?fieldManager=c")).typed("application/merge-patch+json", &status);
    let wrote = wrote.send(&server).await.expect(200).body;
    let managers = wrote["metadata"]["managedFields"].as_array().unwrap();
    let status = managers.iter().find(|entry| entry["manager"] == "c").unwrap();
    assert_eq!(status["subresource"], "status");
    assert_eq!(status["fieldsV1"], json!({"f:status": {"f:readyReplicas": {}, "f:replicas": {}}}));
    // The config of the object says nothing about it and takes nothing away.
    let after = apply(&server, "fieldManager=a", &config(Some(2), "db:1"), 200).await;
    assert_eq!(after["status"]["replicas"], 1);
}
