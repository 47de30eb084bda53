//! From a label and wishes to a plan, or to every refusal at once.

use dockyard::{
    Check, Code, Facts, FieldError, Peer, Profile, Protocol, Request, Resolution, SecretRecipe, Surface, Value,
    requirements, resolve,
};
use indexmap::IndexMap;

fn surface(name: &str) -> Surface {
    let path = format!("{}/testdata/ok/{name}.json", env!("CARGO_MANIFEST_DIR"));
    Surface::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn with(options: &[&str]) -> Surface {
    let document = dockyard::LabelDocument {
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Default::default()
    };
    Surface::from_document(document).unwrap()
}

fn map(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn request<'a>(options: &[(&str, &str)]) -> Request<'a> {
    Request {
        bundle: "blog",
        service: "wordpress",
        namespace: "default",
        options: map(options),
        facts: Facts { dns: Some([10, 0, 0, 1].into()), local_ip: Some([192, 168, 0, 7].into()) },
        ..Request::default()
    }
}

fn with_mariadb<'a>(options: &[(&str, &str)]) -> Request<'a> {
    let mut request = request(options);
    let peer =
        Peer { service: "mariadb".to_owned(), surface: surface("database"), options: map(&[("storage", "8Gi")]) };
    request.peers.insert("mariadb".to_owned(), peer.clone());
    request.peers.insert("shop-db".to_owned(), peer);
    request
}

fn refusals(surface: &Surface, request: &Request<'_>) -> Vec<(String, Code)> {
    resolve(surface, request).unwrap_err().into_iter().map(|error| (error.field, error.code)).collect()
}

fn literal(value: &Value) -> &str {
    match value {
        Value::Literal(text) => text,
        Value::SecretRef(name) => panic!("{name} is a secret"),
    }
}

#[test]
fn a_whole_plan() {
    let plan = resolve(&surface("blog"), &with_mariadb(&[("database_transport", "tls")])).unwrap();
    assert_eq!(
        plan.options,
        map(&[
            ("title", "My site"),
            ("resolver", "10.0.0.1"),
            ("address", "192.168.0.7"),
            ("port", "8080"),
            ("database", "mariadb"),
            ("database_transport", "tls"),
            ("database_name", "blog_db"),
            ("scheme", "https"),
            ("cert", "/var/run/nanocloud.io/tls/tls.crt"),
            ("memory", "512Mi"),
        ])
    );
    let secret = &plan.secrets["database_password"];
    assert!(!secret.exists);
    let SecretRecipe::Random { len, charset } = &secret.recipe;
    assert_eq!((*len, charset.alphabet().len()), (32, 62));
    assert_eq!(plan.env["PASSWORD"], Value::SecretRef("database_password".to_owned()));
    assert_eq!(literal(&plan.env["DB_HOST"]), "mariadb.default.svc.cluster.local");
    assert_eq!(literal(&plan.env["DB_PORT"]), "3306");
    assert_eq!(literal(&plan.env["PRICE"]), "5 $");
    assert_eq!(literal(&plan.env["BANG"]), "!x");
    assert_eq!(literal(&plan.env["CA"]), "/var/run/nanocloud.io/tls/ca.crt");
    assert_eq!(plan.ports[0].publish.unwrap().port, 8080);
    assert_eq!((plan.ports[1].protocol, plan.ports[1].publish), (Protocol::Udp, None));
    assert_eq!(plan.readiness.unwrap().check, Check::Http { path: "/".to_owned(), port: 8080 });
    assert_eq!(plan.resources.memory.as_deref(), Some("512Mi"));
    let tls = plan.tls.unwrap();
    assert_eq!(tls.common_name, "blog.default.svc.cluster.local");
    assert!(tls.san.contains(&"blog.nanocloud.local".to_owned()) && tls.san.contains(&tls.common_name));
}

#[test]
fn a_binding_with_its_undo() {
    let plan = resolve(&surface("blog"), &with_mariadb(&[("database", "mariadb:shop-db")])).unwrap();
    assert_eq!((plan.requires[0].service.as_str(), plan.requires[0].bundle.as_str()), ("mariadb", "shop-db"));
    let [binding] = plan.bindings.as_slice() else { panic!("{:?}", plan.bindings) };
    assert_eq!((binding.id.as_str(), binding.name.as_str()), ("create_user", "database-create-user"));
    assert_eq!((binding.target.as_str(), binding.option.as_str()), ("shop-db", "database"));
    assert_eq!(binding.command, "/usr/lib/nanocloud/bindings/create_user");
    let parameters: Vec<&str> = binding.parameters.keys().map(String::as_str).collect();
    assert_eq!(parameters, ["database", "username", "password", "require_tls"]);
    assert_eq!(binding.parameters["password"], Value::SecretRef("database_password".to_owned()));
    assert_eq!(literal(&binding.parameters["require_tls"]), "no");
    let undo = binding.undo.as_ref().unwrap();
    assert_eq!(undo.command, "/usr/lib/nanocloud/bindings/revoke_user");
    assert_eq!(undo.parameters.keys().collect::<Vec<_>>(), ["username"]);
}

#[test]
fn requirements_need_no_peers() {
    let found = requirements(&surface("blog"), &request(&[])).unwrap();
    assert_eq!((found[0].option.as_str(), found[0].bundle.as_str()), ("database", "mariadb"));
    assert!(requirements(&surface("blog"), &request(&[("database", "oracle")])).is_err());
}

#[test]
fn every_refusal_at_once_with_field_and_allowed_values() {
    let errors = resolve(
        &surface("blog"),
        &with_mariadb(&[
            ("colour", "red"),
            ("Title", "x"),
            ("database_transport", "carrier-pigeon"),
            ("port", "http"),
            ("database_password", "hunter2"),
            ("address", "1.2.3.4"),
            ("title", "a\nb"),
        ]),
    )
    .unwrap_err();
    let found: Vec<(&str, Code)> = errors.iter().map(|error| (error.field.as_str(), error.code)).collect();
    assert_eq!(
        found,
        [
            ("spec.options.colour", Code::UnknownField),
            ("spec.options.Title", Code::InvalidKey),
            ("spec.options.title", Code::InvalidValue),
            ("spec.options.address", Code::NotSettable),
            ("spec.options.port", Code::InvalidValue),
            ("spec.options.database_transport", Code::InvalidValue),
            ("spec.options.database_password", Code::NotSettable),
        ]
    );
    assert_eq!(errors[5].allowed, ["plain", "tls"]);
    assert!(errors[0].message.contains("unknown field"));
    assert!(errors[0].allowed.contains(&"database".to_owned()));
    assert!(!errors.iter().map(FieldError::to_string).any(|text| text.contains("hunter2")));
}

#[test]
fn bundles_that_are_missing_or_do_not_fit() {
    let blog = surface("blog");
    let missing = refusals(&blog, &request(&[]));
    assert_eq!(missing, [("spec.options.database".to_owned(), Code::MissingBundle)]);
    let mut wrong = with_mariadb(&[]);
    wrong.peers["mariadb"].service = "redis".to_owned();
    assert_eq!(refusals(&blog, &wrong), [("spec.options.database".to_owned(), Code::IncompatibleBundle)]);
    let mut without_offer = with_mariadb(&[]);
    without_offer.peers["mariadb"].surface = Surface::default();
    assert_eq!(refusals(&blog, &without_offer), [("spec.options.database".to_owned(), Code::IncompatibleBundle)]);
    let itself = refusals(&blog, &with_mariadb(&[("database", "mariadb:blog")]));
    assert_eq!(itself, [("spec.options.database".to_owned(), Code::InvalidValue)]);
}

#[test]
fn dependencies() {
    let surface = with(&["?proxy=<host>", "?proxy_port=3128|<port> *proxy", "?mode=|fast *proxy=a"]);
    assert!(
        resolve(&surface, &request(&[])).unwrap().options.is_empty(),
        "a default without its requirement is absent"
    );
    let given = resolve(&surface, &request(&[("proxy", "b")])).unwrap();
    assert_eq!(given.options, map(&[("proxy", "b"), ("proxy_port", "3128")]));
    let unmet = refusals(&surface, &request(&[("proxy_port", "1")]));
    assert_eq!(unmet, [("spec.options.proxy_port".to_owned(), Code::UnmetRequirement)]);
    let other_value = refusals(&surface, &request(&[("proxy", "b"), ("mode", "fast")]));
    assert_eq!(other_value, [("spec.options.mode".to_owned(), Code::UnmetRequirement)]);
    assert!(resolve(&surface, &request(&[("proxy", "a"), ("mode", "fast")])).is_ok());
}

#[test]
fn required_and_optional() {
    let surface = with(&["name # what to call it", "?nick", "?size=|s|l"]);
    let errors = resolve(&surface, &request(&[])).unwrap_err();
    assert_eq!((errors.len(), errors[0].code), (1, Code::Required));
    assert!(errors[0].message.contains("what to call it"));
    assert_eq!(resolve(&surface, &request(&[("name", "x")])).unwrap().options, map(&[("name", "x")]));
    assert!(resolve(&surface, &request(&[("name", "x"), ("size", "")])).is_err());
}

#[test]
fn facts_are_needed_only_where_they_are_not_optional() {
    let surface = with(&["dns=!dns", "?ip=!local_ip"]);
    let mut request = request(&[]);
    request.facts = Facts::default();
    assert_eq!(refusals(&surface, &request), [("spec.options.dns".to_owned(), Code::MissingFact)]);
}

fn reconciled(surface: &Surface, request: &Request<'_>, first: &Resolution) -> Resolution {
    let profile = Profile { options: first.options.clone(), secrets: first.secrets.keys().cloned().collect() };
    resolve(surface, &Request { profile, ..request.clone() }).unwrap()
}

#[test]
fn a_stored_profile_keeps_the_plan_stable() {
    let blog = surface("blog");
    let request = with_mariadb(&[("database_transport", "tls")]);
    let first = resolve(&blog, &request).unwrap();
    let mut moved = request.clone();
    moved.facts = Facts { dns: Some([9, 9, 9, 9].into()), local_ip: None };
    let again = reconciled(&blog, &moved, &first);
    assert!(again.secrets["database_password"].exists);
    let mut expected = first.clone();
    expected.secrets["database_password"].exists = true;
    assert_eq!(again, expected, "another resolver and address of the host change nothing");
}

#[test]
fn defaults_once_taken_stay_and_choices_win() {
    let first = resolve(&with(&["mode=fast|safe", "url=http://${mode}|<text>"]), &request(&[])).unwrap();
    let newer = with(&["mode=safe|fast", "url=http://${mode}|<text>"]);
    assert_eq!(reconciled(&newer, &request(&[]), &first).options, first.options);
    let chosen = reconciled(&newer, &request(&[("mode", "safe")]), &first);
    assert_eq!(chosen.options, map(&[("mode", "safe"), ("url", "http://safe")]), "values made of others follow them");
    let without_it = with(&["mode=safe|slow"]);
    assert_eq!(reconciled(&without_it, &request(&[]), &first).options, map(&[("mode", "safe")]));
}

#[test]
fn the_dockyards_wordpress_binds_to_its_mariadb() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dockyard");
    let surface = |name: &str| {
        let text = std::fs::read_to_string(format!("{root}/{name}/recipe.toml")).unwrap();
        dockyard::Recipe::parse(&text).unwrap().surface().unwrap()
    };
    let mut request = request(&[("database", "mariadb"), ("database_transport", "tls")]);
    let peer = Peer { service: "mariadb".to_owned(), surface: surface("mariadb"), options: IndexMap::new() };
    request.peers.insert("mariadb".to_owned(), peer);
    let plan = resolve(&surface("wordpress"), &request).unwrap();
    assert_eq!(literal(&plan.bindings[0].parameters["require_tls"]), "yes");
    assert_eq!(literal(&plan.env["WORDPRESS_DATABASE_CA"]), "/var/run/nanocloud.io/tls/ca.crt");
    assert!(plan.tls.is_some());
    assert!(plan.env.values().all(|value| matches!(value, Value::Literal(_))), "secrets reach it as files");
}

#[test]
fn an_image_without_a_label_takes_no_options() {
    let empty = Surface::default();
    assert_eq!(resolve(&empty, &request(&[])).unwrap(), Resolution::default());
    assert_eq!(refusals(&empty, &request(&[("a", "b")]))[0].1, Code::UnknownField);
}
