//! A kind that is no Rust type is served as the others are.

use std::borrow::Cow;

use api::{
    Admitted, Behaviour, ColumnDefinition, Facts, FieldError, Kind, Kinds, Names, Scope, Subresource, kinds::Namespace,
};
use jiff::Timestamp;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::server::{self, Watch, ask};

/// Widgets have a size, which must be a number, and nothing else is known about them.
struct Widget;

impl Behaviour for Widget {
    fn admit(&self, mut document: Value, _old: Option<&Value>) -> Result<Admitted, Vec<FieldError>> {
        if !document["spec"]["size"].is_number() {
            return Err(vec![FieldError::required("spec.size", "say how large it is")]);
        }
        document["apiVersion"] = "example.com/v1".into();
        document["kind"] = "Widget".into();
        Ok(Admitted { object: document, unknown: Vec::new(), warnings: Vec::new() })
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![object["metadata"]["name"].clone()]
    }

    fn columns(&self) -> Vec<ColumnDefinition> {
        Kind::of::<Namespace>().columns().into_iter().take(1).collect()
    }

    fn fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        vec![("spec.size".to_owned().into(), object["spec"]["size"].to_string())]
    }

    fn schema(&self, _generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "properties": {"metadata": {"type": "object"}, "spec": {"type": "object"}}})
    }
}

fn widgets() -> Kind {
    let names = Names {
        group: "example.com".to_owned().into(),
        version: "v1".into(),
        kind: "Widget".into(),
        plural: "widgets".into(),
        singular: "widget".into(),
        list_kind: "WidgetList".into(),
        short_names: vec!["wi".into()],
        categories: Vec::new(),
    };
    let facts = Facts { subresources: vec![Subresource::SCALE].into(), ..Facts::new(Scope::Namespaced) };
    Kind::new(names, facts, Widget)
}

#[tokio::test]
async fn a_kind_that_is_made_at_run_time_is_served() {
    let server = server::start_with(Kinds::builtin().with(widgets())).await;
    let all = "/apis/example.com/v1/namespaces/default/widgets";
    let widget = |name: &str, size: Value| json!({"metadata": {"name": name}, "spec": {"size": size, "replicas": 1}});
    let mut watch = Watch::open(&server, &format!("{all}?watch=true")).await;
    ask("POST", all).json(&widget("a", json!(1))).send(&server).await.expect(201);
    ask("POST", all).json(&widget("b", json!(2))).send(&server).await.expect(201);
    assert_eq!(watch.told().await, ("ADDED".to_owned(), "a".to_owned()));
    ask("POST", all).json(&widget("c", json!("large"))).send(&server).await.expect(422);

    let found = ask("GET", &format!("{all}?fieldSelector=spec.size%3D2")).send(&server).await.expect(200);
    assert_eq!(found.body["kind"], "WidgetList");
    assert_eq!(found.body["items"][0]["metadata"]["name"], "b");

    let scale = json!({"spec": {"replicas": 3}});
    let patch = ask("PATCH", &format!("{all}/a/scale")).typed("application/merge-patch+json", &scale);
    assert_eq!(patch.send(&server).await.expect(200).body["spec"]["replicas"], 3);
    ask("GET", &format!("{all}/a/log")).send(&server).await.expect(404);

    let group = ask("GET", "/apis/example.com/v1").send(&server).await.expect(200);
    let names: Vec<_> = group.body["resources"].as_array().unwrap().iter().map(|found| found["name"].clone()).collect();
    assert_eq!(names, ["widgets", "widgets/scale"]);
    let document = ask("GET", "/openapi/v3/apis/example.com/v1").send(&server).await.expect(200);
    assert!(document.body["paths"].get("/apis/example.com/v1/namespaces/{namespace}/widgets/{name}").is_some());
    ask("DELETE", &format!("{all}/a")).send(&server).await.expect(200);

    let other = server::start().await;
    ask("GET", all).send(&other).await.expect(404);
}
