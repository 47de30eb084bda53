use api::decode;
use serde_json::{Value, json};

use super::*;

fn cron(change: Value) -> CronJob {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    let mut spec = json!({"schedule": "*/10 * * * *", "jobTemplate": template});
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let meta = json!({"name": "tick", "namespace": "d", "uid": "u", "creationTimestamp": "2026-01-01T00:05:00Z"});
    let mut cron: CronJob = decode(json!({"metadata": meta, "spec": spec})).unwrap();
    cron.apply_defaults();
    cron
}

/// A cron job with its jobs; what the plan says happens to them.
struct Game {
    cron: CronJob,
    jobs: Vec<Job>,
    events: Vec<String>,
    blocked: Option<Timestamp>,
}

impl Game {
    fn new(cron: CronJob) -> Self {
        Self { cron, jobs: Vec::new(), events: Vec::new(), blocked: None }
    }

    /// Carries the plan of a time out, but not the writes after the first `most`. Answers the jobs that are active, and
    /// when to look again.
    fn at_most(&mut self, now: &str, most: usize) -> (Vec<String>, Next) {
        let now = now.parse().unwrap();
        let (cron, jobs, blocked) = (self.cron.clone(), self.jobs.clone(), self.blocked);
        let Plan { steps, next, blocked } = plan(&Observed { cron, jobs, blocked, now });
        self.blocked = blocked;
        let mut writes = 0;
        for step in steps {
            if let Step::Notify(notice) = step {
                self.events.push(notice.reason);
                continue;
            }
            writes += 1;
            if writes > most {
                break;
            }
            match step {
                Step::Create { object, key, .. } => {
                    let mut job: Job = decode(object).unwrap();
                    job.metadata.uid = Some(format!("uid-{}", key.name));
                    assert!(!self.jobs.iter().any(|known| known.metadata.name == job.metadata.name));
                    self.jobs.push(job);
                }
                Step::Delete { key, .. } => self.jobs.retain(|job| job.metadata.name.as_ref() != Some(&key.name)),
                Step::ReplaceStatus { object, .. } => self.cron = decode(object).unwrap(),
                other => panic!("{other:?}"),
            }
        }
        let active = self.jobs.iter().filter(|job| !job::is_finished(job)).filter_map(|job| job.metadata.name.clone());
        (active.collect(), next)
    }

    fn at(&mut self, now: &str) -> (Vec<String>, Next) {
        self.at_most(now, usize::MAX)
    }

    fn end(&mut self, name: &str, condition: &str, at: &str) {
        let job = self.jobs.iter_mut().find(|job| job.metadata.name.as_deref() == Some(name)).unwrap();
        let mut status = json!({"startTime": at, "conditions": [{"type": condition, "status": "True"}]});
        if condition == "Complete" {
            status["completionTime"] = at.into();
        }
        job.status = serde_json::from_value(status).unwrap();
    }

    fn status(&self) -> CronJobStatus {
        self.cron.status.clone().unwrap()
    }
}

/// Name of the job for a time.
fn name(at: &str) -> String {
    format!("tick-{}", at.parse::<Timestamp>().unwrap().as_second() / 60)
}

#[test]
fn a_job_is_made_when_it_is_due_and_once() {
    let (ten, now) = ("2026-01-01T00:10:00Z", "2026-01-01T00:10:03Z");
    let mut game = Game::new(cron(json!({})));
    assert_eq!(game.at("2026-01-01T00:09:00Z"), (vec![], Next::After(Duration::from_secs(60))));
    assert_eq!(game.at(now), (vec![name(ten)], Next::After(Duration::from_secs(597))));
    assert_eq!(game.status().last_schedule_time, Some(Time(ten.parse().unwrap())));
    assert_eq!(game.at(now).0.len(), 1);
    assert_eq!(game.status().active.unwrap()[0].name.as_deref(), Some(&*name(ten)));
    let meta = &game.jobs[0].metadata;
    assert_eq!(meta.annotations.as_ref().unwrap()[SCHEDULED_AT], ten);
    assert_eq!(meta.labels.as_ref().unwrap()["a"], "b");
    assert_eq!(meta.owner_references.as_ref().unwrap()[0].uid, "u");
    game.end(&name(ten), "Complete", now);
    game.at(now);
    assert_eq!((game.status().active, game.status().last_successful_time), (None, Some(Time(now.parse().unwrap()))));
    assert_eq!(game.events, ["SuccessfulCreate", "SawCompletedJob"]);
}

#[test]
fn a_killed_controller_makes_no_second_job() {
    let now = "2026-01-01T00:10:03Z";
    let mut game = Game::new(cron(json!({})));
    assert_eq!(game.at_most(now, 1).0.len(), 1);
    assert_eq!(game.cron.status, None, "it was killed before it wrote the status");
    assert_eq!(game.at(now).0.len(), 1);
    assert!(game.status().last_schedule_time.is_some());
}

#[test]
fn jobs_that_still_run_are_in_the_way_as_the_policy_says() {
    let (ten, twenty) = ("2026-01-01T00:10:00Z", "2026-01-01T00:20:00Z");
    for (policy, wanted) in
        [("Allow", vec![name(ten), name(twenty)]), ("Forbid", vec![name(ten)]), ("Replace", vec![name(twenty)])]
    {
        let mut game = Game::new(cron(json!({"concurrencyPolicy": policy})));
        game.at(ten);
        assert_eq!(game.at(twenty).0, wanted, "{policy}");
        if policy == "Forbid" {
            let told = |game: &Game| game.events.iter().filter(|event| *event == "JobAlreadyActive").count();
            game.at("2026-01-01T00:20:01Z");
            assert_eq!(told(&game), 1, "an event for each time, not for each pass");
            game.at("2026-01-01T00:30:00Z");
            assert_eq!(told(&game), 2);
            game.end(&name(ten), "Complete", twenty);
            assert_eq!(game.at("2026-01-01T00:31:00Z").0, [name("2026-01-01T00:30:00Z")], "it is made later");
        }
    }
}

#[test]
fn of_missed_times_the_last_is_made_up_for_unless_it_is_too_late() {
    let now = "2026-01-01T00:47:00Z";
    assert_eq!(Game::new(cron(json!({}))).at(now).0, [name("2026-01-01T00:40:00Z")]);
    assert_eq!(Game::new(cron(json!({"startingDeadlineSeconds": 60}))).at(now).0, [""; 0]);
    assert_eq!(Game::new(cron(json!({"startingDeadlineSeconds": 600}))).at(now).0, [name("2026-01-01T00:40:00Z")]);
    let mut late = Game::new(cron(json!({})));
    late.at("2026-01-04T00:00:00Z");
    assert_eq!(late.events, ["TooManyMissedTimes", "SuccessfulCreate"]);
}

#[test]
fn a_suspended_one_makes_nothing() {
    let mut game = Game::new(cron(json!({"suspend": true})));
    assert_eq!(game.at("2026-01-01T00:30:00Z"), (vec![], Next::OnChange));
}

#[test]
fn the_oldest_finished_jobs_are_deleted() {
    let mut game = Game::new(cron(json!({"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1})));
    for minute in [10, 20, 30, 40, 50] {
        let at = format!("2026-01-01T00:{minute}:00Z");
        game.at(&at);
        game.end(&name(&at), if minute < 30 { "Failed" } else { "Complete" }, &at);
    }
    game.at("2026-01-01T00:50:30Z");
    let left: Vec<_> = game.jobs.iter().map(|job| job.metadata.name.clone().unwrap()).collect();
    let wanted = [20, 40, 50].map(|minute| name(&format!("2026-01-01T00:{minute}:00Z")));
    assert_eq!(left, wanted);
}

#[test]
fn jobs_of_persons_and_of_others_do_not_count() {
    let mut game = Game::new(cron(json!({"concurrencyPolicy": "Forbid"})));
    let mut manual = job_at(&game.cron, "2026-01-01T00:00:00Z".parse().unwrap(), &TimeZone::UTC);
    manual.metadata.name = Some("by-hand".into());
    manual.metadata.annotations = Some([(INSTANTIATE.to_owned(), "manual".to_owned())].into());
    game.jobs.push(manual);
    let mut foreign = job_at(&game.cron, "2026-01-01T00:20:00Z".parse().unwrap(), &TimeZone::UTC);
    foreign.metadata.owner_references = None;
    game.jobs.push(foreign);
    assert!(game.at("2026-01-01T00:10:00Z").0.contains(&name("2026-01-01T00:10:00Z")));
    game.end(&name("2026-01-01T00:10:00Z"), "Complete", "2026-01-01T00:11:00Z");
    game.at("2026-01-01T00:20:00Z");
    assert!(game.events.contains(&"FailedCreate".to_owned()));
}
