#!/usr/bin/env bash
# When six cron libraries run one schedule.
#
# Versions: the Python packages croniter 7.0.0, cronsim 2.8 and APScheduler 3.11.3 (CronTrigger.from_crontab); the npm
# packages cron-parser 5.10.6, croner 11.0.1 and cron 4.4.0. Seen on 2026-12-01 (Python 3.11, Node 20.20.2).
#
# Surprising: beside a weekday, `*/2` in the day of the month means "and" for cronsim, and "or" for four others; `1-31`
# means "every day" for four, and nothing at all for npm's cron. APScheduler joins the two day fields by "and" always,
# and counts weekdays from Monday, so that `*/2` are other days there and 7 is refused.
# On the night in which clocks go forward, 02:30 runs at 03:00 with four libraries and at 03:30 with two. On the night in
# which they go back, a fixed 02:30 runs twice with croniter and APScheduler and once with the others, while `*/30 2`
# runs in both hours with croner and cronsim too, but not with cron-parser and cron, which still run `0 *` in both.
# Only npm's cron gives up on 29 February when the next one is eight years away.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check croniter==7.0.0 cronsim==2.8 apscheduler==3.11.3
npm install --silent --no-audit --no-fund cron-parser@5.10.6 croner@11.0.1 cron@4.4.0 >/dev/null

cat >table.json <<'JSON'
[
  ["0 0 13 * 5", "UTC", "2026-01-01T00:00:00Z"],
  ["0 0 */2 * 1", "UTC", "2026-01-01T00:00:00Z"],
  ["0 0 1-31 * 1", "UTC", "2026-01-01T00:00:00Z"],
  ["0 0 * * */2", "UTC", "2026-01-01T00:00:00Z"],
  ["0 0 * * 7", "UTC", "2026-01-01T00:00:00Z"],
  ["5/15 * * * *", "UTC", "2026-01-01T00:00:00Z"],
  ["0 22-2 * * *", "UTC", "2026-01-01T00:00:00Z"],
  ["30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z"],
  ["30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"],
  ["*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"],
  ["0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z"],
  ["0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z"]
]
JSON

cat >next.py <<'PYTHON'
import datetime
import json
import zoneinfo

import croniter
import cronsim
from apscheduler.triggers.cron import CronTrigger


def by_croniter(schedule, zone, start):
    times = croniter.croniter(schedule, start.astimezone(zone))
    return [times.get_next(datetime.datetime) for _ in range(3)]


def by_cronsim(schedule, zone, start):
    times = cronsim.CronSim(schedule, start.astimezone(zone))
    return [next(times) for _ in range(3)]


def by_apscheduler(schedule, zone, start):
    trigger, times, before = CronTrigger.from_crontab(schedule, timezone=zone), [], None
    for _ in range(3):
        before = trigger.get_next_fire_time(before, before or start)
        times.append(before)
    return times


LIBRARIES = {"croniter": by_croniter, "cronsim": by_cronsim, "apscheduler": by_apscheduler}
for schedule, zone, start in json.load(open("table.json")):
    for name, times in LIBRARIES.items():
        try:
            found = times(schedule, zoneinfo.ZoneInfo(zone), datetime.datetime.fromisoformat(start.replace("Z", "+00:00")))
            shown = " ".join(time.astimezone(datetime.timezone.utc).strftime("%d.%m.%y/%H:%M") for time in found)
        except (ValueError, cronsim.CronSimError):
            shown = "refused"
        print(schedule, start[:7], name, shown, sep=" | ")
PYTHON

cat >next.mjs <<'NODE'
import fs from "node:fs";
import { CronTime } from "cron";
import { CronExpressionParser } from "cron-parser";
import { Cron } from "croner";

const libraries = {
  "cron-parser": (schedule, tz, start) => {
    const times = CronExpressionParser.parse(schedule, { currentDate: start, tz });
    return [0, 1, 2].map(() => times.next().toDate());
  },
  croner: (schedule, timezone, start) => new Cron(schedule, { timezone }).nextRuns(3, start),
  cron: (schedule, zone, start) => {
    const time = new CronTime(schedule, zone);
    const times = [];
    for (let at = start; times.length < 3; times.push(at)) at = time.getNextDateFrom(at, zone).toJSDate();
    return times;
  },
};
const shown = (at) => {
  const [date, time] = at.toISOString().slice(2, 16).split("T");
  return `${date.split("-").reverse().join(".")}/${time}`;
};
for (const [schedule, zone, start] of JSON.parse(fs.readFileSync("table.json"))) {
  for (const [name, times] of Object.entries(libraries)) {
    let found;
    try {
      found = times(schedule, zone, new Date(start)).map(shown).join(" ");
    } catch {
      found = "refused";
    }
    console.log([schedule, start.slice(0, 7), name, found].join(" | "));
  }
}
NODE
{ venv/bin/python next.py; node next.mjs; } >found

cat >expected <<'TEXT'
0 0 13 * 5 | 2026-01 | croniter | 02.01.26/00:00 09.01.26/00:00 13.01.26/00:00
0 0 13 * 5 | 2026-01 | cronsim | 02.01.26/00:00 09.01.26/00:00 13.01.26/00:00
0 0 13 * 5 | 2026-01 | apscheduler | 13.06.26/00:00 13.02.27/00:00 13.03.27/00:00
0 0 */2 * 1 | 2026-01 | croniter | 03.01.26/00:00 05.01.26/00:00 07.01.26/00:00
0 0 */2 * 1 | 2026-01 | cronsim | 05.01.26/00:00 19.01.26/00:00 09.02.26/00:00
0 0 */2 * 1 | 2026-01 | apscheduler | 13.01.26/00:00 27.01.26/00:00 03.02.26/00:00
0 0 1-31 * 1 | 2026-01 | croniter | 02.01.26/00:00 03.01.26/00:00 04.01.26/00:00
0 0 1-31 * 1 | 2026-01 | cronsim | 02.01.26/00:00 03.01.26/00:00 04.01.26/00:00
0 0 1-31 * 1 | 2026-01 | apscheduler | 06.01.26/00:00 13.01.26/00:00 20.01.26/00:00
0 0 * * */2 | 2026-01 | croniter | 03.01.26/00:00 04.01.26/00:00 06.01.26/00:00
0 0 * * */2 | 2026-01 | cronsim | 03.01.26/00:00 04.01.26/00:00 06.01.26/00:00
0 0 * * */2 | 2026-01 | apscheduler | 02.01.26/00:00 04.01.26/00:00 05.01.26/00:00
0 0 * * 7 | 2026-01 | croniter | 04.01.26/00:00 11.01.26/00:00 18.01.26/00:00
0 0 * * 7 | 2026-01 | cronsim | 04.01.26/00:00 11.01.26/00:00 18.01.26/00:00
0 0 * * 7 | 2026-01 | apscheduler | refused
5/15 * * * * | 2026-01 | croniter | 01.01.26/00:05 01.01.26/00:20 01.01.26/00:35
5/15 * * * * | 2026-01 | cronsim | 01.01.26/00:05 01.01.26/00:20 01.01.26/00:35
5/15 * * * * | 2026-01 | apscheduler | 01.01.26/00:05 01.01.26/00:20 01.01.26/00:35
0 22-2 * * * | 2026-01 | croniter | 01.01.26/01:00 01.01.26/02:00 01.01.26/22:00
0 22-2 * * * | 2026-01 | cronsim | refused
0 22-2 * * * | 2026-01 | apscheduler | refused
30 2 * * * | 2026-03 | croniter | 29.03.26/01:00 30.03.26/00:30 31.03.26/00:30
30 2 * * * | 2026-03 | cronsim | 29.03.26/01:00 30.03.26/00:30 31.03.26/00:30
30 2 * * * | 2026-03 | apscheduler | 29.03.26/01:30 30.03.26/00:30 31.03.26/00:30
30 2 * * * | 2026-10 | croniter | 25.10.26/00:30 25.10.26/01:30 26.10.26/01:30
30 2 * * * | 2026-10 | cronsim | 25.10.26/00:30 26.10.26/01:30 27.10.26/01:30
30 2 * * * | 2026-10 | apscheduler | 25.10.26/00:30 25.10.26/01:30 26.10.26/01:30
*/30 2 * * * | 2026-10 | croniter | 25.10.26/00:00 25.10.26/00:30 25.10.26/01:00
*/30 2 * * * | 2026-10 | cronsim | 25.10.26/00:00 25.10.26/00:30 25.10.26/01:00
*/30 2 * * * | 2026-10 | apscheduler | 25.10.26/00:00 25.10.26/00:30 25.10.26/01:00
0 * * * * | 2026-10 | croniter | 25.10.26/00:00 25.10.26/01:00 25.10.26/02:00
0 * * * * | 2026-10 | cronsim | 25.10.26/00:00 25.10.26/01:00 25.10.26/02:00
0 * * * * | 2026-10 | apscheduler | 25.10.26/00:00 25.10.26/01:00 25.10.26/02:00
0 0 29 2 * | 2096-03 | croniter | 29.02.04/00:00 29.02.08/00:00 29.02.12/00:00
0 0 29 2 * | 2096-03 | cronsim | 29.02.04/00:00 29.02.08/00:00 29.02.12/00:00
0 0 29 2 * | 2096-03 | apscheduler | 29.02.04/00:00 29.02.08/00:00 29.02.12/00:00
0 0 13 * 5 | 2026-01 | cron-parser | 02.01.26/00:00 09.01.26/00:00 13.01.26/00:00
0 0 13 * 5 | 2026-01 | croner | 02.01.26/00:00 09.01.26/00:00 13.01.26/00:00
0 0 13 * 5 | 2026-01 | cron | 02.01.26/00:00 09.01.26/00:00 13.01.26/00:00
0 0 */2 * 1 | 2026-01 | cron-parser | 03.01.26/00:00 05.01.26/00:00 07.01.26/00:00
0 0 */2 * 1 | 2026-01 | croner | 03.01.26/00:00 05.01.26/00:00 07.01.26/00:00
0 0 */2 * 1 | 2026-01 | cron | 03.01.26/00:00 05.01.26/00:00 07.01.26/00:00
0 0 1-31 * 1 | 2026-01 | cron-parser | 02.01.26/00:00 03.01.26/00:00 04.01.26/00:00
0 0 1-31 * 1 | 2026-01 | croner | 02.01.26/00:00 03.01.26/00:00 04.01.26/00:00
0 0 1-31 * 1 | 2026-01 | cron | 05.01.26/00:00 12.01.26/00:00 19.01.26/00:00
0 0 * * */2 | 2026-01 | cron-parser | 03.01.26/00:00 04.01.26/00:00 06.01.26/00:00
0 0 * * */2 | 2026-01 | croner | 03.01.26/00:00 04.01.26/00:00 06.01.26/00:00
0 0 * * */2 | 2026-01 | cron | 03.01.26/00:00 04.01.26/00:00 06.01.26/00:00
0 0 * * 7 | 2026-01 | cron-parser | 04.01.26/00:00 11.01.26/00:00 18.01.26/00:00
0 0 * * 7 | 2026-01 | croner | 04.01.26/00:00 11.01.26/00:00 18.01.26/00:00
0 0 * * 7 | 2026-01 | cron | 04.01.26/00:00 11.01.26/00:00 18.01.26/00:00
5/15 * * * * | 2026-01 | cron-parser | 01.01.26/00:05 01.01.26/00:20 01.01.26/00:35
5/15 * * * * | 2026-01 | croner | refused
5/15 * * * * | 2026-01 | cron | 01.01.26/00:05 01.01.26/00:20 01.01.26/00:35
0 22-2 * * * | 2026-01 | cron-parser | refused
0 22-2 * * * | 2026-01 | croner | refused
0 22-2 * * * | 2026-01 | cron | refused
30 2 * * * | 2026-03 | cron-parser | 29.03.26/01:30 30.03.26/00:30 31.03.26/00:30
30 2 * * * | 2026-03 | croner | 29.03.26/01:00 30.03.26/00:30 31.03.26/00:30
30 2 * * * | 2026-03 | cron | 29.03.26/01:00 30.03.26/00:30 31.03.26/00:30
30 2 * * * | 2026-10 | cron-parser | 25.10.26/00:30 26.10.26/01:30 27.10.26/01:30
30 2 * * * | 2026-10 | croner | 25.10.26/00:30 26.10.26/01:30 27.10.26/01:30
30 2 * * * | 2026-10 | cron | 25.10.26/00:30 26.10.26/01:30 27.10.26/01:30
*/30 2 * * * | 2026-10 | cron-parser | 25.10.26/00:00 25.10.26/00:30 26.10.26/01:00
*/30 2 * * * | 2026-10 | croner | 25.10.26/00:00 25.10.26/00:30 25.10.26/01:00
*/30 2 * * * | 2026-10 | cron | 25.10.26/00:00 25.10.26/00:30 26.10.26/01:00
0 * * * * | 2026-10 | cron-parser | 25.10.26/00:00 25.10.26/01:00 25.10.26/02:00
0 * * * * | 2026-10 | croner | 25.10.26/00:00 25.10.26/01:00 25.10.26/02:00
0 * * * * | 2026-10 | cron | 25.10.26/00:00 25.10.26/01:00 25.10.26/02:00
0 0 29 2 * | 2096-03 | cron-parser | 29.02.04/00:00 29.02.08/00:00 29.02.12/00:00
0 0 29 2 * | 2096-03 | croner | 29.02.04/00:00 29.02.08/00:00 29.02.12/00:00
0 0 29 2 * | 2096-03 | cron | refused
TEXT
if diff expected found; then echo "as seen before"; else echo "they answer otherwise now" >&2; exit 1; fi
