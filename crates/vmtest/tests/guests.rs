//! Two tiny guests, really booted: commands, network, cut, disks, reboot, power cut, and nothing left behind.

#![expect(clippy::disallowed_methods, reason = "tests read which accelerator to use")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use vmtest::{Accelerator, Debian, Disk, Guest, Lab, Rule, Spec, VARIABLE, agent::frame::Run, detect};

const LIMIT: Duration = Duration::from_secs(5);

/// Kernels are kept where the rest of the build keeps what outlives a checkout.
fn debian() -> Debian {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".cache"))).expect("HOME is set");
    Debian::new(&base.join("nanocloud/guests"), Path::new(env!("CARGO_BIN_EXE_vmtest-agent")))
}

fn shell(guest: &Guest, script: &str) -> (i32, String) {
    let run = Run { argv: ["sh", "-c", script].map(String::from).into(), env: Vec::new() };
    let output = guest.run(&run, &[], LIMIT).unwrap();
    (output.code, format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

fn two_guests(lab: &Lab, debian: &Debian, folder: &Path) -> [Arc<Guest>; 2] {
    let image = debian.tiny(folder).unwrap();
    let guests = [("one", "10.77.0.3/24"), ("two", "10.77.0.4/24")].map(|(name, address)| {
        let spec = Spec {
            name: name.into(),
            image: image.clone(),
            memory_mib: 128,
            cpus: 1,
            disks: vec![Disk { serial: "data".into(), mib: Some(16), path: None }],
            address: Some(address.into()),
            forwards: Vec::new(),
        };
        lab.add(spec).unwrap()
    });
    std::thread::scope(|scope| {
        for guest in &guests {
            scope.spawn(|| guest.boot().unwrap());
        }
    });
    guests
}

#[test]
fn guests_run_commands_meet_on_the_switch_and_survive_power_cuts() {
    let folder = tempfile::tempdir().unwrap();
    let debian = debian();
    let accelerator = detect(std::env::var(VARIABLE).ok().as_deref(), &debian).unwrap();
    let lab = Lab::new("guests", folder.path(), accelerator).unwrap();
    let [one, two] = two_guests(&lab, &debian, folder.path());

    // Commands: output, codes, standard input, and an end to what takes too long.
    assert_eq!(shell(&one, "echo out; echo err >&2; exit 7"), (7, "out\nerr\n".into()));
    let count = Run { argv: vec!["wc".into(), "-c".into()], env: Vec::new() };
    let counted = one.run(&count, &vec![b'x'; 200_000], LIMIT).unwrap();
    assert_eq!(String::from_utf8_lossy(&counted.stdout).trim(), "200000");
    let sleep = Run { argv: vec!["sleep".into(), "1000".into()], env: Vec::new() };
    let late = one.run(&sleep, &[], Duration::from_millis(20)).unwrap_err();
    assert!(late.to_string().contains("sleep 1000 took longer"), "{late}");
    let missing = Run { argv: vec!["no-such-program".into()], env: Vec::new() };
    assert!(one.run(&missing, &[], LIMIT).unwrap_err().to_string().contains("no-such-program"));
    one.check_clock().unwrap();

    // The network: there, cut, there again.
    let ping = "ping -c 1 -W 2 10.77.0.4 >/dev/null";
    assert_eq!(shell(&one, &format!("{ping} || {ping} || {ping}")).0, 0);
    lab.set_rule("one", "two", Rule { cut: true, ..Rule::default() }).unwrap();
    assert_ne!(shell(&one, ping).0, 0);
    lab.set_rule("one", "two", Rule::default()).unwrap();
    assert_eq!(shell(&one, &format!("{ping} || {ping} || {ping}")).0, 0);

    // What was synced is there after a power cut, on the host's disk too; another boot has another identity.
    let before = one.state().unwrap();
    assert_eq!(shell(&one, "echo marker-on-disk | dd of=/dev/vda conv=fsync 2>/dev/null").0, 0);
    one.power_cut().unwrap();
    assert!(one.state().is_err(), "a guest that is off says nothing");
    let disk = std::fs::read(&one.disks()[0].path).unwrap();
    assert!(disk.starts_with(b"marker-on-disk"));
    assert_ne!(one.boot().unwrap().boot_id, before.boot_id);
    assert_eq!(shell(&one, "head -c 14 /dev/vda"), (0, "marker-on-disk".into()));

    // A reboot from inside gives another boot of the same emulator; what was said before does not confuse it.
    let before = two.state().unwrap();
    let after = two.reboot(&["reboot", "-f"].map(String::from)).unwrap();
    assert_ne!(after.boot_id, before.boot_id);
    assert_eq!(shell(&two, "echo back"), (0, "back\n".into()));

    let result = lab.finish(true, None, &serde_json::Map::new()).unwrap();
    assert_eq!((&result["success"], result["boot_seconds"]["two"].as_array().unwrap().len()), (&true.into(), 2));
    assert!(!one.disks()[0].path.exists(), "disks of a success are removed");
}

#[test]
fn a_guest_that_panics_is_noticed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let debian = debian();
    let lab = Lab::new("panic", folder.path(), Accelerator::Tcg).unwrap();
    let mut image = debian.tiny(folder.path()).unwrap();
    image.append = "vmtest.net=00:00:00:00:00:00,nonsense rdinit=/no-such-init".into();
    let spec = Spec {
        name: "lost".into(),
        image,
        memory_mib: 128,
        cpus: 1,
        disks: Vec::new(),
        address: None,
        forwards: Vec::new(),
    };
    let error = lab.add(spec).unwrap().boot().unwrap_err();
    assert!(matches!(error, vmtest::Error::GuestLost { .. }), "{error}");
    assert!(error.to_string().contains("Kernel panic"), "{error}");
}
