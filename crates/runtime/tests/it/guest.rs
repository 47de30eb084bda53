//! The same tests where only cgroup v2 is: in a tiny guest that runs this very program.

use std::path::PathBuf;
use std::time::Duration;

use vmtest::agent::frame::Run;
use vmtest::{Debian, Extra, Lab, Spec};

use crate::host::{EXPECT_CGROUP_V2, Result, example};

/// Limit for all tests, with hardware virtualisation; emulation stretches it.
const LIMIT: Duration = Duration::from_secs(30);
/// What runs in the guest: all that depends on control groups, or on what a process holds on its way into a container.
const CHOSEN: [&str; 6] = ["adoption::", "confinement::", "escapes::", "exec::", "isolation::", "lifecycle::"];
/// Fewer would mean that the choice above no longer finds them.
const CHOSEN_MIN: usize = 40;

/// Gives the tests a root of their own: containers cannot pivot away from the initial memory file system. More layers
/// than fit into mount(2)'s options need Linux 6.8, which the guest's kernel is not.
const SCRIPT: &str = r#"
set -e
mkdir /top
mount -t tmpfs -o size=75%,mode=755 tmpfs /top
cd /top
mkdir proc sys dev run tmp etc var var/tmp
chmod 1777 tmp var/tmp
cp -a /bin /lib /lib64 /test .
for kind in proc:proc sysfs:sys devtmpfs:dev tmpfs:run; do mount -t ${kind%:*} ${kind%:*} ${kind#*:}; done
mkdir -p dev/pts dev/shm
mount -t devpts -o ptmxmode=666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t cgroup2 cgroup2 sys/fs/cgroup
ip link set lo up
mount --move . /
# Hundreds of layers need Linux 6.8, which gives each layer to overlayfs in a call of its own; the guest's kernel is older.
exec chroot . /test/release/deps/it --test-threads 2 --skip hundreds_of_layers "$@"
"#;

fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".cache"))).ok_or("HOME is not set")?;
    Ok(base.join("nanocloud/guests"))
}

#[test]
fn all_holds_where_only_cgroup_v2_is() -> Result {
    let folder = tempfile::tempdir()?;
    let debian = Debian::new(&cache()?, &example("guest_agent"));
    let mut programs = vec![(std::env::current_exe()?, "test/release/deps/it".to_owned())];
    programs.extend(["shim", "shim_watched"].map(|name| (example(name), format!("test/release/examples/{name}"))));
    let image = debian.tiny_with(folder.path(), &Extra { modules: vec!["overlay".to_owned()], programs })?;
    let accelerator = vmtest::detect(std::env::var(vmtest::VARIABLE).ok().as_deref(), &debian)?;
    let lab = Lab::new("cgroup-v2", folder.path(), accelerator)?;
    let guest = lab.add(Spec {
        name: "v2".into(),
        image,
        memory_mib: 768,
        cpus: 2,
        disks: Vec::new(),
        address: None,
        forwards: Vec::new(),
    })?;
    guest.boot()?;
    let argv = ["unshare", "-m", "sh", "-c", SCRIPT, "tests"].into_iter().chain(CHOSEN).map(str::to_owned).collect();
    let env = vec![(EXPECT_CGROUP_V2.to_owned(), "1".to_owned()), ("RUST_BACKTRACE".to_owned(), "0".to_owned())];
    let output = guest.run(&Run { argv, env }, &[], LIMIT)?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.code, 0, "{said}\n{complained}");
    let passed = said.split("test result: ok. ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    assert!(passed.is_some_and(|passed| passed >= CHOSEN_MIN), "{said}");
    lab.finish(true, None, &serde_json::Map::new())?;
    Ok(())
}
