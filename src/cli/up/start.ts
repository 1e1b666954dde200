// One run: from options to a deployment that answers.

import { AdminClient } from "../admin-client.ts";
import { CliError } from "../cli-error.ts";
import { checkDeployment, readDocument } from "../deployment-file.ts";
import { defaultDeployment, localPoolOptions, localPools, usableKey } from "./deployment.ts";
import { commonModels, probeEngine, probeListed, type EngineProbe } from "./engines.ts";
import type { EngineSource } from "./options.ts";
import { findFreePort, requireFreePort } from "./ports.ts";
import { untilPoolIsFresh } from "./readiness.ts";
import {
  applyDocument,
  type Ready,
  type Run,
  startEngines,
  startPoolAgents,
  startWorker,
} from "./run-parts.ts";
import { stagedScheduler } from "./stages.ts";

/** Starts everything and resolves when it is healthy. The caller stops what was started. */
export async function startRun(run: Run): Promise<Ready> {
  const { options, supervisor } = run;
  const [probes] = await Promise.all([
    probeEngines(run, options.engines),
    requireFreePort(options.host, options.port),
  ]);
  const document = await chooseDocument(run, probes);
  const deployment = checkDeployment(document, options.configFile ?? "the configuration");
  const pools = localPools(deployment);
  if (options.engines.kind !== "simulated" && pools.length !== 1)
    throw new CliError(
      `Engines were given for one pool, but ${pools.length} pools of the configuration have a relay on this machine.`,
    );
  const [url, endpoints] = await Promise.all([
    startWorker(run, { coordinatorCount: options.coordinatorCount }),
    Promise.all(pools.map((pool) => startEngines(run, pool, probes))),
  ]);
  const admin = new AdminClient(url, run.adminKey);
  await applyDocument(admin, document);
  run.progress("Starting relay and collector.");
  await Promise.all(
    pools.map((pool, index) => startPoolAgents(run, { pool, url, endpoints: endpoints[index]! })),
  );
  await Promise.all(
    pools.map((pool, index) => untilPoolIsFresh(admin, pool.name, endpoints[index]!.addresses)),
  );
  return {
    url,
    key: usableKey(deployment) ?? null,
    adminKey: run.adminKey,
    model: deployment.pools.find((pool) => pool.models.length > 0)?.models[0] ?? "",
    pids: supervisor.pids(),
    clusters: [],
  };
}

/** Asks real engines what they serve; none for simulated ones. */
async function probeEngines(run: Run, source: EngineSource): Promise<EngineProbe[]> {
  if (source.kind === "simulated") return [];
  run.progress("Asking the engines for their models.");
  if (source.kind === "urls") return Promise.all(source.origins.map(probeEngine));
  return probeListed(source.file, run.progress);
}

async function chooseDocument(run: Run, probes: readonly EngineProbe[]): Promise<unknown> {
  const { options, state } = run;
  if (options.configFile !== undefined) return readDocument(options.configFile);
  const models =
    options.engines.kind === "simulated" ? [options.model!] : commonModels(probes, options.model);
  const relayPort = await findFreePort("127.0.0.1");
  const { kvKeys, engines, decide, shards } = options;
  const stages = engines.kind === "simulated" ? engines.stages : undefined;
  const scheduler = stages === undefined ? undefined : stagedScheduler(stages.connector);
  return defaultDeployment(state.keys, models, [localPoolOptions(relayPort)], {
    kvKeys,
    scheduler,
    decide,
    shards,
  });
}
