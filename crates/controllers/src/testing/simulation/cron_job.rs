//! Random edits of a cron job whose time comes again and again, and what must hold of its jobs.

use api::{
    ObjectKey, decode,
    kinds::{CronJob, Job, job},
    names::annotation::INSTANTIATE,
};
use serde_json::{Value, json};

use super::{
    Simulation,
    workloads::{named, template},
};

/// The cron job; it is called what the pods of its jobs are labelled with.
pub(super) const CRON_JOB: &str = "tick";

impl Simulation {
    /// The cron job is made, changed or deleted, or a job of it is.
    pub(super) async fn edit_cron_job(&mut self) {
        let key = ObjectKey::namespaced("default", CRON_JOB);
        let number = self.random.below(3);
        let Some(mut cron) = self.get::<CronJob>(&key).await else {
            let mut job = json!({"backoffLimit": 1, "template": template(CRON_JOB)});
            job["template"]["spec"]["restartPolicy"] = json!("Never");
            let policy = ["Allow", "Forbid", "Replace"][number];
            let spec = json!({"schedule": "* * * * *", "concurrencyPolicy": policy,
                "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1, "jobTemplate": {"spec": job}});
            return self.create::<CronJob>(named(CRON_JOB, spec)).await;
        };
        match self.random.below(5) {
            // It becomes due.
            0 | 1 => return self.world.advance(60),
            2 => cron["spec"]["suspend"] = json!(number == 0),
            3 => {
                let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": CRON_JOB,
                    "uid": cron["metadata"]["uid"], "controller": true});
                let mut job = named("by-hand", cron["spec"]["jobTemplate"]["spec"].clone());
                job["metadata"]["ownerReferences"] = json!([owner]);
                job["metadata"]["annotations"] = json!({INSTANTIATE: "manual"});
                return self.create::<Job>(job).await;
            }
            _ => return self.world.delete::<CronJob>(&key).await,
        }
        self.replace::<CronJob>(&cron).await;
    }

    /// No more times come.
    pub(super) async fn suspend_cron_job(&self) {
        if let Some(mut cron) = self.get::<CronJob>(&ObjectKey::namespaced("default", CRON_JOB)).await {
            cron["spec"]["suspend"] = json!(true);
            self.replace::<CronJob>(&cron).await;
        }
    }

    /// At no time do two jobs run that must not.
    pub(super) fn check_cron_job(&self) {
        let all = self.world.all::<CronJob>();
        for cron in all.iter().filter(|cron| cron["spec"]["concurrencyPolicy"] == "Forbid") {
            let runs = |job: &Value| {
                let is_own = job["metadata"]["ownerReferences"][0]["uid"] == cron["metadata"]["uid"];
                let by_schedule = job["metadata"]["annotations"][INSTANTIATE].is_null();
                is_own && by_schedule && !job::is_finished(&decode(job.clone()).unwrap())
            };
            let running = self.world.all::<Job>().iter().filter(|job| runs(job)).count();
            assert!(running <= 1, "{running} jobs run though the policy is Forbid");
        }
    }

    /// All jobs have ended, and no more of them are kept than there should be.
    pub(super) fn judge_cron_job(&self, seed: u64) {
        let jobs: Vec<Job> = self.world.all::<Job>().into_iter().map(|job| decode(job).unwrap()).collect();
        let own = jobs
            .iter()
            .filter(|job| job.metadata.owner_references.iter().flatten().any(|owner| owner.kind == "CronJob"));
        let (complete, rest): (Vec<_>, Vec<_>) = own.partition(|found| job::is(found, "Complete"));
        assert!(rest.iter().all(|found| job::is(found, "Failed")), "seed {seed}: {rest:#?}");
        let Some(cron) = self.world.all::<CronJob>().pop() else {
            assert!(complete.is_empty() && rest.is_empty(), "seed {seed}: jobs without their cron job");
            return;
        };
        assert!(complete.len() <= 1 && rest.len() <= 1, "seed {seed}: {} and {} jobs", complete.len(), rest.len());
        assert!(cron["status"]["active"].is_null(), "seed {seed}: {}", cron["status"]);
    }
}
