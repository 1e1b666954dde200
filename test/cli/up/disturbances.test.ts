// A run's own processes, disturbed on purpose: real ones, at the socket where they are.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { openControlSocket, type ControlSocket } from "../../../src/cli/up/control-socket.ts";
import { Disturbances } from "../../../src/cli/up/disturbances.ts";
import type { KeptProcess } from "../../../src/cli/up/kept-process.ts";
import { Supervisor } from "../../../src/cli/up/supervisor.ts";

const GUARD = fileURLToPath(new URL("../../../src/cli/up/guard.ts", import.meta.url));
const waitFor = (check: () => void) => vi.waitFor(check, { timeout: 15_000 });

let dir: string;
let socketPath: string;
let supervisor: Supervisor;
let control: ControlSocket;
let restarts: string[];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "fairlead-disturbances-"));
  socketPath = join(dir, "up.sock");
  restarts = [];
  supervisor = new Supervisor({
    onRestarted: ({ name }) => restarts.push(name),
    // A hold that counted as a failure would end this at once.
    restarts: { countMax: 0, windowMs: 60_000, ceilingMs: { min: 1, max: 1 } },
  });
  control = await openControlSocket(socketPath, new Disturbances(() => supervisor.processes));
});
afterEach(async () => {
  control.close();
  await supervisor.stop();
  rmSync(dir, { recursive: true });
});

/** A process that lives until it is ended. */
async function start(name: string, isGuarded = false): Promise<KeptProcess> {
  const file = join(dir, `${name}.mjs`);
  writeFileSync(file, "setInterval(() => {}, 1e6); process.stdout.write('{\"ready\":true}\\n');");
  const args = isGuarded ? [GUARD, process.execPath, file] : [file];
  const started = supervisor.start({ name, args, env: {}, logFile: join(dir, `${name}.log`) });
  await started.ready;
  return started;
}

function call(method: string, body?: unknown): Promise<{ status: number; body: unknown }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path: "/processes", method }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as unknown }),
      );
    });
    sent.on("error", reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const condition = async (name: string) =>
  ((await call("GET")).body as Record<string, string>)[name];

it("holds a process down for as long as it was told, and no other", async () => {
  const [a, b] = [await start("a"), await start("b")];
  const pids = [a.pid, b.pid];
  const { status, body } = await call("POST", { names: ["a"], do: "kill", forMs: 400 });
  expect({ status, body }).toEqual({ status: 200, body: { a: "held", b: "ready" } });
  await waitFor(() => expect(existsSync(`/proc/${pids[0]}/fd`)).toBe(false));
  expect(restarts).toEqual([]);
  await waitFor(() => expect(restarts).toEqual(["a"]));
  await vi.waitFor(async () => expect(await condition("a")).toBe("ready"));
  expect(a.pid).not.toBe(pids[0]);
  expect(b.pid).toBe(pids[1]);
});

it("keeps it down until it is started where no time was given, asked politely, too", async () => {
  const a = await start("a");
  const { pid } = a;
  await call("POST", { names: ["a"], do: "stop" });
  await waitFor(() => expect(existsSync(`/proc/${pid}/fd`)).toBe(false));
  expect(await condition("a")).toBe("held");
  await call("POST", { names: ["a"], do: "start" });
  await waitFor(() => expect(restarts).toEqual(["a"]));
});

it("freezes a guarded program, and thaws it when the time is over", async () => {
  const a = await start("a", true);
  const state = () => /^State:\s+(\S)/m.exec(readFileSync(`/proc/${a.pid}/status`, "utf8"))![1];
  await call("POST", { names: ["a"], do: "freeze", forMs: 200 });
  expect(await condition("a")).toBe("frozen");
  await waitFor(() => expect(state()).toBe("T"));
  await waitFor(() => expect(state()).not.toBe("T"));
  expect(await condition("a")).toBe("ready");
  expect(restarts).toEqual([]);
});

it("stops with a process held and another frozen", async () => {
  await start("a");
  const b = await start("b", true);
  await call("POST", { names: ["a"], do: "kill" });
  await call("POST", { names: ["b"], do: "freeze" });
  const { pid } = b;
  await supervisor.stop();
  await waitFor(() => expect(existsSync(`/proc/${pid}/fd`)).toBe(false));
});

it.for([
  {
    name: "a name that is not there",
    order: { names: ["a", "c"], do: "kill" },
    says: "there are a",
  },
  { name: "an order that it does not know", order: { names: ["a"], do: "burn" }, says: "kill" },
  { name: "no end within an hour", order: { names: ["a"], do: "kill", forMs: 4e6 }, says: "forMs" },
  { name: "a freeze without a guard", order: { names: ["a"], do: "freeze" }, says: "frozen" },
])("refuses $name and disturbs nothing", async ({ order, says }) => {
  await start("a");
  const { status, body } = await call("POST", order);
  expect(status).toBe(400);
  expect(JSON.stringify(body)).toContain(says);
  expect(await condition("a")).toBe("ready");
});
