// The workerd processes of a run: one with everything, or an edge and coordinators.

import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  ADMIN_KEY_VARIABLE,
  coordinatorConfig,
  type CoordinatorSockets,
  edgeConfig,
  workerdConfig,
} from "../workerd-config.ts";
import { bundleWorker } from "./bundle.ts";
import type { ProcessSpec } from "./child-process.ts";
import type { StateDir } from "./state-dir.ts";

const GUARD = fileURLToPath(new URL("guard.ts", import.meta.url));
/** Of the bundle, beside the configurations. */
const BUNDLE_FILE = "worker.js";

export interface WorkerdRun {
  readonly state: StateDir;
  readonly adminKey: string;
  /** undefined: Worker and objects in one process. */
  readonly coordinatorCount: number | undefined;
  /** Coordinators of pools, by hand; absent: by hash. */
  readonly places?: Readonly<Record<string, number>>;
  /** How much longer calls from the Worker to pools' objects take. */
  readonly objectRttMs: number;
}

/** The process that holds the objects of this ordinal. */
export function coordinatorName(ordinal: number): string {
  return `coordinator-${ordinal}`;
}

/** Builds the Worker, writes the configurations and says how to start their processes. */
export async function prepareWorkerd(run: WorkerdRun): Promise<ProcessSpec[]> {
  const { state, coordinatorCount, objectRttMs } = run;
  await bundleWorker(join(state.generatedDir, BUNDLE_FILE));
  const { socketPath } = state;
  if (coordinatorCount === undefined) {
    const storageDir = state.storageDir(0);
    const config = workerdConfig({
      socketPath,
      storageDir,
      bundleFile: BUNDLE_FILE,
      objectRttMs,
    });
    return [await worker(run, "workerd", config)];
  }
  const sockets = coordinatorSockets(state, coordinatorCount);
  const coordinators = run.places === undefined ? sockets : { ...sockets, places: run.places };
  const specs = coordinators.pools.map((_, ordinal) => coordinator(run, ordinal, coordinators));
  const config = edgeConfig({ socketPath, bundleFile: BUNDLE_FILE, coordinators, objectRttMs });
  return Promise.all([...specs, worker(run, "edge", config)]);
}

function coordinatorSockets(state: StateDir, count: number): CoordinatorSockets {
  return {
    pools: Array.from({ length: count }, (_, i) => join(state.socketDir, `pools-${i}.sock`)),
    control: join(state.socketDir, "control.sock"),
  };
}

/** A process that clients' requests reach: it needs the administrator's key. */
async function worker(run: WorkerdRun, name: string, config: string): Promise<ProcessSpec> {
  return {
    ...(await workerdProcess(run.state, name, config)),
    env: { [ADMIN_KEY_VARIABLE]: run.adminKey },
    sockets: [run.state.socketPath],
  };
}

async function coordinator(
  run: WorkerdRun,
  ordinal: number,
  coordinators: CoordinatorSockets,
): Promise<ProcessSpec> {
  const storageDir = run.state.storageDir(ordinal);
  const options = { ordinal, bundleFile: BUNDLE_FILE, storageDir, coordinators };
  const own = coordinators.pools[ordinal]!;
  return {
    ...(await workerdProcess(run.state, coordinatorName(ordinal), coordinatorConfig(options))),
    sockets: ordinal === 0 ? [own, coordinators.control] : [own],
    // It keeps connections to the others, which they wait for when they are told to end.
    endsLast: true,
  };
}

async function workerdProcess(state: StateDir, name: string, config: string): Promise<ProcessSpec> {
  const configFile = join(state.generatedDir, `${name}.capnp`);
  await writeFile(configFile, config);
  // The package's main module gives the path of the binary for this platform. It has no types.
  const { default: binary } = createRequire(import.meta.url)("workerd") as { default: string };
  return {
    name,
    args: [GUARD, binary, "serve", configFile],
    env: {},
    logFile: join(state.logsDir, `${name}.log`),
  };
}
