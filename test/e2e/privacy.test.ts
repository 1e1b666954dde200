// No prompt and no secret in what is written down: logs, metrics, explanations, stored objects.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, fairlead, startFairlead, type Fairlead } from "./harness.ts";

const CANARY = "canary-7d41e8-in-a-prompt";
const WRONG_KEY = "sk-canary-key-that-nobody-has";

let up: Fairlead;
let requestId: string;

beforeAll(async () => {
  up = await startFairlead("--engines", "2", "--engine-arg", "mode=echo");
  // As much as it can write.
  const set = await up.fetch("/admin/v1/settings", {
    method: "PATCH",
    body: '{"requestLog":"all"}',
    headers: { authorization: `Bearer ${up.adminKey}`, "content-type": "application/json" },
  });
  if (set.status !== 200) throw new Error(await set.text());
  const content = `${CANARY} ${"and so on ".repeat(200)}`;
  const messages = [{ role: "user" as const, content }];
  const { response } = await up.client.chat.completions
    .create({ model: up.model, messages })
    .withResponse();
  requestId = response.headers.get("x-fairlead-request-id")!;
  const stream = await up.client.chat.completions.create({
    model: up.model,
    messages,
    stream: true,
  });
  for await (const chunk of stream) if (chunk.object !== "chat.completion.chunk") break;
  const post = (body: string, headers: Record<string, string> = {}) =>
    up.fetch("/v1/chat/completions", {
      method: "POST",
      body,
      headers: { "content-type": "application/json", ...headers },
    });
  await post(`{"model": "${CANARY}", "messages": []}`);
  await post(`{"messages": "${CANARY}`);
  await post(JSON.stringify({ model: up.model, messages }), {
    authorization: `Bearer ${WRONG_KEY}`,
  });
  await up.fetch(`/${CANARY}?x=${CANARY}`);
  // An engine that fails makes relay and Worker write about it.
  for (const origin of up.engines()) {
    await fetch(`${origin}/sim/failures`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify([{ kind: "503" }]),
    });
  }
  await post(JSON.stringify({ model: up.model, messages }));
});
afterAll(() => up?.[Symbol.asyncDispose]());

/** Names of what must not be there. */
function leaksIn(text: string): string[] {
  const keys = JSON.parse(readFileSync(join(up.stateDir, "keys.json"), "utf8")) as object;
  const secrets = { ...keys, wrongKey: WRONG_KEY, prompt: "canary-7d41e8" };
  return Object.entries(secrets)
    .filter(([, secret]) => text.includes(secret))
    .map(([name]) => name);
}

describe("what is written down", () => {
  it("is one log line a request, with neither prompt nor secret", async () => {
    const line = await eventually("the request is logged", () =>
      up
        .logs()
        ["workerd.log"]!.split("\n")
        .find((each) => each.includes(requestId)),
    );
    expect(JSON.parse(line)).toMatchObject({ status: 200, tenant: "default", model: up.model });
    const logs = up.logs();
    expect(Object.keys(logs)).toHaveLength(5);
    expect(logs["relay-local.log"]).toContain(requestId);
    expect(logs["engines-local.log"]).toContain(requestId);
    expect(leaksIn(Object.values(logs).join("\n"))).toEqual([]);
  });

  it("is metrics of every part without them", async () => {
    const admin = { authorization: `Bearer ${up.adminKey}` };
    const ports = Object.values(up.logs())
      .flatMap((log) => [...log.matchAll(/"adminPort":(\d+)/g)])
      .map(([, port]) => `http://127.0.0.1:${port}/metrics`);
    const pages = [
      `${up.url}/metrics`,
      `${up.url}/metrics/pools/local`,
      ...new Set(ports),
      ...up.engines().map((origin) => `${origin}/metrics`),
    ];
    expect(pages.length).toBeGreaterThanOrEqual(6);
    for (const page of pages) {
      const response = await fetch(page, { headers: admin });
      const text = await response.text();
      expect(response.status).toBe(200);
      expect(text).toContain("# TYPE");
      expect(leaksIn(text)).toEqual([]);
    }
  });

  it("is explanations, states and configurations without them", async () => {
    const { stdout } = await fairlead(["explain", requestId, "--json", "--state-dir", up.stateDir]);
    expect(stdout).toContain(requestId);
    expect(leaksIn(stdout)).toEqual([]);
    for (const path of ["/config", "/pools/local", "/settings", "/config/versions"]) {
      expect(leaksIn(JSON.stringify(await up.admin(path)))).toEqual([]);
    }
    for (const origin of up.engines()) {
      expect(leaksIn(await (await fetch(`${origin}/sim/state`)).text())).toEqual([]);
    }
  });

  it("is objects on disk that hold no prompt, and keys only as hashes", () => {
    const storage = join(up.stateDir, "storage");
    const files = readdirSync(storage, { recursive: true, encoding: "utf8" }).filter((name) =>
      /\.sqlite(-wal)?$/.test(name),
    );
    expect(files.length).toBeGreaterThan(0);
    const { key, agentToken } = JSON.parse(
      readFileSync(join(up.stateDir, "keys.json"), "utf8"),
    ) as { key: string; agentToken: string };
    for (const file of files) {
      const bytes = readFileSync(join(storage, file), "latin1");
      for (const text of ["canary-7d41e8", key, agentToken, up.adminKey]) {
        expect(bytes.includes(text)).toBe(false);
      }
    }
  });

  it.runIf(process.platform === "linux")("is no command line with a secret", () => {
    for (const pid of Object.values(up.pids)) {
      expect(leaksIn(readFileSync(`/proc/${pid}/cmdline`, "utf8"))).toEqual([]);
    }
  });
});
