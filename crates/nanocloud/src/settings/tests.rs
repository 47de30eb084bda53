use std::{net::SocketAddr, path::Path, time::Duration};

use kubelet::AppArmor;

use super::*;
use crate::telemetry::LogFormat;

fn resolve(flag: Option<&str>, variables: &[(&str, &str)], file: &str) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, file).unwrap();
    let global = cli::args::Global { config: Some(path), ..Default::default() };
    let server = cli::args::Server { bridge: flag.map(str::to_owned), ..Default::default() };
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Settings::resolve(&Sources::open(&global, &server, &variable)?)
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let file = "bridge = 'file0'\ncgroup = 'file'\nbinding_timeout = '5m'\nrequire_client_certificate = true";
    let variables = [("NANOCLOUD_BRIDGE", "env0"), ("NANOCLOUD_CGROUP", "env")];
    let settings = resolve(Some("flag0"), &variables, file).unwrap();
    assert_eq!((settings.network.bridge.as_str(), settings.cgroup.as_str()), ("flag0", "env"));
    assert_eq!(settings.binding.timeout, Some(Duration::from_secs(300)));
    assert!(settings.require_client_certificate);
    assert_eq!(settings.csi_root, Path::new("/var/lib/nanocloud.io/storage/csi"));
}

/// `nix/tests/settings.nix` writes the same file from the module's options.
#[test]
fn the_file_that_nix_writes_is_understood() {
    let settings = resolve(None, &[], include_str!("../../../../nix/ci/golden/config.toml")).unwrap();
    assert_eq!((settings.listen.port(), settings.node_name.as_str()), (6443, "node01"));
    assert_eq!(settings.csi_root, Path::new("/srv/volumes"));
    assert_eq!(settings.binding.timeout, Some(Duration::from_secs(300)));
    assert_eq!((settings.log.as_str(), settings.log_format), ("info,kubelet=debug", LogFormat::Json));
    assert!(settings.require_client_certificate);
    assert_eq!((settings.binding.uid, settings.binding.gid), (1000, 1001));
    assert_eq!((settings.binding.apparmor, settings.agent), (AppArmor::Require, false));
    assert_eq!(settings.network.pod_host_ports.to_string(), "6443/tcp,123/udp");
    assert_eq!(settings.peer_listen, Some(SocketAddr::from(([0, 0, 0, 0], 6444))));
    assert_eq!(settings.peer_address(), "node01.example.org:6444");
    assert_eq!(
        (settings.api_url(), settings.replica.election_ms),
        ("https://node01.example.org:6443".to_owned(), 2000)
    );
    assert_eq!((settings.replica.keyspace_keep_revisions, settings.replica.keyspace_quota), (1000, 1 << 30));
    assert_eq!(settings.replica.keyspace_keep_age, Some(Duration::from_secs(3600)));
}

#[test]
fn what_is_printed_resolves_to_the_same() {
    let tls = "keyspace = 'etcd=https://a:1,https://b:1'\nkeyspace_ca = '/ca'\nkeyspace_certificate = '/crt'\nkeyspace_key = '/key'";
    for file in ["", include_str!("../../../../nix/ci/golden/config.toml"), tls, "keyspace = 'etcd=http://a:1'"] {
        let settings = resolve(None, &[], file).unwrap();
        let printed = toml::to_string(&settings).unwrap();
        assert_eq!(resolve(None, &[], &printed).unwrap(), settings, "{printed}");
    }
}

#[test]
fn binding_commands_run_as_nobody_by_default() {
    let default = resolve(None, &[], "").unwrap();
    assert_eq!((default.binding.uid, default.binding.gid), (65534, 65534));
    assert_eq!(default.binding.apparmor, AppArmor::Auto);
    let variables = [
        ("NANOCLOUD_BINDING_UID", "1000"),
        ("NANOCLOUD_BINDING_GID", "1001"),
        ("NANOCLOUD_BINDING_APPARMOR", "disable"),
    ];
    let other = resolve(None, &variables, "").unwrap();
    assert_eq!((other.binding.uid, other.binding.gid), (1000, 1001));
    assert_eq!(other.binding.apparmor, AppArmor::Disable);
}

#[test]
fn a_member_tells_others_where_it_is() {
    let settings = resolve(None, &[], "peer_listen = '10.0.0.1:6444'\nlisten = '10.0.0.1:6443'").unwrap();
    assert_eq!(
        (settings.peer_address().as_str(), settings.api_url().as_str()),
        ("10.0.0.1:6444", "https://10.0.0.1:6443")
    );
    let named = "peer_listen = '0.0.0.0:1'\npeer_address = 'a.example:6444'\napi_url = 'https://a.example:443'";
    let settings = resolve(None, &[], named).unwrap();
    assert_eq!(
        (settings.peer_address().as_str(), settings.api_url().as_str()),
        ("a.example:6444", "https://a.example:443")
    );
    assert!(settings.server_names().contains(&"a.example".to_owned()));
    assert_eq!(resolve(None, &[], "").unwrap().peer_address(), "");
}

#[test]
fn the_certificate_is_for_every_address_that_is_listened_on() {
    let settings = resolve(None, &[], "listen = '127.0.0.2:6443'\netcd_listen = '127.0.0.3:2379'").unwrap();
    for address in ["127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"] {
        assert!(settings.server_names().contains(&address.to_owned()), "{address}");
    }
}

#[test]
fn bad_values_and_unknown_names_are_named() {
    for (text, name) in [
        ("bridge = 'far-too-long-name'", "bridge"),
        ("state_root = 'relative'", "state_root"),
        ("service_cidr = '10.88.1.0/24'", "service_cidr"),
        ("pod_cidr = 7", "pod_cidr"),
        ("pod_host_ports = '6443'", "pod_host_ports"),
        ("binding_timeout = '5'", "binding_timeout"),
        ("binding_timeout = '0s'", "binding_timeout"),
        ("keyspace_keep_age = '0s'", "keyspace_keep_age"),
        ("image_low_percent = 90", "image_low_percent"),
        ("agent = 'perhaps'", "agent"),
        ("binding_apparmor = 'off'", "binding_apparmor"),
        ("binding_uid = -1", "binding_uid"),
        ("node = 'A b'", "node"),
        ("log_format = 'xml'", "log_format"),
        ("keyspace = 'elsewhere'", "keyspace"),
        ("keyspace = 'etcd=https://a:1'", "keyspace"),
        ("keyspace = 'etcd=https://a:1'\nkeyspace_ca = '/ca'", "keyspace"),
        ("etcd_listen = '2379'", "etcd_listen"),
        ("peer_listen = 'here'", "peer_listen"),
        ("peer_listen = '0.0.0.0:6444'", "peer_address"),
        ("election_ms = 10", "election_ms"),
        ("keyspace = 'etcd=http://a:1'\npeer_listen = '10.0.0.1:1'", "peer_listen"),
    ] {
        let error = resolve(None, &[], text).unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
    let unknown = resolve(None, &[], "bridgge = 'x'").unwrap_err();
    assert!(unknown.to_string().contains(r#"no setting "bridgge"; did you mean "bridge"?"#), "{unknown}");
    let unlike = resolve(None, &[], "zzz = 'x'").unwrap_err();
    assert!(unlike.to_string().contains("there are agent, api_url"), "{unlike}");
}

#[test]
fn an_error_says_where_the_value_was_given_and_how_to_write_it() {
    let error = |flag, variables: &[(&str, &str)], file| resolve(flag, variables, file).unwrap_err().to_string();
    assert!(error(Some("A"), &[], "").starts_with(r#"bridge = "A" (--bridge) is not usable: "#));
    let variable = error(None, &[("NANOCLOUD_ELECTION_MS", "soon")], "");
    assert!(variable.starts_with(r#"election_ms = "soon" (NANOCLOUD_ELECTION_MS) is not usable: "#), "{variable}");
    assert!(variable.ends_with("; write it like 1000"), "{variable}");
    let file = error(None, &[], "pod_host_ports = '6443'");
    assert!(file.contains("config.toml) is not usable: ") && file.contains("6443/tcp,123/udp"), "{file}");
    let other = error(None, &[], "pod_cidr = '10.96.0.0/12'");
    assert!(other.starts_with(r#"service_cidr = "10.96.0.0/16" (by default) is not usable: "#), "{other}");
}

#[test]
fn a_quoted_number_is_a_number() {
    let settings = resolve(None, &[("NANOCLOUD_AGENT", "false")], "election_ms = '2000'\ncgroup = 5").unwrap();
    assert_eq!((settings.replica.election_ms, settings.cgroup.as_str(), settings.agent), (2000, "5", false));
}

/// What is commented out there is meant to be put to use.
#[test]
fn the_examples_of_the_package_are_understood() {
    let examples = include_str!("../../../../packaging/debian/config.toml");
    let lines = examples.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with(' '));
    let settings = resolve(None, &[], &lines.collect::<Vec<_>>().join("\n")).unwrap();
    assert_eq!(settings.node_name, "node01");
    assert_eq!(Settings { node_name: host_name(), ..settings }, resolve(None, &[], "").unwrap());
}
