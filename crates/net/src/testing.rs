//! A private "host" for tests: its own network and mount namespaces on a thread of its own.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

use std::{fs, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use rtnetlink::LinkUnspec;

use crate::NetworkConfig;

/// Runs an async test as if on an otherwise empty host: nothing it makes is seen outside, and everything goes away
/// with the thread. Blocking tasks and child processes started by it are inside too.
pub(crate) fn on_private_host<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            let task = tokio::spawn(connection);
            handle.link().set(LinkUnspec::new_with_index(1).up().build()).execute().await.unwrap();
            task.abort();
            test().await;
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A configuration in a directory of the test.
pub(crate) fn config(dir: &std::path::Path, bridge: &str, second: u8) -> NetworkConfig {
    fs::create_dir_all(dir).unwrap();
    NetworkConfig {
        bridge: bridge.into(),
        pod_cidr: format!("10.{second}.0.0/24").parse().unwrap(),
        service_cidr: format!("10.{}.0.0/24", second + 100).parse().unwrap(),
        run_dir: dir.join("run"),
        state_dir: dir.join("state"),
        table: bridge.into(),
        host_ports: Default::default(),
    }
}
