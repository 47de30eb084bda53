//! Which AppArmor profile a binding command enters, and how that is told.

use std::io;

use runtime::apparmor::Profile;

use crate::config::AppArmor;

/// Name of the profile; its text is `packaging/apparmor/nanocloud-bindings`.
pub const PROFILE: &str = "nanocloud-bindings";

/// What becomes of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Confinement {
    /// The profile to enter.
    pub(super) profile: Option<&'static str>,
    /// Said with the binding's events.
    pub(super) told: String,
}

/// Decides by the setting and what the kernel has; the error says why the command must not run.
pub(super) fn confinement(wanted: AppArmor, found: io::Result<Profile>) -> Result<Confinement, String> {
    if wanted == AppArmor::Disable {
        return Ok(Confinement { profile: None, told: "disabled".into() });
    }
    let problem = match found {
        Ok(Profile::Enforced) => return Ok(Confinement { profile: Some(PROFILE), told: PROFILE.into() }),
        Ok(Profile::Complains) if wanted == AppArmor::Auto => {
            return Ok(Confinement { profile: Some(PROFILE), told: format!("{PROFILE} (complain)") });
        }
        Ok(Profile::Complains) => "only complains".to_owned(),
        Ok(Profile::Missing) => "is not loaded".to_owned(),
        Ok(Profile::NoAppArmor) => "cannot be loaded: the kernel has no AppArmor".to_owned(),
        Err(error) => format!("cannot be looked for: {error}"),
    };
    match wanted {
        AppArmor::Require => Err(format!("binding_apparmor = require, but profile {PROFILE} {problem}")),
        AppArmor::Auto | AppArmor::Disable => {
            Ok(Confinement { profile: None, told: format!("none: {PROFILE} {problem}") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> [io::Result<Profile>; 5] {
        let denied = Err(io::ErrorKind::PermissionDenied.into());
        [Ok(Profile::Enforced), Ok(Profile::Complains), Ok(Profile::Missing), Ok(Profile::NoAppArmor), denied]
    }

    #[test]
    fn a_loaded_profile_is_entered_and_what_is_done_is_told() {
        let auto = states().map(|found| confinement(AppArmor::Auto, found).unwrap());
        let entered = auto.each_ref().map(|confinement| confinement.profile.is_some());
        assert_eq!(entered, [true, true, false, false, false]);
        assert_eq!(auto[0].told, "nanocloud-bindings");
        assert_eq!(auto[2].told, "none: nanocloud-bindings is not loaded");
        assert!(auto[3].told.contains("no AppArmor"), "{}", auto[3].told);
    }

    #[test]
    fn required_means_enforced_or_not_at_all() {
        let required = states().map(|found| confinement(AppArmor::Require, found));
        assert_eq!(required.each_ref().map(Result::is_ok), [true, false, false, false, false]);
        let problem = required[2].as_ref().unwrap_err();
        assert!(problem.contains("binding_apparmor") && problem.contains("is not loaded"), "{problem}");
    }

    #[test]
    fn opting_out_is_told_whatever_the_kernel_has() {
        for found in states() {
            let expected = Confinement { profile: None, told: "disabled".into() };
            assert_eq!(confinement(AppArmor::Disable, found), Ok(expected));
        }
    }
}
