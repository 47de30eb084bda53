//! A real WordPress bound to a real MariaDB: what `make quickstart` shows.

use std::{fs, path::Path};

use crate::node::Node;

const CIPHER: &str = r#"require "/usr/share/wordpress/wp-load.php"; global $wpdb;
    echo $wpdb->get_row("SHOW STATUS LIKE 'Ssl_cipher'", ARRAY_N)[1];"#;

#[test]
fn wordpress_reaches_mariadb_over_tls_with_credentials_nobody_wrote_down() {
    let mut node = Node::new(151, &["mariadb", "wordpress"]);
    node.start();
    node.ok(&["install", "mariadb"]);
    let words = ["database=mariadb", "database_transport=tls", "title=A page of nanocloud", "port=127.0.0.1:18087"];
    let mut install = vec!["install", "wordpress"];
    words.iter().for_each(|word| install.extend(["--option", word]));
    let printed = node.ok(&install);
    assert!(printed.contains("http://127.0.0.1:18087"), "{printed}");

    let page =
        node.ok(&["exec", "wordpress", "--", "php8.2", "-r", r#"echo file_get_contents("http://127.0.0.1:8080/");"#]);
    assert!(page.contains("<title>A page of nanocloud</title>"), "{page}");
    assert!(published().contains("<title>A page of nanocloud</title>"));
    let cipher = node.ok(&["exec", "wordpress", "--", "php8.2", "-r", CIPHER]);
    assert!(cipher.starts_with("TLS_"), "{cipher}");

    let read = ["exec", "wordpress", "--", "cat", "/var/run/nanocloud.io/secrets/database_password"];
    let password = node.ok(&read);
    assert!(password.len() >= 16);
    let mut found = Vec::new();
    search(&node.state(), password.trim().as_bytes(), &mut found);
    assert_eq!(found, Vec::<String>::new(), "the password is on disk in clear");
    assert!(!node.log().contains(password.trim()));
    for process in node.container_processes() {
        let argv = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        assert!(!contains(&argv, password.trim().as_bytes()), "the password is an argument of process {process}");
    }
    let events = node.ok(&["events", "-o", "json"]);
    assert!(events.contains("BindingCompleted") && !events.contains(password.trim()));
    // Nothing that WordPress needs to find and reach its database goes away with the server.
    node.kill();
    assert!(published().contains("<title>A page of nanocloud</title>"));
    node.finish();
}

#[test]
fn uninstalling_takes_back_what_a_binding_made_where_that_is_possible() {
    let mut node = Node::new(159, &["redis", "diagnostics/visits"]);
    node.start();
    node.ok(&["install", "redis"]);
    let users = ["exec", "redis", "--", "cat", "/var/lib/redis/users.acl"];
    let is_user = |node: &Node| node.ok(&users).contains("user visits ");
    let install = |node: &Node| {
        node.ok(&["install", "diagnostics/visits", "--name", "visits", "--option", "store=redis"]);
        assert!(is_user(node));
    };

    install(&node);
    node.ok(&["uninstall", "visits"]);
    assert!(!is_user(&node), "uninstall ends after the user is gone");
    assert!(node.ok(&["events"]).contains("revoke_user of visits in redis"), "{}", node.ok(&["events"]));

    // A store that is stopped holds nobody up; what is left there is told.
    install(&node);
    node.ok(&["stop", "redis"]);
    node.until("redis has stopped", |node| !node.run(&users).status.success());
    node.ok(&["uninstall", "visits"]);
    assert!(node.ok(&["events"]).contains("BindingNotRevoked"), "{}", node.ok(&["events"]));
    node.finish();
}

/// The page as a visitor gets it.
fn published() -> String {
    let output = std::process::Command::new("curl").args(["-fsS", "http://127.0.0.1:18087/"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn search(folder: &Path, text: &[u8], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            search(&entry.path(), text, found);
        } else if kind.is_file() && contains(&fs::read(entry.path()).unwrap(), text) {
            found.push(entry.path().display().to_string());
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
