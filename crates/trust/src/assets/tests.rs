use std::{fs, os::unix::fs::PermissionsExt};

use tempfile::TempDir;

use super::*;
use crate::envelope::SealContext;

const HERE: SealContext<'static> =
    SealContext { resource: "secrets", namespace: "default", name: "db", key: "password" };

fn at(days: i64) -> Timestamp {
    Timestamp::from_second(EARLIEST_PLAUSIBLE_SECOND + days * 24 * 3600).unwrap()
}

struct Place {
    _root: TempDir,
    config: AssetsConfig,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = AssetsConfig {
            dir: root.path().join("secure_assets"),
            server_names: vec!["localhost".into(), "127.0.0.1".into()],
            data_exists: false,
        };
        Self { _root: root, config }
    }

    fn initialized() -> Self {
        let place = Self::new();
        SecureAssets::init(&place.config, at(0)).unwrap();
        place
    }

    fn in_use(mut self) -> Self {
        self.config.data_exists = true;
        self
    }

    fn path(&self, asset: Asset) -> PathBuf {
        self.config.dir.join(asset.file())
    }

    fn break_file(&self, asset: Asset) {
        fs::write(self.path(asset), "-----BEGIN NONSENSE-----").unwrap();
    }

    fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all: Vec<_> = fs::read_dir(&self.config.dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        all.sort();
        all
    }

    fn init(&self, now: Timestamp) -> Result<Vec<Change>, Error> {
        SecureAssets::init(&self.config, now).map(|(_, changes)| changes)
    }

    fn repair(&self, accept_loss: bool, now: Timestamp) -> Result<(SecureAssets, Vec<Change>), Error> {
        SecureAssets::repair(&self.config, accept_loss, now)
    }
}

#[test]
fn the_first_run_makes_everything_and_the_second_changes_nothing() {
    let place = Place::new();
    let made: Vec<_> = Asset::ALL.map(|asset| Change::Created { asset }).to_vec();
    assert_eq!(place.init(at(0)).unwrap(), made);
    let before = place.contents();
    assert_eq!(place.init(at(1)).unwrap(), []);
    assert_eq!(place.repair(true, at(1)).unwrap().1, []);
    assert_eq!(place.contents(), before);
}

#[test]
fn everything_is_private() {
    let place = Place::initialized();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&place.config.dir), 0o700);
    for (path, _) in place.contents() {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn what_init_made_is_what_open_reads() {
    let place = Place::new();
    let (made, _) = SecureAssets::init(&place.config, at(0)).unwrap();
    let opened = SecureAssets::open(&place.config.dir, at(0)).unwrap();
    assert_eq!(made.ca_pem(), opened.ca_pem());
    assert_eq!(opened.admin().info().subject(), crate::Subject::admin(ADMIN_USER));
    assert!(!opened.server().certificate_pem().contains("PRIVATE"));
    let sealed = made.envelope().seal(b"x", HERE).unwrap();
    assert_eq!(opened.envelope().open(&sealed, HERE).unwrap().as_slice(), b"x");
}

#[test]
fn opening_refuses_what_is_missing_exposed_or_early() {
    let place = Place::new();
    assert!(matches!(SecureAssets::open(&place.config.dir, at(0)), Err(Error::Missing { .. })));
    place.init(at(10)).unwrap();
    assert!(matches!(SecureAssets::open(&place.config.dir, at(0)), Err(Error::ClockBehind { .. })));
    let error = SecureAssets::open(&place.config.dir, at(0)).unwrap_err().to_string();
    assert!(error.starts_with("clock wrong for TLS"), "{error}");
    assert!(matches!(SecureAssets::open(&place.config.dir, at(4000)), Err(Error::AuthorityExpired { .. })));
    fs::set_permissions(&place.config.dir, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(SecureAssets::open(&place.config.dir, at(10)), Err(Error::Exposed { .. })));
}

#[test]
fn nothing_is_made_under_a_clock_that_cannot_be_right() {
    let place = Place::new();
    assert!(matches!(place.init(Timestamp::UNIX_EPOCH), Err(Error::ClockImplausible { .. })));
    assert!(!place.config.dir.exists());
}

#[test]
fn the_server_certificate_follows_its_names_and_its_age() {
    let mut place = Place::initialized();
    place.config.server_names.push("node-1.lan".into());
    let renewed = |asset, reason| Change::Renewed { asset, reason };
    assert_eq!(place.init(at(1)).unwrap(), [renewed(Asset::Server, "it was for other names")]);
    let near_end = "it is near its end";
    let both = [renewed(Asset::Server, near_end), renewed(Asset::Admin, near_end)];
    assert_eq!(place.init(at(300)).unwrap(), both);
    let names = SecureAssets::open(&place.config.dir, at(300)).unwrap().server().info().names.clone();
    assert!(names.contains("node-1.lan") && names.contains("127.0.0.1"), "{names:?}");
}

#[test]
fn init_touches_nothing_that_is_broken() {
    for asset in Asset::ALL {
        let place = Place::initialized();
        place.break_file(asset);
        let before = place.contents();
        match place.init(at(1)) {
            Err(Error::Corrupt { asset: named, .. }) => assert_eq!(named, asset),
            other => panic!("{asset}: {other:?}"),
        }
        assert_eq!(place.contents(), before, "{asset}");
    }
}

#[test]
fn what_can_be_derived_is_repaired_and_named() {
    for asset in [Asset::AuthorityCertificate, Asset::Server, Asset::Admin, Asset::TokenKeys] {
        let place = Place::initialized().in_use();
        place.break_file(asset);
        let (_, changes) = place.repair(false, at(1)).unwrap();
        assert!(matches!(&changes[0], Change::Replaced { asset: named, .. } if *named == asset), "{changes:?}");
        assert!(place.config.dir.join(format!("{}.broken", asset.file())).exists());
        assert_eq!(place.init(at(1)).unwrap(), [], "{asset}");
    }
}

#[test]
fn certificates_outlive_the_loss_of_the_authoritys_certificate() {
    let place = Place::initialized().in_use();
    let admin = fs::read(place.path(Asset::Admin)).unwrap();
    fs::remove_file(place.path(Asset::AuthorityCertificate)).unwrap();
    assert_eq!(place.repair(false, at(1)).unwrap().1, [Change::Created { asset: Asset::AuthorityCertificate }]);
    assert_eq!(fs::read(place.path(Asset::Admin)).unwrap(), admin);
}

#[test]
fn the_loss_of_what_data_depend_on_must_be_accepted_and_is_told() {
    for asset in [Asset::AuthorityKey, Asset::MasterKeys] {
        let place = Place::initialized().in_use();
        fs::remove_file(place.path(asset)).unwrap();
        let before = place.contents();
        for refused in [place.init(at(1)), place.repair(false, at(1)).map(|(_, changes)| changes)] {
            let Err(error @ Error::Irreplaceable { .. }) = refused else { panic!("{refused:?}") };
            assert!(error.to_string().contains(asset.lost_with_it().unwrap()));
        }
        assert_eq!(place.contents(), before);
        let (_, changes) = place.repair(true, at(1)).unwrap();
        let consequence = asset.lost_with_it().unwrap();
        assert!(changes.contains(&Change::Lost { asset, consequence }), "{changes:?}");
        assert_eq!(place.init(at(1)).unwrap(), []);
    }
}

#[test]
fn a_directory_that_is_gone_while_data_exist_is_not_quietly_made_anew() {
    let place = Place::new().in_use();
    assert!(matches!(place.init(at(0)), Err(Error::Irreplaceable { asset: Asset::AuthorityKey, .. })));
}

#[test]
fn an_interrupted_first_run_is_completed() {
    let place = Place::initialized();
    for asset in [Asset::MasterKeys, Asset::Server, Asset::Admin] {
        fs::remove_file(place.path(asset)).unwrap();
    }
    assert_eq!(place.init(at(0)).unwrap().len(), 3);
}

#[test]
fn an_expired_authority_is_recertified_only_with_consent() {
    let place = Place::initialized().in_use();
    assert!(matches!(place.init(at(4000)), Err(Error::AuthorityExpired { .. })));
    assert!(matches!(place.repair(false, at(4000)), Err(Error::AuthorityExpired { .. })));
    let (assets, _) = place.repair(true, at(4000)).unwrap();
    assert!(assets.authority().check_clock(at(4001)).is_ok());
    assert!(!assets.server().info().needs_renewal(at(4000)));
}

#[test]
fn neither_debug_nor_errors_show_keys() {
    let place = Place::new();
    let (assets, _) = SecureAssets::init(&place.config, at(0)).unwrap();
    let shown = format!("{assets:?} {:?} {:?}", assets.server(), assets.authority());
    assert!(!shown.contains("PRIVATE"), "{shown}");
    let text = fs::read_to_string(place.path(Asset::MasterKeys)).unwrap();
    fs::write(place.path(Asset::MasterKeys), text.replace("\"key\": \"", "\"key\": 7, \"x\": \"")).unwrap();
    let error = place.init(at(0)).unwrap_err();
    let secret = text.split("\"key\": \"").nth(1).unwrap().split('"').next().unwrap();
    assert!(!format!("{error} {error:?}").contains(secret));
}
