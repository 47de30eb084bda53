//! One server becomes three, each of which serves everything.

use std::process::Command;

use super::{Member, Place, free_port, three};
use crate::node::succeed;

/// What kubectl prints, asked at this member as the administrator.
fn kubectl(member: &Place, words: &[&str]) -> String {
    let assets = member.state().join("secure_assets");
    let mut command = Command::new("kubectl");
    command.arg("--server").arg(format!("https://{}", member.listen));
    command.arg("--cache-dir").arg(member.folder.join("kubectl")).env("HOME", &member.folder).env_remove("KUBECONFIG");
    for (flag, file) in
        [("--certificate-authority", "ca.crt"), ("--client-certificate", "admin.pem"), ("--client-key", "admin.pem")]
    {
        command.arg(flag).arg(assets.join(file));
    }
    succeed(command.args(words).output().expect("kubectl is installed (scripts/install-kubectl)"))
}

#[test]
fn three_servers_are_one_cluster() {
    let a = Member::first("a", "127.0.0.1");
    succeed(a.write("k", "alone"));
    let b = Member::join(&a, "b", "127.0.0.2");
    assert_eq!(b.read("k").as_deref(), Some("alone"), "a new member has what was there");
    assert_eq!(a.named(|member| member["role"] == "Learner"), ["b"], "two voters survive no more than one does");
    b.ok(&["member", "promote", "b"]);
    assert_eq!(b.voters(), ["a", "b"]);
    let c = Member::join(&a, "c", "127.0.0.3");
    c.voters_are(&["a", "b", "c"]);

    let all = [&a, &b, &c];
    for round in 0..3 {
        for writer in all {
            let value = format!("{round}-by-{}", writer.name);
            succeed(writer.write("k", &value));
            for reader in all {
                assert_eq!(reader.read("k").as_ref(), Some(&value), "read at {}", reader.name);
            }
        }
    }
    for member in all {
        kubectl(member, &["create", "configmap", &format!("at-{}", member.name), "--from-literal=value=x"]);
        for reader in all {
            let read = kubectl(reader, &["get", "configmap", &format!("at-{}", member.name), "-o", "name"]);
            assert_eq!(read.trim(), format!("configmap/at-{}", member.name));
        }
    }

    for successor in all {
        // Asked of another one than it, and of one that may lead or not.
        a.ok(&["member", "lead", successor.name]);
        for member in all {
            member.until("it knows the leader", |member| member.leader().as_deref() == Some(successor.name));
            let status = member.json(&["member", "status", "-o", "json"]);
            let leader =
                status["items"].as_array().unwrap().iter().find(|item| item["name"] == successor.name).unwrap();
            assert_eq!(status["leader"], leader["id"]);
            assert!(status["status"]["revision"].as_u64().unwrap() > 0, "{status}");
        }
        succeed(a.write("k", successor.name));
    }
    let listed = b.ok(&["member", "list"]);
    assert_eq!(listed.matches("Voter").count(), 3, "{listed}");
    assert!(!b.run(&["member", "remove", "nobody"]).status.success());
}

#[test]
fn one_of_three_refuses_and_two_go_on() {
    let [a, mut b, mut c] = three();
    succeed(a.write("k", "before"));
    c.kill();
    b.kill();
    // A write that was under way is unknown; from then on they are refused.
    a.until("it refuses writes", |member| {
        let said = member.write("k", "alone");
        assert!(!said.status.success(), "one of three cannot know");
        String::from_utf8_lossy(&said.stderr).contains("has no leader right now; nothing was done")
    });
    let read = a.run(&["get", "configmap", "k"]);
    assert!(!read.status.success() && String::from_utf8_lossy(&read.stderr).contains("no leader"), "{read:?}");
    assert_eq!(a.named(|member| member["role"] == "Voter").len(), 3, "who the members are is told by any");
    b.start(None);
    b.serves();
    succeed(a.write("k", "after"));
    assert_eq!(b.read("k").as_deref(), Some("after"));
}

#[test]
fn a_join_word_has_to_be_one() {
    let mut member = Member::new("late", "127.0.0.5", free_port(&["127.0.0.5"]));
    member.start(Some("ncj1.nonsense"));
    assert!(member.ended().contains("join token cannot be read"));
}
