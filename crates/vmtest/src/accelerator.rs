//! Hardware virtualisation or emulation: only a guest that boots proves the former.

use std::{fmt, fs, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Variable that decides instead of the probe: `kvm` or `tcg`.
pub const VARIABLE: &str = "VMTEST_ACCELERATOR";

/// How the guest's instructions are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// By the processor.
    Kvm,
    /// By the emulator's compiler.
    Tcg,
}

/// What the host says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    /// `/dev/kvm` can be opened for writing.
    pub device: bool,
    /// The processor has vmx or svm.
    pub processor: bool,
    /// The host's module is `kvm_pvm`, which boots no stock kernel.
    pub paravirtual: bool,
}

impl Signs {
    /// Reads them.
    #[must_use]
    pub fn read() -> Self {
        let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flag = |wanted: &str| flags.split_whitespace().any(|word| word == wanted);
        Self {
            device: fs::File::options().read(true).write(true).open("/dev/kvm").is_ok(),
            processor: flag("vmx") || flag("svm"),
            paravirtual: Path::new("/sys/module/kvm_pvm").exists(),
        }
    }

    /// Whether booting a guest is worth a try.
    #[must_use]
    pub fn promising(self) -> bool {
        self.device && self.processor && !self.paravirtual
    }
}

impl Accelerator {
    /// The one to use: `wanted` when it is given, else what the signs promise and `boots` confirms.
    ///
    /// # Errors
    /// When `wanted` is neither `kvm` nor `tcg`.
    pub fn choose(wanted: Option<&str>, signs: Signs, boots: impl FnOnce() -> bool) -> Result<Self> {
        match wanted {
            Some("kvm") => Ok(Self::Kvm),
            Some("tcg") => Ok(Self::Tcg),
            Some(other) => Err(Error::Request(format!("{VARIABLE}={other}: write kvm or tcg"))),
            None if signs.promising() && boots() => Ok(Self::Kvm),
            None => Ok(Self::Tcg),
        }
    }

    /// Stretches a duration that was chosen for hardware virtualisation.
    #[must_use]
    pub fn scale(self, duration: Duration) -> Duration {
        match self {
            Self::Kvm => duration,
            // Measured: 5 to 10 times on an idle host; the rest is for a busy one.
            Self::Tcg => duration * 15,
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// The host's time stamp counter in kHz, for kernels that would measure it wrongly under emulation.
#[must_use]
pub fn tsc_khz() -> Option<u64> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let mhz = text.lines().find_map(|line| line.strip_prefix("cpu MHz"))?.split(':').nth(1)?.trim();
    let (whole, part) = mhz.split_once('.')?;
    let thousandths = format!("{part:0<3}");
    Some(whole.parse::<u64>().ok()? * 1000 + thousandths.get(..3)?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Signs = Signs { device: true, processor: true, paravirtual: false };

    #[test]
    fn only_a_guest_that_boots_proves_hardware() {
        assert_eq!(Accelerator::choose(None, GOOD, || true).unwrap(), Accelerator::Kvm);
        assert_eq!(Accelerator::choose(None, GOOD, || false).unwrap(), Accelerator::Tcg);
        for signs in
            [Signs { device: false, ..GOOD }, Signs { processor: false, ..GOOD }, Signs { paravirtual: true, ..GOOD }]
        {
            let boots = || panic!("nothing may be booted for {signs:?}");
            assert_eq!(Accelerator::choose(None, signs, boots).unwrap(), Accelerator::Tcg);
        }
    }

    #[test]
    fn the_variable_decides_and_nonsense_is_refused() {
        assert_eq!(Accelerator::choose(Some("tcg"), GOOD, || true).unwrap(), Accelerator::Tcg);
        let refused = Accelerator::choose(Some("xen"), GOOD, || true).unwrap_err();
        assert!(refused.to_string().contains("kvm or tcg"), "{refused}");
    }
}
