// One request to the sidecar: what can be split is read and split as its headers say, and everything else
// goes through to the engine beside it.

import type { IncomingMessage, ServerResponse } from "node:http";
import { randomUUID } from "node:crypto";
import { METRIC } from "../../telemetry/names.ts";
import type { Logger } from "../process/logger.ts";
import { REQUEST_ID_HEADER, STAGE_HEADERS } from "../protocol/headers.ts";
import { PROTOCOL_LIMITS } from "../protocol/limits.ts";
import { hostOf } from "../relay/disaggregation/connectors/peers.ts";
import { send, type Sent } from "../relay/disaggregation/send.ts";
import type { SplitContext } from "../relay/disaggregation/split-request.ts";
import { parseStages, type StageAddresses } from "../relay/disaggregation/stage-addresses.ts";
import { apiOf } from "../relay/disaggregation/staged-paths.ts";
import type { EnginePool } from "../relay/engine-pools.ts";
import { forwardAnswer, sendKept, type Forwarded } from "../relay/forward.ts";
import { refuse, type RefusalCode } from "../relay/refusals.ts";
import { BodyLoan, readOnLoan } from "../relay/request-body.ts";
import { startRelaySpan } from "../relay/tracing.ts";
import { UNKNOWN_USAGE } from "../protocol/answer-usage.ts";
import { passedHeaders, passThrough } from "./pass-through.ts";

export interface SidecarContext extends SplitContext {
  /** Addresses of the engine's ranks on this host, by rank. */
  readonly engines: readonly string[];
  /** Of rank 0, where others reach it: what `x-data-parallel-host-port` counts from. */
  readonly basePort: number;
  /** Of the engine's rank 0 on this host. */
  readonly modelServerPort: number;
  /** Names under which others may reach this host. */
  readonly ownHosts: ReadonlySet<string>;
  readonly samplesPrefillers: boolean;
  readonly bodyBytesMax: number;
  readonly headHeldMsMax: number;
  readonly logger: Logger;
  readonly stopping: AbortSignal;
  /** Whether an address is one of the endpoints found. */
  isListed(address: string): boolean;
}

/** `rank` is that of the port the request came to. Never rejects. */
export async function serveSidecar(
  context: SidecarContext,
  rank: number,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = request.url ?? "";
  // A target with a host in it is another proxy's business.
  if (!path.startsWith("/")) return refuseIt(context, response, "bad-path");
  if (request.method === "GET" && path === "/health") {
    response.writeHead(200, { "content-type": "application/json" }).end('{"status":"ok"}');
    return;
  }
  const read = readStages(context, rank, request);
  if (read === undefined) return refuseIt(context, response, "bad-stages");
  const pool = context.pools.get(context.engines[read.rank ?? rank]!);
  if (pool === undefined) return refuseIt(context, response, "engine-down");
  if (request.method !== "POST" || apiOf(path) === undefined) {
    return passThrough(pool, request, response);
  }
  const loan = new BodyLoan(context.budget);
  try {
    const body = await readOnLoan(request, context.bodyBytesMax, loan);
    if (body.ok) await carry(context, pool, { request, response, body: body.bytes, ...read });
    else if (body.reason !== "cancelled") refuseIt(context, response, body.reason);
  } finally {
    loan.release();
  }
}

interface Carried {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: Uint8Array;
  readonly stages: StageAddresses;
}

async function carry(context: SidecarContext, pool: EnginePool, carried: Carried): Promise<void> {
  const { request, response, body, stages } = carried;
  const { registry, logger, headHeldMsMax } = context;
  const startedAtMs = context.clock();
  const path = request.url!;
  const span = startRelaySpan(path, request.headers);
  const requestId = request.headers[REQUEST_ID_HEADER]?.toString() ?? randomUUID();
  const gone = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) gone.abort();
  });
  const { "accept-encoding": _, ...headers } = passedHeaders(request.headers);
  const signal = AbortSignal.any([gone.signal, context.stopping]);
  for (const stage of stages.unknown) registry.inc(METRIC.relayStageOffListTotal, { stage });
  const sent = await send(context, {
    path,
    body,
    headers: { ...headers, traceparent: span.traceparent, [REQUEST_ID_HEADER]: requestId },
    destinations: [pool.address],
    stages,
    signal,
    headHeldMsMax,
    startPhase: (name) => span.startPhase(name),
    onTry: () => undefined,
    onAttempt: (outcome) => registry.inc(METRIC.relayAttemptsTotal, { outcome }),
    onPrefilled: () => undefined,
  });
  let ttftMs: number | null = null;
  const ended = await answer(sent, response, {
    requestId,
    signal,
    onFirstByte() {
      ttftMs = context.clock() - startedAtMs;
      sent.onFirstByte();
    },
  });
  const split = await sent.end();
  const { result, endpoint } = sent.walked;
  const status = result.kind === "answered" ? result.answer.statusCode : null;
  const durationMs = context.clock() - startedAtMs;
  registry.inc(METRIC.relayRequestsTotal, { outcome: ended.outcome });
  const facts = { endpoint, status, ttftMs, durationMs, ...ended };
  span.end({ ...facts, model: null, stages: split });
  logger.info({ requestId, traceId: span.traceId, path, ...facts, stages: split }, "request");
}

interface Answering {
  readonly requestId: string;
  readonly signal: AbortSignal;
  onFirstByte(): void;
}

type Ended = Omit<Forwarded, "outcome"> & { readonly outcome: Forwarded["outcome"] | RefusalCode };

async function answer(
  { walked, cachedTokens }: Sent,
  response: ServerResponse,
  how: Answering,
): Promise<Ended> {
  const { result, endpoint } = walked;
  const nothing = { usage: UNKNOWN_USAGE, finishReason: null };
  const refused = (code: RefusalCode): Ended => {
    if (!response.destroyed) refuse(response, code);
    return { ...nothing, outcome: code };
  };
  if (result.kind === "answered") {
    const names = undefined;
    const request = { endpoint, names, cachedTokens, isUsageAdded: false, ...how };
    return forwardAnswer(result.answer, response, request);
  }
  if (result.kind === "timeout") return refused("engine-timeout");
  if (result.kind === "unpaired") return refused("no-prefill");
  if (result.kind === "cancelled") return { ...refused("stopping"), outcome: "cancelled" };
  if (result.kept === undefined) return refused("engine-down");
  sendKept(result.kept, response, { names: undefined });
  return { ...nothing, outcome: "engine-error" };
}

/** Undefined where the headers make no sense here. */
function readStages(
  context: SidecarContext,
  portRank: number,
  { headers }: IncomingMessage,
): { readonly stages: StageAddresses; readonly rank: number | undefined } | undefined {
  const [prefill, encode, named, source] = STAGE_HEADERS.map((name) => String(headers[name] ?? ""));
  const listed = parseStages([prefill!, encode!, "", source!], (address) =>
    context.isListed(address),
  );
  const rank = named === "" ? undefined : rankOf(context, named!);
  if (listed === undefined || (named !== "" && rank === undefined)) return undefined;
  const stages = withoutOneself(context, rank ?? portRank, listed);
  if (!context.samplesPrefillers) return { stages, rank };
  const { prefillers } = stages;
  const from = Math.floor(Math.random() * prefillers.length);
  const rotated = [...prefillers.slice(from), ...prefillers.slice(0, from)];
  return { stages: { ...stages, prefillers: rotated }, rank };
}

/** The engine that decodes needs nothing from itself. Others know it by the pod's address, this one as local. */
function withoutOneself(
  { ownHosts, basePort, modelServerPort }: SidecarContext,
  rank: number,
  stages: StageAddresses,
): StageAddresses {
  const ports = new Set([basePort + rank, modelServerPort + rank].map(String));
  const isOwn = (address: string) =>
    ownHosts.has(hostOf(address)) && ports.has(address.slice(address.lastIndexOf(":") + 1));
  const { prefillers, kvSource } = stages;
  return {
    ...stages,
    prefillers: prefillers.filter((address) => !isOwn(address)),
    kvSource: kvSource === undefined || isOwn(kvSource) ? undefined : kvSource,
  };
}

/** The rank that an address of this host names by its port. */
function rankOf({ basePort, engines }: SidecarContext, address: string): number | undefined {
  if (address.length > PROTOCOL_LIMITS.labelCharsMax) return undefined;
  const rank = Number(/:([0-9]{1,5})$/.exec(address)?.[1] ?? Number.NaN) - basePort;
  return rank >= 0 && rank < engines.length ? rank : undefined;
}

function refuseIt(context: SidecarContext, response: ServerResponse, code: RefusalCode): void {
  // What is left of the body is not read.
  response.shouldKeepAlive = false;
  refuse(response, code);
  context.registry.inc(METRIC.relayRequestsTotal, { outcome: code });
}
