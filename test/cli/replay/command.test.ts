import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import type { WrittenAttempt } from "../../../src/scheduler/decisions/document.ts";
import { explain } from "../../../src/scheduler/decisions/explain.ts";
import { TestPool } from "../../scheduler/support/pool.ts";
import { profileDocument } from "../../scheduler/support/profile-config.ts";
import { recordPick } from "../../scheduler/support/recorded.ts";

const BIN = fileURLToPath(new URL("../../../src/cli/fairlead.mjs", import.meta.url));
const dir = mkdtempSync(join(tmpdir(), "fairlead-replay-"));
afterAll(() => rmSync(dir, { recursive: true }));

function replay(args: readonly string[], input = "") {
  return spawnSync(process.execPath, [BIN, "replay", ...args], { encoding: "utf8", input });
}

function write(name: string, text: string): string {
  const file = join(dir, name);
  writeFileSync(file, text);
  return file;
}

/** A pool of three whose idle endpoint is chosen: the second has its queue, the third its cache full. */
function createDocument(change: (attempt: WrittenAttempt) => WrittenAttempt = (same) => same) {
  const pool = new TestPool(3);
  pool.sampleAll({ 1: { waiting: 8, kvUsage: 0.1 }, 2: { kvUsage: 0.9 } });
  const { attempts, ...request } = explain("pool-a", [recordPick(pool, "Hello")!])!;
  return JSON.stringify({ ...request, attempts: attempts.map(change) });
}

const QUEUE_BLIND = profileDocument({ scorers: [{ type: "kv-cache-utilization-scorer" }] });

/** As if the code had once chosen the third. */
const chosenOtherwise = () =>
  createDocument((attempt) => ({ ...attempt, chosen: ["10.0.0.2:8000", "10.0.0.0:8000"] }));

// Every test starts processes, on a machine that may be busy.
describe("fairlead replay", { timeout: 30_000 }, () => {
  it("says that a decision is the same today, from a file and from stdin", () => {
    const document = createDocument();
    const fromFile = replay([write("explained.json", document)]);
    expect(fromFile).toMatchObject({ status: 0, stderr: "" });
    expect(fromFile.stdout).toMatch(
      /^Request request-1 in pool pool-a\n\nAttempt 0: the same choice\n {2}recorded {2}10\.0\.0\.0:8000, then .*\n {2}replayed {2}10\.0\.0\.0:8000, then .*\n$/,
    );
    expect(replay(["-"], document)).toMatchObject({ status: 0, stdout: fromFile.stdout });
  });

  it("exits with 1 where the choice is another today, and shows where they part", () => {
    const { status, stdout, stderr } = replay(["-"], chosenOtherwise());
    expect({ status, stderr }).toEqual({ status: 1, stderr: "" });
    expect(stdout).toContain("Attempt 0: another choice\n");
    expect(stdout).toContain("recorded  10.0.0.2:8000, then 10.0.0.0:8000");
    expect(stdout).toMatch(/ 1 {3}1 {2}default\/e0 +6\.00 +6\.00 {2}chosen/);
  });

  it("shows what another configuration would have chosen, and exits with 0", () => {
    const file = write("explained.json", createDocument());
    const scheduler = write("scheduler.yaml", stringify(QUEUE_BLIND));
    const part = write("part.yaml", stringify({ scheduler: QUEUE_BLIND }));
    const whole = write(
      "fairlead.yaml",
      stringify({ version: 1, pools: [{ name: "b" }, { name: "pool-a", scheduler: QUEUE_BLIND }] }),
    );
    for (const config of [scheduler, part, whole]) {
      const { status, stdout } = replay([file, "--config", config]);
      expect(status).toBe(0);
      expect(stdout).toContain("with the other configuration");
      expect(stdout).toMatch(/ 2 +2 {2}default\/e1| 3 +2 {2}default\/e1/);
    }
    const elsewhere = write("elsewhere.yaml", stringify({ pools: [{ name: "b" }] }));
    const unknown = replay([file, "--config", elsewhere]);
    expect(unknown.status).toBe(2);
    expect(unknown.stderr).toContain("has no pool named pool-a");
  });

  it("prints the replay as JSON", () => {
    const { status, stdout } = replay(["-", "--json"], chosenOtherwise());
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      requestId: "request-1",
      pool: "pool-a",
      isSame: false,
      attempts: [
        {
          attempt: 0,
          isSame: false,
          recorded: { chosen: ["10.0.0.2:8000", "10.0.0.0:8000"], dropped: null },
          replayed: { candidates: [{ id: "default/e0", rank: 1 }, {}, {}] },
          notes: [],
        },
      ],
    });
  });

  it.for([
    { name: "a document that was cut", input: createDocument().slice(0, 900), says: "not JSON" },
    { name: "nothing", input: "", says: "not JSON" },
    { name: "an endless one", input: " ".repeat(17 * 1024 * 1024), says: "at most 16 MiB" },
    { name: "another document", input: "{}", says: "stdin cannot be replayed:\n  requestId: " },
    {
      name: "a damaged one",
      input: createDocument().replace('"slot":1', '"slot":-1'),
      says: "attempts[0].candidates[1].slot: ",
    },
  ])("refuses $name with status 2", ({ input, says }) => {
    const { status, stdout, stderr } = replay(["-"], input);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain(says);
    expect(stderr).not.toContain("    at ");
    expect(stderr.split("\n").length).toBeLessThan(16);
  });

  it.for([
    { args: ["missing.json"], says: "Cannot read missing.json: ENOENT" },
    { args: ["-", "--config", "missing.yaml"], says: "Cannot read missing.yaml: ENOENT" },
    { args: ["-", "--config", "-"], says: "Only one file can be stdin" },
    { args: [], says: "FILE is missing." },
  ])("refuses $args with status 2", ({ args, says }) => {
    const { status, stderr } = replay(args, createDocument());
    expect(status).toBe(2);
    expect(stderr).toContain(says);
  });

  it("refuses a configuration with mistakes, by their paths", () => {
    const text = stringify({ plugins: [{ type: "queue-scorre" }] });
    const { status, stderr } = replay(["-", "--config", write("bad.yaml", text)], createDocument());
    expect(status).toBe(2);
    expect(stderr).toContain("plugins[0].type: ");
    const broken = replay(["-", "--config", write("no.yaml", "a: [")], createDocument());
    expect(broken.status).toBe(2);
    expect(broken.stderr).toContain("is not YAML");
  });
});
