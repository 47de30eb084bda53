//! A cluster grows while etcd's own client writes to it, and shows it to that client.

use super::{Member, load::Writer};
use crate::node::succeed;

#[test]
fn etcds_client_sees_one_server_become_three() {
    let a = Member::first("a", "127.0.0.1");
    let writer = Writer::start(&[&a], |place, key| place.etcdctl(&["put", key, "x"]));
    writer.goes_on(10);
    let b = Member::join(&a, "b", "127.0.0.2");
    writer.through(&[&a, &b]);
    let c = Member::join(&a, "c", "127.0.0.3");
    c.voters_are(&["a", "b", "c"]);
    writer.through(&[&a, &b, &c]);
    writer.goes_on(10);

    let all = [&a, &b, &c];
    for member in all {
        let listed = succeed(member.etcdctl(&["member", "list"]));
        assert_eq!(listed.matches(", started, ").count(), 3, "{listed}");
        assert!(
            all.iter()
                .all(|other| listed.contains(&format!(", https://{}, https://{}, false", other.peer, other.etcd))),
            "{listed}"
        );
        let status = succeed(member.etcdctl(&["endpoint", "status", "--cluster"]));
        assert_eq!((status.lines().count(), status.matches(", true, false, ").count()), (3, 1), "one leads: {status}");
        let health = member.etcdctl(&["endpoint", "health", "--cluster"]);
        let said = format!("{}{}", String::from_utf8_lossy(&health.stdout), String::from_utf8_lossy(&health.stderr));
        assert_eq!((health.status.success(), said.matches("is healthy").count()), (true, 3), "{said}");
    }
    let listed = succeed(a.etcdctl(&["member", "list"]));
    let successor = listed.lines().find(|line| line.contains(&b.peer)).unwrap().split(',').next().unwrap();
    succeed(a.etcdctl(&["move-leader", successor]));
    writer.goes_on(10);
    assert_eq!(c.leader().as_deref(), Some("b"));

    let written = writer.finish();
    println!("{} acknowledged, slowest {:?}", written.acknowledged.len(), written.longest);
    assert_eq!(written.failed, Vec::<String>::new(), "growing and handing over fails no request");
    for member in all {
        let keys = succeed(member.etcdctl(&["get", "w-", "--prefix", "--keys-only"]));
        let keys: Vec<_> = keys.split_whitespace().collect();
        assert_eq!(keys.len(), written.acknowledged.len());
        assert!(written.acknowledged.iter().all(|key| keys.contains(&key.as_str())));
    }
}
