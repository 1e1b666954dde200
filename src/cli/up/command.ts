// `fairlead up`: runs until it is told to stop, or until a part of it cannot be kept running.

import { join, relative } from "node:path";
import { CliError, describeError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { describeEnd, describeExit } from "./child-process.ts";
import { watchLogSizes } from "./log-size.ts";
import { parseUpOptions, UP_USAGE, type UpOptions } from "./options.ts";
import { type ControlSocket, openControlSocket } from "./control-socket.ts";
import { Disturbances } from "./disturbances.ts";
import type { Ready } from "./run-parts.ts";
import { startClusters } from "./start-clusters.ts";
import { startRun } from "./start.ts";
import { openStateDir, RUNNING_FILE, STATE_DIR_DEFAULT, type StateDir } from "./state-dir.ts";
import { RESTART_WINDOW_MS, RESTARTS_MAX } from "./restarts.ts";
import { type Death, Supervisor } from "./supervisor.ts";

export const upCommand: Command = {
  usage: UP_USAGE,
  async run(args) {
    const options = parseUpOptions(args);
    const state = openStateDir(options.stateDir);
    const progress = (line: string) => process.stderr.write(`${line}\n`);
    let announce = () => {};
    const supervisor = new Supervisor({
      onRestarted({ name }, exit) {
        progress(`${name} ${describeExit(exit)}; started again`);
        try {
          announce();
        } catch (error) {
          // A full disk must not end the run.
          progress(`running.json could not be written: ${describeError(error)}`);
        }
      },
    });
    const onReady = ({ url, clusters }: Ready) => {
      announce = () =>
        state.announce({
          url,
          pids: supervisor.pids(),
          adminPorts: supervisor.adminPorts(),
          clusters: [...clusters],
        });
      announce();
    };
    const disturbances = new Disturbances(() => supervisor.processes);
    let control: ControlSocket | undefined;
    const signalled = untilStopped(options, () => supervisor.kill());
    try {
      control = await openControlSocket(state.controlPath, disturbances);
      await runUntilEnd({ options, state, supervisor, signalled, progress, onReady });
    } finally {
      control?.close();
      await supervisor.stop();
      state.release();
      // Else an open pipe would keep this process alive.
      if (options.exitsWithParent) process.stdin.destroy();
    }
    progress("Stopped.");
  },
};

interface UpRun {
  readonly options: UpOptions;
  readonly state: StateDir;
  readonly supervisor: Supervisor;
  readonly signalled: Promise<void>;
  readonly progress: (line: string) => void;
  readonly onReady: (ready: Ready) => void;
}

/** Resolves when a signal ends the run; rejects when something else does. */
async function runUntilEnd(run: UpRun): Promise<void> {
  const { options, state, supervisor, signalled, progress, onReady } = run;
  const adminKey = process.env["FAIRLEAD_ADMIN_KEY"] ?? state.keys.adminKey;
  const parts = { options, state, adminKey, supervisor, progress };
  const { clusterRttsMs } = options;
  const starting =
    clusterRttsMs === undefined ? startRun(parts) : startClusters(parts, clusterRttsMs);
  // A signal may end the wait for it; what it says afterwards is of no interest.
  starting.catch(() => {});
  const death = supervisor.death.then((dead) => {
    throw new CliError(describeDeath(dead));
  });
  death.catch(() => {});
  const ready = await Promise.race([starting, signalled, death]);
  if (ready === undefined) return;
  onReady(ready);
  watchLogSizes(() => supervisor.processes.map((each) => each.logFile));
  process.stdout.write(
    options.isJson
      ? `${JSON.stringify(ready)}\n`
      : describeReady(ready, state.logsDir, options.stateDir),
  );
  await Promise.race([signalled, death]);
}

function describeDeath({ process: dead, exit }: Death): string {
  const end = describeEnd(dead, exit);
  if (!dead.hasStarted) return end;
  const seconds = RESTART_WINDOW_MS / 1_000;
  return `${dead.name} was started again ${RESTARTS_MAX} times in ${seconds} seconds; giving up. ${end}`;
}

/** Resolves at the first signal, or when the parent is gone; `onSecond` is called at the next one. */
function untilStopped(options: UpOptions, onSecond: () => void): Promise<void> {
  return new Promise((resolve) => {
    let count = 0;
    const stop = () => {
      count++;
      if (count === 1) resolve();
      else onSecond();
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stop);
    if (options.exitsWithParent) process.stdin.on("end", stop).on("error", stop).resume();
  });
}

/** What a person reads when everything runs: how to use it, and how to ask why. */
export function describeReady(ready: Ready, logsDir: string, stateDir: string): string {
  const body = JSON.stringify({
    model: ready.model,
    messages: [{ role: "user", content: "Hello" }],
  });
  const key = ready.key ?? "$FAIRLEAD_KEY";
  const stateFlag = stateDir === STATE_DIR_DEFAULT ? "" : ` --state-dir ${shellQuote(stateDir)}`;
  return `
Fairlead is ready.

  base URL   ${ready.url}/v1
  key        ${ready.key ?? "one of the configuration's; it holds only hashes of them"}
  admin key  ${ready.adminKey}
  model      ${ready.model}
  logs       ${relative(process.cwd(), logsDir) || "."}/
${describeClusters(ready, stateDir)}
Try it:

  curl ${ready.url}/v1/chat/completions -i \\
    -H "authorization: Bearer ${key}" -H "content-type: application/json" \\
    -d ${shellQuote(body)}

Then ask why it went where it went, with the id in x-fairlead-request-id:

  npx fairlead explain REQUEST_ID${stateFlag}
${describeChaos(ready, stateFlag)}
Ctrl-C stops everything.
`;
}

/** A line for each, and the file that says what they are made of; nothing where there are none. */
function describeClusters({ clusters }: Ready, stateDir: string): string {
  if (clusters.length === 0) return "";
  const lines = clusters.map(
    ({ name, region, rttMs, endpoints }, i) =>
      `  ${i === 0 ? "clusters " : "         "}  ${name}  ${region.padEnd(12)}  ${endpoints.length} engines, ${rttMs} ms away\n`,
  );
  return `${lines.join("")}  state      ${join(stateDir, RUNNING_FILE)}\n`;
}

function describeChaos({ clusters }: Ready, stateFlag: string): string {
  const [first] = clusters;
  if (first === undefined) return "";
  return `
Lose a cluster under 100 requests a second, and see what clients see of it:

  npx fairlead chaos kill ${first.name}${stateFlag}
`;
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
