//! Three servers are wiped and made anew from one snapshot.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{Member, Place, three};
use crate::node::succeed;

/// Every key with its value, revisions and lease as of a revision, as etcd's client sees them.
fn everything(member: &Place, revision: u64) -> Value {
    let all = member.etcdctl(&["get", "", "--prefix", "--write-out", "json", "--rev", &revision.to_string()]);
    let answer: Value = serde_json::from_str(&succeed(all)).unwrap();
    answer["kvs"].clone()
}

/// Restores every member from `file`, as the guide says.
fn restore(members: &[Member], file: &Path) {
    let list: Vec<String> = (1..).zip(members).map(|(id, member)| format!("{id}={}", member.peer)).collect();
    for (id, member) in (1..).zip(members) {
        let id = i32::to_string(&id);
        let mut words = vec!["keyspace", "snapshot", "restore", file.to_str().unwrap(), "--id", &id];
        list.iter().for_each(|other| words.extend(["--member", other]));
        member.ok(&words);
    }
}

#[test]
fn three_wiped_servers_are_restored_from_a_snapshot() {
    let mut members = three();
    for member in &members {
        succeed(member.write(&format!("by-{}", member.name), "x"));
    }
    let granted = succeed(members[0].etcdctl(&["lease", "grant", "3600"]));
    let lease = granted.split_whitespace().nth(1).unwrap();
    succeed(members[1].etcdctl(&["put", "leased", "x", "--lease", lease]));
    let backup = tempfile::tempdir().unwrap();
    let file = backup.path().join("snapshot");
    let saved = members[2].json(&["keyspace", "snapshot", "save", file.to_str().unwrap(), "-o", "json"]);
    let revision = saved["revision"].as_u64().unwrap();
    let before = everything(&members[0], revision);
    assert!(before.as_array().unwrap().len() > 4, "{before}");
    succeed(members[0].write("after", "x"));
    let verified = members[0].json(&["keyspace", "snapshot", "verify", file.to_str().unwrap(), "-o", "json"]);
    assert_eq!((&verified["sha256"], &verified["revision"]), (&saved["sha256"], &saved["revision"]));

    let keys = backup.path().join("secure_assets");
    copy(&members[0].state().join("secure_assets"), &keys);
    for member in &mut members {
        member.kill();
        fs::remove_dir_all(member.state()).unwrap();
        copy(&keys, &member.state().join("secure_assets"));
    }
    let damaged = backup.path().join("damaged");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    for words in [["snapshot", "verify"], ["snapshot", "restore"]] {
        let refused = members[0].run(&["keyspace", words[0], words[1], damaged.to_str().unwrap()]);
        assert!(!refused.status.success(), "a flipped bit is found by {words:?}");
    }
    assert!(!members[0].state().join("keyspace").exists(), "nothing is made of a damaged snapshot");
    restore(&members, &file);
    members.iter_mut().for_each(|member| member.start(None));
    for member in &members {
        member.serves();
        member.voters_are(&["a", "b", "c"]);
        assert_eq!(everything(member, revision), before, "at {}", member.name);
        assert_eq!(member.read("after"), None, "it was written after the snapshot");
        let lives = succeed(member.etcdctl(&["lease", "timetolive", lease, "--keys"]));
        assert!(lives.contains("granted with TTL(3600s)") && lives.contains("leased"), "{lives}");
    }
    succeed(members[2].write("anew", "x"));
    assert!(members.iter().all(|member| member.read("anew").is_some()));
}

/// With owners and modes: keys that others may read are refused.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    succeed(Command::new("cp").arg("-a").args([from, to]).output().unwrap());
}
