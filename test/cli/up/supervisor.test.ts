import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startProcess, type Exit, type ProcessSpec } from "../../../src/cli/up/child-process.ts";
import { Supervisor } from "../../../src/cli/up/supervisor.ts";

const GUARD = fileURLToPath(new URL("../../../src/cli/up/guard.ts", import.meta.url));

let dir: string;
let supervisor: Supervisor;
let restarted: { name: string; pid: number; exit: Exit }[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "supervisor-test-"));
  restarted = [];
  supervisor = new Supervisor({
    onRestarted: ({ name, pid }, exit) => restarted.push({ name, pid, exit }),
    restarts: { countMax: 2, windowMs: 60_000, ceilingMs: { min: 1, max: 1 } },
  });
});
afterEach(async () => {
  await supervisor.stop();
  rmSync(dir, { recursive: true });
});

/** A process that runs `source` after it has said that it is ready. */
function script(name: string, source: string, env: Record<string, string> = {}): ProcessSpec {
  const file = join(dir, `${name}.mjs`);
  writeFileSync(file, `${source}\nprocess.stdout.write('{"ready":true,"port":7}\\n');`);
  return { name, args: [file], env, logFile: join(dir, `${name}.log`) };
}

function guarded(program: string, ...args: string[]): ProcessSpec {
  return { name: "guarded", args: [GUARD, program, ...args], env: {}, logFile: join(dir, "g.log") };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie that init has not collected yet is no longer running.
    const status = `/proc/${pid}/status`;
    return !existsSync(status) || !/^State:\s+Z/m.test(readFileSync(status, "utf8"));
  } catch {
    return false;
  }
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!holds() && performance.now() < deadline) await sleep(20);
  expect(holds()).toBe(true);
}

/** Whether the process ends within five seconds. */
async function ends(pid: number): Promise<boolean> {
  const deadline = performance.now() + 5_000;
  while (isAlive(pid) && performance.now() < deadline) await sleep(20);
  return !isAlive(pid);
}

const FOREVER = "setInterval(() => {}, 1000);";

describe("Supervisor", { timeout: 30_000 }, () => {
  it("gives the ready line, passes only what is given of our variables, and logs", async () => {
    vi.stubEnv("FAIRLEAD_X", "not for children");
    const started = supervisor.start(
      script("one", `${FOREVER} console.error(process.env.GIVEN, process.env.FAIRLEAD_X);`, {
        GIVEN: "given",
      }),
    );
    await expect(started.ready).resolves.toEqual({ ready: true, port: 7 });
    await supervisor.stop();
    vi.unstubAllEnvs();
    expect(readFileSync(started.logFile, "utf8")).toBe("given undefined\n");
  });

  it.for([
    { given: undefined, dir: /\/node_modules\/\.cache\/node-compile$/ },
    { given: "/somewhere", dir: /^\/somewhere$/ },
  ])("has compiled modules kept, where $given is given", async ({ given, dir: expected }) => {
    vi.stubEnv("NODE_COMPILE_CACHE", given);
    const started = supervisor.start(
      script("one", `${FOREVER} console.error(process.env.NODE_COMPILE_CACHE);`),
    );
    vi.unstubAllEnvs();
    await started.ready;
    await supervisor.stop();
    expect(readFileSync(started.logFile, "utf8").trim()).toMatch(expected);
  });

  it("says which process did not start, what it said last and where its log is", async () => {
    const file = join(dir, "failing.mjs");
    writeFileSync(
      file,
      `console.error("first\\nsecond");
       console.error('{"level":"fatal","err":{"message":"no such port"},"msg":"could not start"}');
       console.error("last");
       process.exit(3);`,
    );
    const started = supervisor.start({ ...script("bad", ""), args: [file] });
    const said = "  second\n  could not start: no such port\n  last\n";
    await expect(started.ready).rejects.toThrow(
      `bad ended with status 3.\n${said}Its log is ${started.logFile}`,
    );
  });

  it("starts again what ends unasked, with the ports and the log of the first start", async () => {
    const socket = join(dir, "s.sock");
    const source = `import { existsSync, writeFileSync } from "node:fs";
      console.error(process.argv.slice(2).join(" "), existsSync("${socket}"));
      writeFileSync("${socket}", ""); ${FOREVER}`;
    const started = supervisor.start({
      ...script("kept", source),
      sockets: [socket],
      argsAgain: ({ port }) => [join(dir, "kept.mjs"), "--port", String(port)],
    });
    await started.ready;
    const before = started.pid;
    process.kill(before, "SIGKILL");
    await until(() => restarted.length === 1);
    expect(restarted).toEqual([
      { name: "kept", pid: started.pid, exit: { code: null, signal: "SIGKILL" } },
    ]);
    expect(started.pid).not.toBe(before);
    expect(supervisor.pids()).toEqual({ kept: started.pid });
    expect(readFileSync(started.logFile, "utf8")).toBe(" false\n--port 7 false\n");
    await supervisor.stop();
    expect(isAlive(started.pid)).toBe(false);
  });

  it("gives up what ends too often, leaves the others and starts none that it stops", async () => {
    const staying = supervisor.start(script("staying", FOREVER));
    const dying = supervisor.start(script("dying", "setTimeout(() => process.exit(4), 50);"));
    const death = await supervisor.death;
    expect(death.process.name).toBe("dying");
    expect(death.process.hasStarted).toBe(true);
    expect(death.exit).toEqual({ code: 4, signal: null });
    expect(restarted.map(({ name }) => name)).toEqual(["dying", "dying"]);
    expect(isAlive(staying.pid)).toBe(true);
    await supervisor.stop();
    expect([staying, dying].some((each) => isAlive(each.pid))).toBe(false);
  });

  it("does not start again what was never ready", async () => {
    const file = join(dir, "failing.mjs");
    writeFileSync(file, "process.exit(2);");
    supervisor.start({ ...script("never", ""), args: [file] });
    const death = await supervisor.death;
    expect(death.process.hasStarted).toBe(false);
    expect(restarted).toEqual([]);
  });

  it("waits for nobody who ends last", async () => {
    // Longer than the test may take.
    const patient = new Supervisor({ onRestarted() {}, stopMsMax: 60_000 });
    const deaf = `process.on("SIGTERM", () => {}); ${FOREVER}`;
    const last = patient.start({ ...script("last", deaf), endsLast: true });
    const told = join(dir, "told");
    const busy = `import { writeFileSync } from "node:fs";
      process.on("SIGTERM", () => setTimeout(() => { writeFileSync("${told}", ""); process.exit(0); }, 200));
      ${FOREVER}`;
    const other = patient.start(script("other", busy));
    await Promise.all([last.ready, other.ready]);
    await patient.stop();
    expect(existsSync(told)).toBe(true);
    await expect(other.exited).resolves.toEqual({ code: 0, signal: null });
    await expect(last.exited).resolves.toEqual({ code: null, signal: "SIGKILL" });
  });

  it("kills at once what ignores SIGTERM when told to", async () => {
    const deaf = supervisor.start(script("deaf", `process.on("SIGTERM", () => {}); ${FOREVER}`));
    await deaf.ready;
    const stopping = supervisor.stop();
    supervisor.kill();
    await stopping;
    await expect(deaf.exited).resolves.toEqual({ code: null, signal: "SIGKILL" });
  });
});

describe("guard", { timeout: 30_000 }, () => {
  it("passes SIGTERM on and ends as its program does", async () => {
    const started = supervisor.start(
      guarded("sh", "-c", 'trap "exit 9" TERM; while true; do sleep 0.02; done'),
    );
    const { pid } = (await started.ready) as { pid: number };
    expect(started.pid).toBe(pid);
    await sleep(100);
    started.stop("SIGTERM");
    await expect(started.exited).resolves.toEqual({ code: 9, signal: null });
    expect(await ends(pid)).toBe(true);
  });

  it("says so when the program does not exist", async () => {
    const started = supervisor.start(guarded(join(dir, "nothing")));
    await expect(started.ready).rejects.toThrow(/cannot start .*nothing/);
  });

  it("ends the program when its parent is killed outright", async () => {
    const parent = join(dir, "parent.ts");
    const module = new URL("../../../src/cli/up/child-process.ts", import.meta.url).href;
    writeFileSync(
      parent,
      `import { startProcess } from ${JSON.stringify(module)};
       const child = startProcess(${JSON.stringify(guarded("sleep", "1000"))});
       const { pid } = await child.ready;
       process.stdout.write(JSON.stringify([child.pid, pid]));`,
    );
    const process_ = spawn(process.execPath, [parent], { stdio: ["ignore", "pipe", "inherit"] });
    const [chunk] = (await once(process_.stdout)) as [Buffer];
    const pids = JSON.parse(chunk.toString()) as number[];
    expect(pids.map(isAlive)).toEqual([true, true]);
    process_.kill("SIGKILL");
    expect(await Promise.all(pids.map(ends))).toEqual([true, true]);
  });

  it("leaves no program behind when the guard itself is killed", async () => {
    const started = startProcess(guarded("sleep", "1000"));
    const { pid } = (await started.ready) as { pid: number };
    process.kill(started.pid, "SIGKILL");
    expect(await ends(pid)).toBe(true);
  });

  it("ends by the signal that ended its program", async () => {
    const started = startProcess(guarded("sleep", "1000"));
    const { pid } = (await started.ready) as { pid: number };
    process.kill(pid, "SIGKILL");
    await expect(started.exited).resolves.toEqual({ code: null, signal: "SIGKILL" });
  });
});

function once(stream: NodeJS.ReadableStream): Promise<unknown[]> {
  return new Promise((resolve) => stream.once("data", (...args: unknown[]) => resolve(args)));
}
