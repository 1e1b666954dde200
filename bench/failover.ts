// What clients see of it when a part of three clusters is lost under load, as `fairlead chaos` counts it:
// a whole cluster is killed, or only its agents, engines or object are cut off, or the directory.
//
//   failed      requests that failed before their first byte: none may
//   ended       answers that ended later, with an error in the stream
//   broken      answers that ended later in any other way: none may
//   avoided     from the act until new requests left the cluster alone
//   used_again  from its return until a request that began afterwards was answered there
//   share       the most that it got in one of the five seconds after that, beside what it had before
//
// It is always the nearest cluster, which has the most to lose.

import { execFile } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FAIRLEAD, start } from "./child.ts";
import type { Measurement } from "./measure.ts";

export const FAILOVER_NAME = "failover";

const CASES = [
  { name: "cluster", args: ["kill", "cluster-1"] },
  { name: "agents", args: ["cut", "agents:cluster-1"] },
  { name: "engines", args: ["cut", "engines:cluster-1"] },
  { name: "object", args: ["cut", "object:cluster-1"] },
  { name: "directory", args: ["cut", "directory"] },
] as const;

type Case = (typeof CASES)[number]["name"];

export interface FailoverBudget {
  readonly cases: readonly Case[];
  readonly ratePerS: number;
  readonly forS: number;
  /** Of each case; a cluster that was killed also takes its time to start. */
  readonly durationS: number;
  readonly killDurationS: number;
  /** Between two cases: a pool that does not stay for 12 s is held back, and each case is to be the first. */
  readonly pauseS: number;
  readonly rttsMs: readonly number[];
}

const BUDGET: FailoverBudget = {
  cases: CASES.map(({ name }) => name),
  ratePerS: 100,
  forS: 3,
  durationS: 12,
  killDurationS: 20,
  pauseS: 6,
  rttsMs: [30, 80, 150],
};

/** The part of a report that is used here. */
interface Report {
  readonly total: {
    readonly requests: number;
    readonly failed: Readonly<Record<string, number>>;
    readonly ended: Readonly<Record<string, number>>;
    readonly broken: Readonly<Record<string, number>>;
  };
  readonly avoidedMs: number | null;
  readonly usedAgainMs: number | null;
  readonly shareBefore: number | null;
  readonly sharesAfter: readonly number[];
}

export async function* measureFailover(
  budget: FailoverBudget = BUDGET,
): AsyncGenerator<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), "bench-failover-"));
  const { rttsMs } = budget;
  const clusters = ["--clusters", `${rttsMs.length}`, "--rtt", rttsMs.join(",")];
  const common = ["--json", "--exit-with-parent", "--port", "0", "--state-dir", dir];
  const up = start(dir, [FAIRLEAD, "up", ...common, ...clusters]);
  try {
    await up.ready;
    const cases = CASES.filter(({ name }) => budget.cases.includes(name));
    for (const [i, { name, args }] of cases.entries()) {
      if (i > 0) await sleep(1_000 * budget.pauseS);
      yield* figures(name, await disturb(dir, name, args, budget));
    }
  } finally {
    await up.stop();
  }
}

async function disturb(
  dir: string,
  name: Case,
  what: readonly string[],
  budget: FailoverBudget,
): Promise<Report> {
  const { forS, ratePerS, durationS, killDurationS } = budget;
  const seconds = name === "cluster" ? killDurationS : durationS;
  const times = ["--for", `${forS}s`, "--duration", `${seconds}s`, "--rate", `${ratePerS}`];
  const args = [FAIRLEAD, "chaos", ...what, ...times, "--json", "--state-dir", dir];
  const text = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, args, { maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      // Status 1 is a report of requests that failed or broke off.
      if (error !== null && error.code !== 1) reject(new Error(`${what.join(" ")}: ${stderr}`));
      else resolve(stdout);
    });
  });
  return (JSON.parse(text.trim().split("\n").at(-1)!) as { report: Report }).report;
}

function* figures(name: Case, report: Report): Generator<Measurement> {
  const figure = (metric: string, value: number, unit: string): Measurement => {
    return {
      bench: FAILOVER_NAME,
      metric: `${name}_${metric}`,
      value,
      unit,
      ratio: null,
      against: null,
    };
  };
  const { total, avoidedMs, usedAgainMs, shareBefore, sharesAfter } = report;
  const sum = (counts: Readonly<Record<string, number>>) =>
    Object.values(counts).reduce((before, count) => before + count, 0);
  yield figure("requests", total.requests, "");
  yield figure("failed", sum(total.failed), "");
  yield figure("ended", sum(total.ended), "");
  yield figure("broken", sum(total.broken), "");
  if (avoidedMs !== null) yield figure("avoided", avoidedMs, "ms");
  if (usedAgainMs !== null) yield figure("used_again", usedAgainMs, "ms");
  if (sharesAfter.length === 0 || shareBefore === null) return;
  const value = Math.max(...sharesAfter);
  const ratio = shareBefore === 0 ? null : value / shareBefore;
  const against = "its share before";
  yield { ...figure("share", value, ""), ratio, against };
}
