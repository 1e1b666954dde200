// The relay: an HTTP server between the Worker and the engines of one pool.

import { createServer, type Server } from "node:http";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import { RetryBudget } from "../../scheduler/support/retry-budget.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { EndpointSource } from "../discovery/endpoint-source.ts";
import { type EndpointsFrom, startEndpointSource } from "../discovery/start-endpoint-source.ts";
import { closeServer, listen, type ListenAddress } from "../process/listen.ts";
import type { Logger } from "../process/logger.ts";
import type { Mark } from "../protocol/messages.ts";
import type { SessionTiming } from "../session/pool-session.ts";
import { Bootstraps } from "./disaggregation/bootstraps.ts";
import { disaggregationDefaults, type DisaggregationOptions } from "./disaggregation/flags.ts";
import { EndSignals } from "./end-signals.ts";
import { EndpointMarks } from "./endpoint-marks.ts";
import { READ_BUFFER_BYTES } from "./engine-answer.ts";
import { EnginePools } from "./engine-pools.ts";
import { ENGINE_TLS_DEFAULTS, type EngineTls } from "./engine-tls.ts";
import { Evictions } from "./evictions.ts";
import { refuseUnread, serveRequest, type RelayContext } from "./exchange.ts";
import { PromptLearner, type PromptLearnerOptions } from "./learning/prompt-learner.ts";
import type { RelayKeys } from "./relay-keys.ts";
import { Renderer } from "./render/renderer.ts";
import { isRenderPath, RenderServer } from "./render/serve-render.ts";
import { BodyBudget } from "./request-body.ts";
import { ShardReports } from "./shard-reports.ts";
import { UsedTickets } from "./used-tickets.ts";

/** Bounds of one relay. Past the first two a request is refused as busy. */
export const RELAY_LIMITS = {
  /** Requests carried at once. */
  requestsMax: 10_000,
  /** Bodies in memory over all requests, from the first byte until the answer has ended. */
  heldBodyBytesMax: 512 * 1024 * 1024,
  /**
   * How long a stream's head is held back until a byte follows. Some proxies, Cloudflare's among
   * them, give up a request that has shown no head for about 100 s; an engine's queue may be longer.
   */
  headHeldMsMax: 30_000,
} as const;
/** Retries that may happen at once: more than one engine carries before its first bytes. */
export const RETRY_RESERVE = 256;
/** A client must have sent its body by then. */
const BODY_READ_MS_MAX = 60_000;
/** Longer than clients keep idle connections, so that they close first. */
const CLIENT_KEEP_ALIVE_MS = 120_000;
/** A fraction of the lease that an object gives an open ticket. */
const RENEW_MS = 120_000;
/** Of the drain: the rest is for error events and reports to leave. */
const DRAIN_STREAMS_MS = 3_500;
const DRAIN_REPORTS_MS = 1_000;

export type RelayOptions = EndpointsFrom & {
  readonly listen: ListenAddress;
  readonly keys: RelayKeys;
  readonly bodyBytesMax: number;
  readonly limits: { readonly [Name in keyof typeof RELAY_LIMITS]: number };
  readonly pool: string;
  readonly agent: string;
  readonly connect: URL;
  readonly token: string;
  readonly logger: Logger;
  readonly registry: MetricRegistry;
  readonly sessionTiming?: Partial<SessionTiming>;
  /** Absent: nobody wants to know what prompts' content becomes. */
  readonly learning?: LearningOptions;
  readonly engineTls?: EngineTls;
  /** Absent: as without flags. */
  readonly disaggregation?: DisaggregationOptions;
  /** Who renders prompts, and says what they learn of: their tokens. Absent: the endpoints. */
  readonly renderUrl?: URL;
};

type LearningOptions = Pick<
  PromptLearnerOptions,
  "collectors" | "tokensPerKey" | "promptsPerSecondMax" | "areMediaRendered"
>;

export interface Relay {
  readonly port: number;
  readonly isConnected: boolean;
  readonly endpointCount: number;
  /** As EndpointSource has them. */
  readonly problem: string | undefined;
  readonly discovery: EndpointSource["health"];
  /** Stops accepting, lets requests end for a while, then ends them; reports leave last. */
  close(): Promise<void>;
}

/** Starts a relay. Rejects if it cannot listen or has no first endpoints. */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  const { logger, registry } = options;
  const source = await startEndpointSource(options);
  const pools = new EnginePools(options.engineTls);
  pools.update(source.endpoints);
  const clock = () => performance.now();
  const onChange = (mark: Mark) => {
    logger.info(mark, mark.leaseMs > 0 ? "endpoint marked" : "endpoint reached again");
    reports.mark([mark]);
  };
  const marks = new EndpointMarks({ clock, rng: Math.random, onChange });
  source.onChange((endpoints) => {
    pools.update(endpoints);
    marks.retain(new Set(endpoints.map((endpoint) => endpoint.address)));
  });
  const shared = createContext(options, clock);
  const reports = new ShardReports({
    ...options,
    timing: options.sessionTiming,
    marks,
    evictions: shared.evictions,
  });
  const signals = new EndSignals();
  const context = { ...shared, pools, marks, signals, reports };
  const open = new OpenRequests();
  const renderer = openRenderer(options, source, marks);
  const renders = new RenderServer({ ...context, renderer });
  const server = createRelayServer({ ...context, renders }, open, options.limits.requestsMax);
  let port: number;
  try {
    port = await listen(server, options.listen);
  } catch (error) {
    source.close();
    await Promise.all([reports.close(), context.learner?.close(), renderer.close()]);
    throw error;
  }
  observe(registry, open, { marks, reports });
  const renewal = setInterval(() => reports.renew(), RENEW_MS);
  return {
    port,
    get isConnected() {
      return reports.isConnected;
    },
    get endpointCount() {
      return source.endpoints.length;
    },
    get problem() {
      return source.problem;
    },
    get discovery() {
      return source.health;
    },
    async close() {
      source.close();
      clearInterval(renewal);
      const closed = closeServer(server);
      await open.drained(DRAIN_STREAMS_MS);
      signals.endAll();
      await open.drained(DRAIN_REPORTS_MS);
      await reports.drain(DRAIN_REPORTS_MS);
      const told = reports.close();
      server.closeAllConnections();
      const learner = context.learner?.close();
      await Promise.all([closed, told, pools.destroy(), learner, renderer.close()]);
    },
  };
}

function openRenderer(
  { engineTls: tls = ENGINE_TLS_DEFAULTS, renderUrl: url }: RelayOptions,
  source: EndpointSource,
  marks: EndpointMarks,
): Renderer {
  return new Renderer({ endpoints: () => source.endpoints, tls, marks, rng: Math.random, url });
}

/** What requests share that belongs to nobody else. */
function createContext(options: RelayOptions, clock: Clock) {
  const { registry, limits, learning, disaggregation = disaggregationDefaults() } = options;
  const used = new UsedTickets();
  const isUsed = (ticket: string, attempt: number) => used.has(ticket, attempt, Date.now());
  return {
    ...options,
    ...disaggregation,
    bootstraps: new Bootstraps(clock),
    clock,
    retries: new RetryBudget(RETRY_RESERVE, () => registry.inc(METRIC.relayRetriesDeniedTotal, {})),
    headHeldMsMax: limits.headHeldMsMax,
    evictions: new Evictions({ clock, isUsed }),
    used,
    budget: new BodyBudget(limits.heldBodyBytesMax),
    ...(learning === undefined
      ? {}
      : {
          learner: new PromptLearner({
            ...options,
            ...learning,
            clock,
            renderOrigin: options.renderUrl?.origin,
          }),
        }),
  };
}

/** Counts requests under way. */
class OpenRequests {
  #count = 0;
  #waiting: (() => void)[] = [];

  get count(): number {
    return this.#count;
  }

  async track(request: Promise<void>): Promise<void> {
    this.#count += 1;
    try {
      await request;
    } finally {
      this.#count -= 1;
      if (this.#count === 0) for (const resolve of this.#waiting.splice(0)) resolve();
    }
  }

  /** Resolves when no request is under way, or after `msMax`. */
  async drained(msMax: number): Promise<void> {
    if (this.#count === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, msMax);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

function createRelayServer(
  context: RelayContext & { readonly renders: RenderServer },
  open: OpenRequests,
  requestsMax: number,
): Server {
  const { renders } = context;
  const server = createServer(
    {
      requestTimeout: BODY_READ_MS_MAX,
      keepAliveTimeout: CLIENT_KEEP_ALIVE_MS,
      highWaterMark: READ_BUFFER_BYTES,
    },
    (request, response) => {
      if (!server.listening) {
        // On a connection that was in use when the relay began to stop.
        response.shouldKeepAlive = false;
        return refuseUnread(context, request, response, "stopping");
      }
      if (open.count >= requestsMax) return refuseUnread(context, request, response, "busy");
      const served = isRenderPath(request.url)
        ? renders.serve(request, response)
        : serveRequest(context, request, response);
      open.track(served).catch((err: unknown) => {
        context.logger.error({ err }, "a request failed inside the relay");
        response.destroy();
      });
    },
  );
  // Idle connections count, too; what is open beyond requests is kept small by their timeout.
  server.maxConnections = 2 * requestsMax;
  return server;
}

function observe(
  registry: MetricRegistry,
  open: OpenRequests,
  { marks, reports }: { readonly marks: EndpointMarks; readonly reports: ShardReports },
): void {
  registry.onRender(() => {
    registry.set(METRIC.relayMarkedEndpoints, {}, marks.standing().length);
    registry.set(METRIC.relayOpenStreams, {}, open.count);
    registry.set(METRIC.relayOutboxReports, {}, reports.size);
  });
}
