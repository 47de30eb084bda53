//! A kind that is defined by a file, used with kubectl.

use std::fs;

use crate::node::Node;

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: crontabs.stable.example.com
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns:
    - {name: Spec, type: string, description: When it runs, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, description: When it runs, pattern: '^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$'}
              image: {type: string, default: busybox}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
          status:
            type: object
            properties: {replicas: {type: integer}}
"#;

fn cron_tab(name: &str, spec: &str) -> String {
    format!("apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

#[test]
fn kubectl_defines_a_kind_and_uses_it() {
    let mut node = Node::new(160, &[]);
    node.start();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let name = "crontabs.stable.example.com";
    node.kubectl(&["apply", "-f", &file("definition.yaml", DEFINITION)]);
    node.kubectl(&["wait", "--for", "condition=Established", "--timeout=60s", &format!("crd/{name}")]);
    assert!(node.kubectl(&["get", "crd"]).contains("CREATED AT"));
    node.kubectl(&["create", "-f", &file("a.yaml", &cron_tab("a", "{cronSpec: '* * * * */5', replicas: 3}"))]);
    let table = node.kubectl(&["get", "ct"]);
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "SPEC", "REPLICAS", "AGE"], "{table}");
    assert_eq!((words[1][0], words[1][6]), ("a", "3"), "{table}");
    assert_eq!(node.kubectl(&["get", "crontab/a", "-o", "jsonpath={.spec.image}"]), "busybox");
    assert!(node.kubectl(&["get", "all"]).contains("crontab.stable.example.com/a"));
    assert!(node.kubectl(&["explain", "crontabs.spec.cronSpec"]).contains("When it runs"));
    assert!(node.kubectl(&["api-resources", "--api-group", "stable.example.com"]).contains("CronTab"));

    node.kubectl(&["patch", "ct", "a", "--type", "merge", "-p", r#"{"spec": {"image": "redis"}}"#]);
    node.kubectl(&["scale", "ct", "a", "--replicas", "5"]);
    let found =
        node.kubectl(&["get", "ct", "a", "-o", "jsonpath={.spec.image} {.spec.replicas} {.metadata.generation}"]);
    assert_eq!(found, "redis 5 3");
    let applied = file("b.yaml", &cron_tab("b", "{cronSpec: '* * * * */5'}"));
    node.kubectl(&["apply", "--server-side", "-f", &applied]);
    node.kubectl(&["apply", "--server-side", "-f", &file("b2.yaml", &cron_tab("b", "{cronSpec: '1 * * * *'}"))]);
    assert_eq!(node.kubectl(&["get", "ct", "b", "-o", "jsonpath={.spec.cronSpec}"]), "1 * * * *");
    // The command line knows it, too.
    let applied = file("d.yaml", &cron_tab("d", "{cronSpec: '* * * * *'}"));
    assert!(node.ok(&["apply", "-f", &applied]).contains("crontabs.stable.example.com/d created"));
    assert!(node.ok(&["get", "ct"]).contains("SPEC"));
    assert!(node.ok(&["delete", "ct/d"]).contains("deleted"));
    for (spec, words) in [
        ("{cronSpec: x}", "spec.cronSpec in body should match"),
        ("{cronSpec: '* * * * *', replicas: 11}", "spec.replicas in body should be less than or equal to 10"),
        ("{cronSpec: '* * * * *', odd: 1}", "unknown field \"spec.odd\""),
        ("{}", "spec.cronSpec: Required value"),
    ] {
        let refused = node.kubectl_refused(&["create", "-f", &file("c.yaml", &cron_tab("c", spec))]);
        assert!(refused.contains(words), "{spec}: {refused}");
    }

    // Objects are read again by the next server.
    node.kill();
    node.start();
    node.kubectl(&["get", "ct", "a"]);
    node.kubectl(&["delete", "ct", "a"]);
    node.kubectl(&["delete", "crd", name]);
    let refused = node.kubectl_refused(&["get", "ct"]);
    assert!(refused.contains("NotFound"), "{refused}");
    // What is defined once more has none of the objects that were there before.
    node.kubectl(&["apply", "-f", &file("definition.yaml", DEFINITION)]);
    node.kubectl(&["wait", "--for", "condition=Established", "--timeout=60s", &format!("crd/{name}")]);
    assert_eq!(node.kubectl(&["get", "ct", "-o", "name"]), "");
    node.finish();
}
