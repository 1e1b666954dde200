// A run with clusters: from options to a deployment that answers.

import { AdminClient } from "../admin-client.ts";
import {
  clusterPlaces,
  type ClusterPlan,
  clusterPool,
  linkNames,
  planClusters,
} from "./clusters.ts";
import type { Cluster } from "./running-cluster.ts";
import { defaultDeployment, type LocalPool } from "./deployment.ts";
import type { UpOptions } from "./options.ts";
import { findFreePort, requireFreePort } from "./ports.ts";
import {
  collectorName,
  enginesName,
  LINKS_PROCESS,
  type LinkOptions,
  linksProcess,
  relayName,
} from "./processes.ts";
import { untilPoolIsFresh } from "./readiness.ts";
import { engineGroups, stagedScheduler } from "./stages.ts";
import {
  applyDocument,
  type PoolEndpoints,
  type Ready,
  type Run,
  startEngines,
  startPoolAgents,
  startWorker,
} from "./run-parts.ts";
import { coordinatorName } from "./workerd.ts";

/** A cluster whose engines run, or are about to. */
interface Planned {
  readonly plan: ClusterPlan;
  readonly pool: LocalPool;
  readonly relayAddress: string;
}

/** Starts everything and resolves when it is healthy. The caller stops what was started. */
export async function startClusters(run: Run, rttsMs: readonly number[]): Promise<Ready> {
  const { options, state, supervisor } = run;
  await requireFreePort(options.host, options.port);
  const plans = planClusters(rttsMs);
  const placement = clusterPlaces(plans);
  const models = [options.model!];
  const planned: Planned[] = [];
  for (const plan of plans) {
    const relayPort = await findFreePort("127.0.0.1");
    const pool = clusterPool(plan, state.keys, { models, kvKeys: options.kvKeys, relayPort });
    planned.push({ plan, pool, relayAddress: pool.relays[0]!.listen });
  }
  const [url, endpoints] = await Promise.all([
    startWorker(run, placement),
    Promise.all(planned.map(({ pool }) => startEngines(run, pool, []))),
  ]);
  const ports = await startLinks(run, planned, new URL(url).host);
  const admin = new AdminClient(url, run.adminKey);
  const pools = plans.map(({ name, region, rttMs }, i) => {
    return { name, region, rttMs, relayPort: ports[i]!.requests };
  });
  const { kvKeys, decide, shards } = options;
  const scheduler = schedulerOf(options);
  const inCommon = { kvKeys, scheduler, decide, shards };
  await applyDocument(admin, defaultDeployment(state.keys, models, pools, inCommon));
  run.progress("Starting relays and collectors.");
  await Promise.all(
    planned.map(({ pool }, i) => {
      const throughLink = `http://127.0.0.1:${ports[i]!.agents}`;
      return startPoolAgents(run, { pool, url: throughLink, endpoints: endpoints[i]! });
    }),
  );
  await Promise.all(
    planned.map(({ pool }, i) => untilPoolIsFresh(admin, pool.name, endpoints[i]!.addresses)),
  );
  return {
    url,
    key: state.keys.key,
    adminKey: run.adminKey,
    model: options.model!,
    pids: supervisor.pids(),
    clusters: planned.map((each, i) =>
      describeCluster(options, each, { endpoints: endpoints[i]!, places: placement.places }),
    ),
  };
}

/** One process for all: a link costs little, a process fifty megabytes. */
async function startLinks(
  run: Run,
  planned: readonly Planned[],
  workerAddress: string,
): Promise<{ readonly requests: number; readonly agents: number }[]> {
  const links = planned.flatMap(({ plan, relayAddress }): LinkOptions[] => {
    const { requests, agents } = linkNames(plan);
    const { rttMs } = plan;
    return [
      { name: requests, target: relayAddress, rttMs },
      { name: agents, target: workerAddress, rttMs },
    ];
  });
  const ready = await run.supervisor.start(linksProcess(run.state, links)).ready;
  const ports = ready["ports"] as number[];
  return planned.map((_, i) => ({ requests: ports[2 * i]!, agents: ports[2 * i + 1]! }));
}

function schedulerOf({ engines }: UpOptions): unknown {
  const stages = engines.kind === "simulated" ? engines.stages : undefined;
  return stages === undefined ? undefined : stagedScheduler(stages.connector);
}

function describeCluster(
  { engines }: UpOptions,
  { plan, pool }: Planned,
  of: {
    readonly endpoints: PoolEndpoints;
    readonly places: Readonly<Record<string, number>>;
  },
): Cluster {
  const groups = engines.kind === "simulated" ? engineGroups(engines, undefined) : [];
  return {
    ...plan,
    processes: {
      engines: groups.map((group) => enginesName(pool, group)),
      agents: [collectorName(pool)],
      relays: pool.relays.map((_, index) => relayName(pool, index)),
      object: coordinatorName(of.places[plan.name]!),
      links: LINKS_PROCESS,
    },
    links: linkNames(plan),
    endpoints: [...of.endpoints.addresses],
  };
}
