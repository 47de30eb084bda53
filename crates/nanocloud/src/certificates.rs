//! Renewal of the server's certificates while it runs, long before they expire.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use trust::{AssetsConfig, SecureAssets, tls::ServerCertificate};

/// How often the certificates are checked. They are renewed when a third of their lifetime is left, which is months.
const LOOK_EVERY: Duration = Duration::from_secs(12 * 3600);

/// Renews the certificates when they are about to expire, and serves the new one, until stopped.
///
/// A failed renewal is retried at the next check: there are hundreds of them before the certificate expires.
pub async fn renew(
    config: AssetsConfig,
    shown: Arc<ServerCertificate>,
    clock: fn() -> Timestamp,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(looks.tick()).await.is_some() {
        let (config, now) = (config.clone(), clock());
        // Files are written and synced.
        let done = tokio::task::spawn_blocking(move || SecureAssets::init(&config, now)).await?;
        match done {
            Ok((assets, changes)) => {
                shown.replace(assets.server());
                changes.iter().for_each(|change| tracing::info!(%change, "secure assets"));
            }
            Err(error) => tracing::error!(%error, "the server's certificates cannot be renewed"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_a_year() -> Timestamp {
        Timestamp::now() + jiff::SignedDuration::from_hours(24 * 365)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_runs_for_a_year_shows_a_certificate_that_is_valid() {
        let folder = tempfile::tempdir().unwrap();
        let config = AssetsConfig {
            dir: folder.path().join("assets"),
            server_names: vec!["localhost".into()],
            data_exists: false,
        };
        let (assets, _) = SecureAssets::init(&config, Timestamp::now()).unwrap();
        let shown = ServerCertificate::new(assets.server());
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "stopped and waited for by its owner")]
        let task = tokio::spawn(renew(config.clone(), shown.clone(), in_a_year, stop.clone()));
        let renewed = async {
            loop {
                let stored = SecureAssets::open(&config.dir, Timestamp::now()).unwrap();
                if stored.server().certificate_pem() != assets.server().certificate_pem() {
                    return stored;
                }
                tokio::task::yield_now().await;
            }
        };
        let stored = renewed.await;
        stop.cancel();
        task.await.unwrap().unwrap();
        assert!(!stored.server().info().needs_renewal(in_a_year()));
        assert_eq!(shown.certificate_der(), *stored.server().certificate_der());
    }
}
