//! Pages of a list hold every object once, whatever is written between them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use crate::server::{self, ask};

async fn walk(names: BTreeSet<String>, limit: usize, deleted: BTreeSet<String>) {
    let server = server::start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    for name in &names {
        ask("POST", path).json(&json!({"metadata": {"name": name}})).send(&server).await.expect(201);
    }
    let (mut seen, mut token, mut revision) = (Vec::new(), String::new(), None);
    loop {
        let page = ask("GET", &format!("{path}?limit={limit}&continue={token}")).send(&server).await.expect(200);
        let items = page.body["items"].as_array().unwrap().clone();
        assert!(items.len() <= limit);
        seen.extend(items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()));
        let at = page.version().to_owned();
        assert_eq!(*revision.get_or_insert(at.clone()), at, "all pages are of one revision");
        token = page.body["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
        assert_eq!(page.body["metadata"]["remainingItemCount"], names.len() - seen.len());
        for name in &deleted {
            ask("DELETE", &format!("{path}/{name}")).send(&server).await;
        }
        let late = json!({"metadata": {"generateName": "late-"}});
        ask("POST", path).json(&late).send(&server).await.expect(201);
    }
    assert_eq!(seen, names.into_iter().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn pages_hold_every_object_once(
        names in prop::collection::btree_set("[a-z]([a-z.-]{0,3}[a-z])?", 0..20)
            .prop_map(|names| names.into_iter().filter(|n| !n.contains("..") && !n.contains(".-") && !n.contains("-.")).collect::<BTreeSet<_>>()),
        limit in 1_usize..7,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let deleted = names.iter().step_by(2).cloned().collect();
        runtime.block_on(walk(names, limit, deleted));
    }
}
