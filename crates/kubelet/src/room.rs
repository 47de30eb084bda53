//! Room on the disk: images that no container uses go before there is none left.

use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{error::chain, worker::Shared};

/// Time between two looks at the disk.
const EVERY: Duration = Duration::from_secs(60);
/// Least time between two collections, however many pulls fail.
const REST: Duration = Duration::from_secs(5);

/// Whether an error, or one of its causes, is a disk without room.
#[must_use]
pub fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    let mut causes = std::iter::successors(Some(error), |cause| cause.source());
    causes.any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| kinds.contains(&error.kind())))
}

/// Layers of all containers, ended ones too: their pods may start them again.
fn in_use(shared: &Shared) -> BTreeSet<PathBuf> {
    shared.ports.containers.list().into_iter().flat_map(|info| info.layers).collect()
}

/// Looks at the disk from time to time, and at once when a pull found no room, until `stop`.
pub(crate) async fn keep(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
            () = shared.disk_full.notified() => {}
        }
        collect(&shared, &mut *shared.collection.lock().await).await;
        if stop.run_until_cancelled(tokio::time::sleep(REST)).await.is_none() {
            return;
        }
    }
}

/// Images that come one after the other do not fill the disk between two looks: above the high mark, unused ones go
/// before the next is pulled.
pub(crate) async fn before_pull(shared: &Shared) {
    let mut in_vain = shared.collection.lock().await;
    let rests = in_vain.is_some_and(|at| at.elapsed() < REST);
    match shared.ports.images.is_fuller_than(shared.config.images.high_percent) {
        Ok(true) if !rests => collect(shared, &mut in_vain).await,
        Ok(_) => {}
        Err(error) => tracing::warn!(error = chain(error.as_ref()), "how full the disk of the images is, is not known"),
    }
}

/// Removes unused images. Notes when that was in vain.
async fn collect(shared: &Shared, in_vain: &mut Option<Instant>) {
    let marks = shared.config.images;
    *in_vain = Some(Instant::now());
    match shared.ports.images.collect(&in_use(shared), marks).await {
        Ok(room) if room.images > 0 || room.bytes > 0 => {
            let (images, bytes, used) = (room.images, room.bytes, room.used_percent);
            tracing::info!(images, bytes, used_percent = used, "unused images removed");
            *in_vain = None;
        }
        Ok(room) if room.used_percent > marks.high_percent => {
            let used = room.used_percent;
            tracing::warn!(used_percent = used, "the disk is fuller than image_high_percent, and no image is unused");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(error = chain(error.as_ref()), "unused images not removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn a_full_disk_is_seen_behind_other_errors() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let wrapped = Error::Image { image: "i".into(), source: Box::new(Error::file("write", "/x")(full())) };
        assert!(is_full(&full()) && is_full(&wrapped));
        let other = Error::Image { image: "i".into(), source: "no such image".into() };
        assert!(!is_full(&other) && !is_full(&io::Error::from(io::ErrorKind::NotFound)));
    }
}
