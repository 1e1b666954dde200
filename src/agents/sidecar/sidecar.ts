// The sidecar: HTTP servers beside a decoder, one a data-parallel rank, in the place of llm-d's routing
// sidecar. It has no pool and no keys: whoever reaches it may use the engine beside it, as without it; and it
// connects to nobody else but the endpoints that it finds.

import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { networkInterfaces } from "node:os";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import { RetryBudget } from "../../scheduler/support/retry-budget.ts";
import type { EndpointSource } from "../discovery/endpoint-source.ts";
import { type EndpointsFrom, startEndpointSource } from "../discovery/start-endpoint-source.ts";
import { closeServer, listen } from "../process/listen.ts";
import type { Logger } from "../process/logger.ts";
import type { EndpointRecord } from "../protocol/messages.ts";
import { Bootstraps } from "../relay/disaggregation/bootstraps.ts";
import type { DisaggregationOptions } from "../relay/disaggregation/flags.ts";
import { EndpointMarks } from "../relay/endpoint-marks.ts";
import { EnginePools } from "../relay/engine-pools.ts";
import type { EngineTls } from "../relay/engine-tls.ts";
import { refuse } from "../relay/refusals.ts";
import { RELAY_LIMITS, RETRY_RESERVE } from "../relay/relay.ts";
import { BodyBudget } from "../relay/request-body.ts";
import { serveSidecar, type SidecarContext } from "./serve.ts";

/** As llm-d's sidecar has it. */
const HEAD_READ_MS_MAX = 30_000;
const IDLE_MS_MAX = 300_000;
/** Of the drain; then what is still open is ended. */
const DRAIN_STREAMS_MS = 4_000;

export type SidecarOptions = EndpointsFrom & {
  readonly host: string;
  /** Of rank 0; the others follow. 0: any. */
  readonly port: number;
  readonly modelServerPort: number;
  /** How others call this host, besides the addresses of its interfaces. Absent: by none else. */
  readonly ownHost?: string;
  readonly dataParallelSize: number;
  readonly bodyBytesMax: number;
  readonly samplesPrefillers: boolean;
  readonly disaggregation: DisaggregationOptions;
  readonly engineTls: EngineTls;
  /** PEM; absent: the listeners speak no TLS. */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly logger: Logger;
  readonly registry: MetricRegistry;
};

export interface Sidecar {
  readonly ports: readonly number[];
  /** As EndpointSource has them. */
  readonly problem: string | undefined;
  readonly discovery: EndpointSource["health"];
  close(): Promise<void>;
}

/** Starts a sidecar. Rejects if it cannot listen or has no first endpoints. */
export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const { logger, registry, dataParallelSize, modelServerPort } = options;
  const source = await startEndpointSource(options);
  const locals = Array.from({ length: dataParallelSize }, (_, rank) =>
    local(rank, modelServerPort),
  );
  const pools = new EnginePools(options.engineTls);
  const clock = () => performance.now();
  const marks = new EndpointMarks({
    clock,
    rng: Math.random,
    onChange: (mark) => logger.info(mark, "endpoint marked, or reached again"),
  });
  const update = (found: readonly EndpointRecord[]) => {
    const taken = new Set(locals.map(({ address }) => address));
    const endpoints = [...found.filter(({ address }) => !taken.has(address)), ...locals];
    pools.update(endpoints);
    marks.retain(new Set(endpoints.map(({ address }) => address)));
  };
  update(source.endpoints);
  source.onChange(update);
  const stopping = new AbortController();
  const context: Omit<SidecarContext, "basePort"> = {
    ...options.disaggregation,
    pools,
    clock,
    marks,
    retries: new RetryBudget(RETRY_RESERVE, () => registry.inc(METRIC.relayRetriesDeniedTotal, {})),
    bootstraps: new Bootstraps(clock),
    budget: new BodyBudget(RELAY_LIMITS.heldBodyBytesMax),
    registry,
    logger,
    engines: locals.map(({ address }) => address),
    modelServerPort,
    ownHosts: ownHosts(options.ownHost),
    samplesPrefillers: options.samplesPrefillers,
    bodyBytesMax: options.bodyBytesMax,
    headHeldMsMax: RELAY_LIMITS.headHeldMsMax,
    stopping: stopping.signal,
    isListed: (address) => source.endpoints.some((endpoint) => endpoint.address === address),
  };
  const { servers, ports } = await openServers(options, context);
  return {
    ports,
    get problem() {
      return source.problem;
    },
    get discovery() {
      return source.health;
    },
    async close() {
      source.close();
      const closed = servers.map((server) => closeServer(server));
      const timer = setTimeout(() => {
        stopping.abort();
        for (const server of servers) server.closeAllConnections();
      }, DRAIN_STREAMS_MS);
      for (const server of servers) server.closeIdleConnections();
      await Promise.all(closed);
      clearTimeout(timer);
      await pools.destroy();
    },
  };
}

/** Where the pod has its own network, its interfaces have the address that others know. */
function ownHosts(ownHost: string | undefined): ReadonlySet<string> {
  const interfaces = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  const hosts = interfaces.map(({ address }) => address);
  return new Set(ownHost === undefined ? hosts : [...hosts, ownHost.toLowerCase()]);
}

function local(rank: number, modelServerPort: number): EndpointRecord {
  const address = `127.0.0.1:${modelServerPort + rank}`;
  return { id: `sidecar/rank-${rank}`, address, engine: "vllm", labels: {} };
}

async function openServers(
  options: SidecarOptions,
  context: Omit<SidecarContext, "basePort">,
): Promise<{ servers: Server[]; ports: number[] }> {
  const { host, port, dataParallelSize, tls, logger } = options;
  const servers: Server[] = [];
  const ports: number[] = [];
  let openCount = 0;
  for (let rank = 0; rank < dataParallelSize; rank++) {
    const server = tls === undefined ? createServer() : createTlsServer({ ...tls });
    server.headersTimeout = HEAD_READ_MS_MAX;
    server.keepAliveTimeout = IDLE_MS_MAX;
    // A body may be slow to come: nobody but the pod's own network is at the other end.
    server.requestTimeout = 0;
    server.on("request", (request, response) => {
      if (openCount >= RELAY_LIMITS.requestsMax) return refuse(response, "busy");
      openCount += 1;
      serveSidecar({ ...context, basePort: ports[0]! }, rank, request, response)
        .catch((err: unknown) => {
          logger.error({ err }, "a request failed inside the sidecar");
          response.destroy();
        })
        .finally(() => (openCount -= 1));
    });
    servers.push(server);
    ports.push(await listen(server, { host, port: port === 0 ? 0 : port + rank }));
  }
  return { servers, ports };
}
