// What an operator sees of decisions that are taken at the edge: as much as of those of a pool's object.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DecisionPage } from "../../src/durable/state.ts";
import { explanationSchema } from "../../src/scheduler/decisions/document.ts";
import { eventually, fairlead, type Fairlead, startFairlead } from "./harness.ts";

/** Few enough at once for there to be credit, and too many a second for all of them to be recorded. */
const REQUESTS = 60;
const CONCURRENCY = 4;

let up: Fairlead;
const dir = mkdtempSync(join(tmpdir(), "fairlead-local-"));
const cli = (...args: string[]) => fairlead([...args, "--state-dir", up.stateDir]);

async function ask(content: string): Promise<string> {
  const { response } = await up.client.chat.completions
    .create({ model: up.model, max_tokens: 1, messages: [{ role: "user", content }] })
    .withResponse();
  return response.headers.get("x-fairlead-request-id")!;
}

/** Asks until a request is decided at the edge, which one that finds an old replica is not, and has ended. */
async function askedLocally() {
  const requestId = await eventually("a request is decided at the edge", async () => {
    // One behind the other, so that the later ones find a replica that is new.
    const ids: string[] = [];
    for (let n = 0; n < 5; n++) ids.push(await ask("Where did I go?"));
    const local = (await allDecisions()).find(({ attempt }) => attempt.decided?.where === "local");
    return local !== undefined && ids.includes(local.requestId) ? local.requestId : undefined;
  });
  return eventually("it has ended", async () => {
    const run = await cli("explain", requestId, "--json");
    if (run.code !== 0) return undefined;
    const last = explanationSchema.parse(JSON.parse(run.stdout)).attempts.at(-1)!;
    return last.result === null ? undefined : { requestId, last, text: run.stdout };
  });
}

async function allDecisions() {
  const all: DecisionPage["decisions"][number][] = [];
  for (let before = ""; ;) {
    const path = `/pools/local/decisions?limit=256${before}`;
    const { decisions, next } = (await up.admin(path)) as DecisionPage;
    all.push(...decisions);
    if (next === null) return all;
    before = `&before=${next}`;
  }
}

beforeAll(async () => {
  up = await startFairlead("--decide", "local");
  await askedLocally();
});
afterAll(async () => {
  await up?.[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});

describe("a pool that is decided on at the edge", () => {
  it("has its decisions explained with all candidates, and taken again to the same choice", async () => {
    const { requestId, last, text } = await askedLocally();
    expect(last.decided).toMatchObject({ where: "local", reason: "forced-local" });
    expect(last.candidates.length).toBeGreaterThan(1);
    expect(last.candidates.every(({ total, isSpared }) => total !== null || isSpared)).toBe(true);
    expect(last.result?.endpoint).toBe(last.chosen[0]);
    const table = (await cli("explain", requestId)).stdout;
    expect(table).toContain("decided at the edge");
    expect(table).toContain("What was seen");
    const file = join(dir, "decision.json");
    writeFileSync(file, text);
    const replay = await fairlead(["replay", file]);
    expect(replay.stdout).toContain("the same choice");
    expect(replay.code).toBe(0);
  });

  it("has all of them in its pages, and what-if compares those that have a record", async () => {
    const ids: string[] = [];
    const { local, bare } = await eventually("some have no record", async () => {
      for (let n = 0; n < REQUESTS; n += CONCURRENCY) {
        const some = Array.from({ length: CONCURRENCY }, (_, i) => ask(`Question ${n + i}`));
        ids.push(...(await Promise.all(some)));
      }
      const decisions = await eventually("all are on record", async () => {
        const told = (await allDecisions()).filter(({ requestId }) => ids.includes(requestId));
        return told.length === ids.length ? told : undefined;
      });
      const alone = decisions.filter(({ attempt }) => attempt.decided?.where === "local");
      const without = alone.filter(({ attempt }) => attempt.candidateCount === 0);
      return without.length > 0 ? { local: alone, bare: without } : undefined;
    });
    expect(local.length).toBeGreaterThan(ids.length / 2);
    expect(bare.length).toBeLessThan(local.length);
    const unrecorded = (await cli("explain", bare[0]!.requestId)).stdout;
    expect(unrecorded).toContain("who else was considered is not on record");
    const config = join(dir, "same.yaml");
    writeFileSync(config, (await cli("config", "get")).stdout);
    const run = await cli("what-if", "--config", config, "--json");
    const { pools } = JSON.parse(run.stdout) as {
      pools: { decisions: number; disagreements: number; unreadable: number; unrecorded: number }[];
    };
    expect(pools[0]).toMatchObject({ unreadable: 0, disagreements: 0 });
    expect(pools[0]!.decisions).toBeGreaterThan(local.length - bare.length);
    expect(pools[0]!.unrecorded).toBeGreaterThanOrEqual(bare.length);
    const text = (await cli("what-if", "--config", config)).stdout;
    expect(text).toMatch(/\d+ decisions? at the edge cannot be compared/);
  });
});
