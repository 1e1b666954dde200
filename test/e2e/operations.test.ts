// What an operator does with a running deployment, and what it survives.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { parse, stringify } from "yaml";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { profileDocument } from "../scheduler/support/profile-config.ts";
import { explanationSchema } from "../../src/scheduler/decisions/document.ts";
import { eventually, fairlead, startFairlead, type Fairlead } from "./harness.ts";

let up: Fairlead;
const dir = mkdtempSync(join(tmpdir(), "fairlead-operations-"));
beforeAll(async () => {
  up = await startFairlead();
});
afterAll(async () => {
  await up?.[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});

const cli = (...args: string[]) => fairlead([...args, "--state-dir", up.stateDir]);

async function ask(content: string, headers: Record<string, string> = {}) {
  const { response } = await up.client.chat.completions
    .create({ model: up.model, messages: [{ role: "user", content }] }, { headers })
    .withResponse();
  return {
    endpoint: response.headers.get("x-fairlead-endpoint")!,
    requestId: response.headers.get("x-fairlead-request-id")!,
  };
}

interface SimState {
  readonly requests: readonly {
    readonly requestId: string;
    readonly traceId?: string;
    readonly headers: Readonly<Record<string, string>>;
  }[];
}

async function engineSaw(endpoint: string, requestId: string) {
  const response = await fetch(`http://${endpoint}/sim/state`);
  const state = (await response.json()) as SimState;
  return state.requests.find((request) => request.requestId === requestId);
}

describe("fairlead explain", () => {
  it("prints why a request went where it went", async () => {
    const { endpoint, requestId } = await ask("Why here?");
    const { code, stdout, stderr } = await eventually("the outcome is known", async () => {
      const run = await cli("explain", requestId);
      return run.stdout.includes("not been reported yet") ? undefined : run;
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(`Request ${requestId} in pool local`);
    expect(stdout).toContain(`${endpoint} was chosen`);
    expect(stdout).toContain(`${endpoint} answered: ok`);
    for (const origin of up.engines()) expect(stdout).toContain(new URL(origin).host);
    expect(stdout).toContain("What latency-cost-scorer is made of");
    expect(stdout).toMatch(/queue ms +held ms/);
    const widest = Math.max(...stdout.split("\n").map((line) => line.length));
    expect(widest).toBeLessThanOrEqual(110);
  });

  it("prints the same as JSON", async () => {
    const { endpoint, requestId } = await ask("And as JSON?");
    const { stdout } = await cli("explain", requestId, "--json");
    const { attempts } = explanationSchema.parse(JSON.parse(stdout));
    expect(attempts[0]!.chosen[0]).toBe(endpoint);
    expect(attempts[0]!.candidates).toHaveLength(3);
    const [first] = attempts[0]!.candidates;
    expect(Object.keys(first!.scores)).toEqual(["latency-cost-scorer"]);
    expect(first!.terms?.["latency-cost-scorer"]).toMatchObject({ heldMs: 0, adapterMs: 0 });
  });

  it("prints a document that replays to the same choice, and to another with another scheduler", async () => {
    const shared = "A beginning that only one engine will hold. ".repeat(100);
    await ask(`${shared} First.`);
    const { endpoint, requestId } = await eventually("the engine is known to hold it", async () => {
      const again = await ask(`${shared} Again.`);
      const { stdout } = await cli("explain", again.requestId, "--json");
      const [attempt] = explanationSchema.parse(JSON.parse(stdout)).attempts;
      return attempt!.candidates.some(({ matchedBlocks }) => matchedBlocks > 0) ? again : undefined;
    });
    const file = join(dir, "explained.json");
    writeFileSync(file, (await cli("explain", requestId, "--json")).stdout);
    const same = await fairlead(["replay", file]);
    expect(same).toMatchObject({ code: 0, stderr: "" });
    expect(same.stdout).toMatch(/^Attempt \d: the same choice$/m);
    expect(same.stdout).toContain(`replayed  ${endpoint}`);

    const blind = join(dir, "blind.yaml");
    writeFileSync(blind, stringify(profileDocument({ scorers: [{ type: "queue-scorer" }] })));
    const other = await fairlead(["replay", file, "--config", blind, "--json"]);
    expect(other.code).toBe(0);
    const { attempts } = JSON.parse(other.stdout) as {
      attempts: { replayed: { scorers: unknown } }[];
    };
    expect(attempts[0]!.replayed.scorers).toEqual([{ type: "queue-scorer", weight: 1 }]);
  });

  it("says so when the request is unknown, the key is wrong or nobody answers", async () => {
    const unknown = await cli("explain", "fl-00000000-00-aaaaaaaaaaaaaaaaaaaaaaaaaa");
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain("fl-00000000-00");
    const refused = await cli("explain", "x", "--admin-key", "not-the-admin-key");
    expect(refused.stderr).toContain("refused the admin key");
    const nobody = await cli("explain", "x", "--url", "http://127.0.0.1:1", "--admin-key", "k");
    expect(nobody.stderr).toContain("No answer from http://127.0.0.1:1");
    const elsewhere = await cli("explain", "x", "--url", "http://127.0.0.1:1");
    expect(elsewhere.stderr).toContain("No admin key for http://127.0.0.1:1");
  });
});

describe("trace context", () => {
  it("reaches the engine, with our request id", async () => {
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const { endpoint, requestId } = await ask("Trace me.", {
      traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
    });
    const seen = await engineSaw(endpoint, requestId);
    expect(seen?.traceId).toBe(traceId);
    expect(seen?.headers).not.toHaveProperty("authorization");
    expect(Object.keys(seen!.headers).filter((name) => name.startsWith("x-"))).toEqual([
      "x-request-id",
    ]);
  });
});

describe("fairlead config", () => {
  it("adds and removes a key without a restart, and keeps the secrets it does not show", async () => {
    const file = join(dir, "fairlead.yaml");
    const newKey = "sk-added-by-the-test-0123456789";
    const client = new OpenAI({ baseURL: `${up.url}/v1`, apiKey: newKey, maxRetries: 0 });
    const works = () =>
      client.models.list().then(
        () => true,
        () => false,
      );
    expect(await works()).toBe(false);

    const before = await cli("config", "get");
    expect(before.code).toBe(0);
    for (const secret of [up.key, up.adminKey, "relay-"])
      expect(before.stdout).not.toContain(secret);
    const config = parse(before.stdout) as { tenants: { id: string; keys: string[] }[] };
    const changed = { ...config, tenants: [...config.tenants, { id: "new", keys: [newKey] }] };
    writeFileSync(file, stringify(changed));
    expect(await cli("config", "apply", file)).toMatchObject({ code: 0 });
    await eventually("the new key works", async () => ((await works()) ? true : undefined));
    expect((await ask("Still signed with the kept secret?")).endpoint).toMatch(/^127/);

    writeFileSync(file, before.stdout);
    expect(await cli("config", "apply", file)).toMatchObject({ code: 0 });
    await eventually("it no longer does", async () => ((await works()) ? undefined : true));
  });

  it("refuses a file with mistakes, and a version that is no longer the current one", async () => {
    const file = join(dir, "bad.yaml");
    writeFileSync(file, "version: 1\npools: []\ntenants: [{ id: x }]\n");
    const bad = await cli("config", "apply", file);
    expect(bad).toMatchObject({ code: 1, stdout: "" });
    expect(bad.stderr).toContain("tenants[0].keys: ");
    writeFileSync(file, (await cli("config", "get")).stdout);
    const late = await cli("config", "apply", file, "--if-version", "1");
    expect(late.code).toBe(1);
    expect(late.stderr).toMatch(/was not applied: .*version/);
  });
});

describe("an engine that is down", () => {
  it("costs no request", async () => {
    const [down] = up.engines();
    await fetch(`${down}/sim/failures`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify([{ kind: "refuse", delayMs: 600_000 }]),
    });
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) => ask(`Number ${i} goes elsewhere.`)),
    );
    expect(answers.map((answer) => answer.endpoint)).not.toContain(new URL(down!).host);
    expect((await ask("Later, too.")).endpoint).not.toBe(new URL(down!).host);
  });
});
