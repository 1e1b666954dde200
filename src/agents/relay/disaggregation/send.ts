// Sends an admitted request to engines, split or whole.

import { randomUUID } from "node:crypto";
import { REQUEST_ID_HEADER, TRACEPARENT_HEADER } from "../../protocol/headers.ts";
import type { WalkLeg } from "../walk.ts";
import { walkInChunks } from "./chunked-walk.ts";
import type { StagedApi } from "./connector.ts";
import { coordinate, isSplit } from "./coordinator.ts";
import { rankHeaders } from "./data-parallel.ts";
import { encodeItems } from "./encode-items.ts";
import { apiOf } from "./staged-paths.ts";
import type { Phase, Split, SplitContext, SplitRequest, StageFacts } from "./split-request.ts";

/** Never met: whoever calls has looked at the path. */
const OTHER_API = "completions";

/** An admitted request as its engines are to get it. */
export interface SendRequest extends Omit<SplitRequest, "api" | "headers" | "decodeByMs"> {
  /** Of every leg. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface Sent extends Omit<Split, "end"> {
  /** To be called when the answer has ended, once. Undefined where nothing was to be split. */
  end(): Promise<StageFacts | undefined>;
}

/** Never rejects. */
export async function send(context: SplitContext, admitted: SendRequest): Promise<Sent> {
  // Legs that belong together are found by their id, also where the client sent none.
  const isJoint = isEncoded(context, admitted) || isSplit(admitted);
  const id = admitted.headers[REQUEST_ID_HEADER] ?? (isJoint ? randomUUID() : "");
  const { timeoutMs } = context.prefillPolicy;
  const decodeByMs = context.clock() + timeoutMs;
  // So that the ticket is known to be taken over while others work on the prompt.
  if (isJoint) admitted.onTry(admitted.destinations[0]!);
  const request = { ...admitted, body: await encoded(context, admitted, id) };
  const headersOf = (endpoint: string, phase?: Phase) => ({
    ...request.headers,
    ...rankHeaders(context.pools.get(endpoint)?.endpoint),
    ...(phase === undefined ? {} : { [TRACEPARENT_HEADER]: phase.traceparent }),
  });
  const api = apiOf(request.path) ?? OTHER_API;
  if (isSplit(request)) {
    const headers: SplitRequest["headers"] = (endpoint, phase) => ({
      ...headersOf(endpoint, phase),
      [REQUEST_ID_HEADER]: id,
    });
    return coordinate(context, { ...request, api, headers, decodeByMs });
  }
  const walked = await walkInChunks(context, {
    ...request,
    api,
    leg(endpoint) {
      const { body, headers } = wholeLeg(context, request, { endpoint, api });
      return { body, headers: { ...headersOf(endpoint), ...headers } };
    },
  });
  return {
    walked,
    cachedTokens: undefined,
    onFirstByte: () => undefined,
    end: () => Promise.resolve(undefined),
  };
}

/** Whether encoders are asked before anybody else. */
function isEncoded({ encodeConnector }: SplitContext, { stages }: SendRequest): boolean {
  return encodeConnector !== undefined && stages.encoders.length > 0;
}

/** The request's body, with what encoders have made of its items where it was to be encoded apart. */
function encoded(
  context: SplitContext,
  request: SendRequest,
  requestId: string,
): Uint8Array | Promise<Uint8Array> {
  const { encodeConnector, pools, prefillPolicy } = context;
  const { encoders } = request.stages;
  if (encodeConnector === undefined || encoders.length === 0) return request.body;
  return encodeItems(
    { ...context, encodeConnector },
    {
      api: apiOf(request.path) ?? OTHER_API,
      body: request.body,
      encoders,
      requestId,
      timeoutMs: prefillPolicy.timeoutMs,
      signal: request.signal,
      headers: (endpoint) => ({
        ...request.headers,
        ...rankHeaders(pools.get(endpoint)?.endpoint),
      }),
    },
  );
}

/** What a decoder is sent that prefills for itself; it may copy blocks from an endpoint that has some. */
function wholeLeg(
  { pools, connectors }: SplitContext,
  { body, stages }: SendRequest,
  { endpoint, api }: { endpoint: string; api: StagedApi },
): WalkLeg {
  const { kvSource } = stages;
  const pool = pools.get(endpoint);
  const source = kvSource === undefined ? undefined : pools.get(kvSource);
  const connector = pool === undefined ? undefined : connectors.of(pool.endpoint);
  const isShared = source !== undefined && connectors.of(source.endpoint) === connector;
  if (kvSource === undefined || !isShared) return { body, headers: {} };
  const pull = { decoder: endpoint, kvSource, transferId: randomUUID() };
  return connector?.pull?.({ api, body }, pull) ?? { body, headers: {} };
}
