// What runs are made of, whatever their pools.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type AdminClient, errorMessage } from "../admin-client.ts";
import { CliError } from "../cli-error.ts";
import type { Cluster } from "./running-cluster.ts";
import type { LocalPool } from "./deployment.ts";
import { endpointEntries, type EndpointEntry, type EngineProbe } from "./engines.ts";
import type { UpOptions } from "./options.ts";
import { findFreePort } from "./ports.ts";
import {
  collectorProcess,
  enginesProcess,
  frontProcess,
  kvEventLabels,
  relayProcess,
} from "./processes.ts";
import { untilAnswers } from "./readiness.ts";
import { engineGroups, hasBootstrap, relayFlags } from "./stages.ts";
import type { StateDir } from "./state-dir.ts";
import type { Supervisor } from "./supervisor.ts";
import { prepareWorkerd, type WorkerdRun } from "./workerd.ts";

export interface Run {
  readonly options: UpOptions;
  readonly state: StateDir;
  readonly adminKey: string;
  readonly supervisor: Supervisor;
  /** One line about what happens now. */
  readonly progress: (line: string) => void;
}

export interface Ready {
  /** Without a path; the OpenAI base URL is this and /v1. */
  readonly url: string;
  /** null if the configuration holds only hashes of keys. */
  readonly key: string | null;
  readonly adminKey: string;
  readonly model: string;
  readonly pids: Readonly<Record<string, number>>;
  /** Empty where the run has none. */
  readonly clusters: readonly Cluster[];
}

/** Where a pool's endpoints are listed, and the addresses that must report before the run is ready. */
export interface PoolEndpoints {
  readonly file: string;
  readonly addresses: readonly string[];
  readonly relayFlags: Readonly<Record<string, string>>;
}

/** Builds the Worker, starts it in workerd with the front before it, and gives the front's URL. */
export async function startWorker(
  run: Run,
  objects: Pick<WorkerdRun, "coordinatorCount" | "places">,
): Promise<string> {
  const { options, state, supervisor } = run;
  run.progress("Building the Worker and starting workerd.");
  const { objectRttMs } = options;
  const specs = await prepareWorkerd({ state, adminKey: run.adminKey, objectRttMs, ...objects });
  await Promise.all(specs.map((spec) => supervisor.start(spec).ready));
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  const front = supervisor.start(frontProcess(state, host, options.port));
  const { port } = await front.ready;
  const url = `http://${reachableHost(host)}:${String(port)}`;
  await untilAnswers(`${url}/health`);
  return url;
}

/** The address to use from this machine for one that stands for all of its addresses. */
function reachableHost(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  return host === "[::]" ? "[::1]" : host;
}

/** Of a pool: simulated ones are started here, others listed. */
export async function startEngines(
  run: Run,
  pool: LocalPool,
  probes: readonly EngineProbe[],
): Promise<PoolEndpoints> {
  const source = run.options.engines;
  if (source.kind === "file")
    return {
      file: source.file,
      addresses: probes.map((probe) => probe.address),
      relayFlags: {},
    };
  let entries: EndpointEntry[];
  let bootstrapPort: number | undefined;
  if (source.kind === "urls") {
    entries = endpointEntries(probes);
  } else {
    run.progress(`Starting ${source.count} simulated engines for pool ${pool.name}.`);
    const { stages } = source;
    const isAsked = stages !== undefined && hasBootstrap(stages.connector);
    bootstrapPort = isAsked ? await findFreePort("127.0.0.1") : undefined;
    const groups = engineGroups(source, bootstrapPort);
    const started = groups.map((group) => startGroup(run, pool, { ...group, source }));
    entries = (await Promise.all(started)).flat();
  }
  const file = join(run.state.generatedDir, `endpoints-${pool.name}.json`);
  await writeFile(file, `${JSON.stringify({ endpoints: entries }, null, 2)}\n`);
  return {
    file,
    addresses: entries.map(({ address, port }) =>
      address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`,
    ),
    relayFlags: relayFlags(bootstrapPort),
  };
}

/** Starts the engines of one process, and gives them as endpoints. */
async function startGroup(
  run: Run,
  pool: LocalPool,
  group: Parameters<typeof enginesProcess>[2],
): Promise<EndpointEntry[]> {
  const spec = enginesProcess(run.state, pool, group, run.options.hasKvEvents);
  const ready = await run.supervisor.start(spec).ready;
  return (ready["ports"] as number[]).map((port, index) => ({
    name: `${group.name}-${index}`,
    address: "127.0.0.1",
    port,
    labels: { ...group.labels, ...kvEventLabels(ready, index) },
  }));
}

export async function applyDocument(admin: AdminClient, document: unknown): Promise<void> {
  const answer = await admin.call({ method: "PUT", path: "/config", body: document });
  if (answer.status >= 300)
    throw new CliError(`The configuration was not applied: ${errorMessage(answer)}`);
}

/** A pool's collector and relays. */
export async function startPoolAgents(
  run: Run,
  options: { readonly pool: LocalPool; readonly url: string; readonly endpoints: PoolEndpoints },
): Promise<void> {
  const { state, supervisor } = run;
  const { pool, url } = options;
  const { file: endpointsFile, relayFlags: flags } = options.endpoints;
  const agentOptions = { pool, url, endpointsFile, relayFlags: flags };
  const { hasKvEvents } = run.options;
  const collector = supervisor.start(collectorProcess(state, agentOptions, hasKvEvents));
  // Relays tell the collector what they learn, at a port that it has yet to find.
  const isLearning = hasKvEvents && pool.kvKeys === "content";
  const learnPort = isLearning ? Number((await collector.ready)["learnPort"]) : undefined;
  const relays = pool.relays.map((relay) =>
    supervisor.start(relayProcess(state, agentOptions, relay, learnPort)),
  );
  await Promise.all([collector, ...relays].map((agent) => agent.ready));
}
