// Where a session's earlier requests went, for session-affinity-filter and session-affinity-scorer.
//
//   encoded_endpoint_header   the client holds the answer: a token, base64 of `namespace/name`, that
//                             each answer carries and the next request brings back
//   session_id                the pool holds it: session → endpoint, for a time after the last request
//
// A session is bound where its first request goes. It moves only when its endpoint is not among the
// candidates that the plugin is shown; where another endpoint merely scores better it stays bound, as it
// does when the endpoint's engine starts anew: a token would, too.
//
// A token is not signed: whoever reads it knows the endpoint's name, and whoever writes one chooses among
// the candidates. docs/threat-model.md says what it would take to close that.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/util/sessionaffinity. llm-d keeps any
// number of sessions; here the session that was quiet for longest goes first. What is remembered is
// lost with the object and bound anew by the sessions' next requests.

import { z } from "zod";
import { isCandidate } from "./candidates.ts";
import { optionalHeaderName } from "./header-names.ts";
import type { DataNeed, PickContext, PluginEvents } from "./plugin.ts";
import type { Endpoint } from "./model/endpoint-table.ts";
import { requestHeader } from "./model/inference-request.ts";
import { encodeBase64 } from "./support/base64.ts";

/** Sessions one plugin remembers: about 10 MB at the longest ids that are taken. */
export const SESSIONS_MAX = 16_384;

const DEFAULT_TOKEN_HEADER = "x-session-token";
const DEFAULT_SESSION_HEADER = "x-session-id";

/** Request attributes that a session's id can be read from, and who produces each by default. */
const SESSION_ATTRIBUTES = {
  SessionIDDataKey: "session-id-producer",
  "agent-identity": "agent-identity",
} as const;

const source = z
  .strictObject({
    header: optionalHeaderName.default("").describe("Request header that holds the session's id"),
    attribute: z
      .enum(["", "SessionIDDataKey", "agent-identity"])
      .default("")
      .describe("Request attribute that holds it"),
    producer: z
      .string()
      .default("")
      .describe("The attribute's producer, where it has another name"),
  })
  .refine(({ header, attribute }) => (header === "") !== (attribute === ""), {
    error: "exactly one of header and attribute must be set",
  });

/** Parameters of both plugins. */
const sessionAffinityParams = z.strictObject({
  strategy: z
    .enum(["encoded_endpoint_header", "session_id"])
    .default("encoded_endpoint_header")
    .describe("Who remembers: the client in a header, or the pool by the session's id"),
  encodedEndpointHeaderConfig: z
    .strictObject({
      header: optionalHeaderName
        .default(DEFAULT_TOKEN_HEADER)
        .overwrite((name) => (name === "" ? DEFAULT_TOKEN_HEADER : name))
        .describe("Header of requests and answers that holds the token"),
    })
    .prefault({}),
  sessionIdConfig: z
    .strictObject({
      sources: z
        .array(source)
        .max(16)
        .default([])
        .overwrite((sources) => (sources.length === 0 ? [DEFAULT_SOURCE] : sources))
        .describe("Where the session's id is looked for, in order"),
      evictionTtlSeconds: z
        .number()
        .positive()
        .default(300)
        .describe("Seconds after its last request that a session is remembered"),
      evictionSweepSeconds: z
        .number()
        .positive()
        .default(10)
        .describe("Seconds between two rounds that forget old sessions"),
    })
    .prefault({}),
  profileName: z
    .string()
    .default("")
    .describe("Profile whose choice is remembered; the primary one where empty"),
});
export type SessionAffinityParams = z.output<typeof sessionAffinityParams>;

const DEFAULT_SOURCE = { header: DEFAULT_SESSION_HEADER, attribute: "", producer: "" } as const;

/** Headers of the request that the plugin reads. */
function sessionAffinityHeaders(params: SessionAffinityParams): string[] {
  if (params.strategy === "encoded_endpoint_header")
    return [params.encodedEndpointHeaderConfig.header];
  return params.sessionIdConfig.sources.flatMap(({ header }) => (header === "" ? [] : [header]));
}

/** Headers of the answer that it sets. */
function sessionAffinityAnswerHeaders(params: SessionAffinityParams): string[] {
  return params.strategy === "encoded_endpoint_header"
    ? [params.encodedEndpointHeaderConfig.header]
    : [];
}

function sessionAffinityProfiles({ profileName }: SessionAffinityParams) {
  const without = "no session is ever bound";
  return profileName === "" ? [] : [{ path: "profileName", name: profileName, without }];
}

/** Sentences for whoever configures the plugin. */
function sessionAffinityNotes(params: SessionAffinityParams): string[] {
  if (params.strategy !== "encoded_endpoint_header") return [];
  const { header } = params.encodedEndpointHeaderConfig;
  return [
    `Clients are told the names of endpoints by ${header}, and may choose one with it: the token is not ` +
      "signed. Where they must not, use the strategy session_id.",
  ];
}

/** A token is with its client, a session's id is not. */
function sessionAffinityNeedsObject({ strategy }: SessionAffinityParams): string | undefined {
  return strategy === "session_id" ? "remembers the pool's sessions" : undefined;
}

/** Data that the plugin reads. A missing one only makes a source say nothing, as in llm-d. */
function sessionAffinityNeeds(params: SessionAffinityParams): DataNeed[] {
  if (params.strategy === "encoded_endpoint_header") return [];
  return params.sessionIdConfig.sources.flatMap((each) =>
    each.attribute === ""
      ? []
      : [{ key: "session-id", producer: attributeProducer(each), isOptional: true } as const],
  );
}

function attributeProducer({ attribute, producer }: SessionSource): string {
  if (producer !== "" || attribute === "") return producer;
  return SESSION_ATTRIBUTES[attribute];
}

type SessionSource = z.output<typeof source>;

/** What the definitions of all plugins that keep to sessions have in common. */
export const sessionAffinityTraits = {
  params: sessionAffinityParams,
  consumes: sessionAffinityNeeds,
  requestHeaders: sessionAffinityHeaders,
  answerHeaders: sessionAffinityAnswerHeaders,
  profilesNamed: sessionAffinityProfiles,
  notes: sessionAffinityNotes,
  needsObject: sessionAffinityNeedsObject,
} as const;

/** What both strategies are to their plugin. */
export interface SessionAffinity {
  /** The candidate that the request's session is bound to; -1 where there is none. */
  boundSlot(context: PickContext): number;
  /** The plugin takes these over. Only a strategy that learns from picks has `onPicked`. */
  readonly events: PluginEvents;
}

export function createSessionAffinity(params: SessionAffinityParams): SessionAffinity {
  return params.strategy === "session_id"
    ? new SessionBindings(params)
    : new EncodedEndpointHeader(params);
}

class EncodedEndpointHeader implements SessionAffinity {
  readonly #header: string;
  readonly events: PluginEvents;

  constructor({ encodedEndpointHeaderConfig, profileName }: SessionAffinityParams) {
    this.#header = encodedEndpointHeaderConfig.header;
    const profile = profileName === "" ? null : profileName;
    this.events = { responseHeaders: [{ name: this.#header, profile, valueOf: tokenOf }] };
  }

  boundSlot({ request, pool, candidates, candidateCount }: PickContext): number {
    const token = requestHeader(request, this.#header)?.trim();
    if (token === undefined || token === "") return -1;
    for (let i = 0; i < candidateCount; i++) {
      const endpoint = pool.endpoint(candidates[i]!);
      if (endpoint !== undefined && tokenOf(endpoint) === token) return candidates[i]!;
    }
    return -1;
  }
}

/** By endpoint: encoding each candidate's id again would cost every decision. */
const tokens = new WeakMap<Endpoint, string>();

function tokenOf(endpoint: Endpoint): string {
  let token = tokens.get(endpoint);
  if (token === undefined) {
    token = encodeBase64(endpoint.id);
    tokens.set(endpoint, token);
  }
  return token;
}

interface Binding {
  readonly slot: number;
  /** A slot is reused: the binding holds only while the endpoint there is this one. */
  readonly endpointId: string;
  readonly usedAtMs: number;
}

class SessionBindings implements SessionAffinity {
  readonly events: PluginEvents = {
    onPicked: (context, slot) => this.#picked(context, slot),
    onEndpointRemoved: (slot) => this.#forget(slot),
  };
  readonly #sources: readonly SessionSource[];
  readonly #profile: string;
  readonly #ttlMs: number;
  readonly #sweepMs: number;
  /** In the order of their last use, oldest first. Keys name the tenant: ids are the clients' choice. */
  readonly #bySession = new Map<string, Binding>();
  #sweptAtMs = 0;
  /** The request that boundSlot was last asked about, and whether its bound endpoint was a candidate. */
  #askedRequest = "";
  #isBoundCandidate = false;

  constructor({ sessionIdConfig, profileName }: SessionAffinityParams) {
    this.#sources = sessionIdConfig.sources;
    this.#profile = profileName;
    this.#ttlMs = sessionIdConfig.evictionTtlSeconds * 1_000;
    this.#sweepMs = sessionIdConfig.evictionSweepSeconds * 1_000;
  }

  boundSlot(context: PickContext): number {
    const session = this.#sessionOf(context);
    const slot = session === undefined ? -1 : this.#lookUp(context, session);
    const isBound = slot >= 0 && isCandidate(context, slot);
    if (this.#askedRequest !== context.request.requestId) this.#isBoundCandidate = false;
    this.#askedRequest = context.request.requestId;
    this.#isBoundCandidate ||= isBound;
    return isBound ? slot : -1;
  }

  #picked(context: PickContext, primary: number): void {
    const wasAsked = this.#askedRequest === context.request.requestId;
    const mayStay = !wasAsked || this.#isBoundCandidate;
    this.#askedRequest = "";
    this.#sweep(context.nowMs);
    const session = this.#sessionOf(context);
    const slot = this.#profile === "" ? primary : context.results.slotOf(this.#profile);
    if (session === undefined || slot === undefined || slot < 0) return;
    const bound = this.#lookUp(context, session);
    if (bound >= 0 && bound !== slot && mayStay) return;
    this.#bind(session, slot, context);
  }

  #forget(slot: number): void {
    for (const [session, binding] of this.#bySession)
      if (binding.slot === slot) this.#bySession.delete(session);
  }

  #sessionOf(context: PickContext): string | undefined {
    for (const each of this.#sources) {
      const id =
        each.header === ""
          ? context.data.get("session-id", attributeProducer(each))?.value
          : requestHeader(context.request, each.header);
      const session = id?.trim();
      if (session !== undefined && session !== "") return `${context.request.tenant}\n${session}`;
    }
    return undefined;
  }

  #lookUp({ pool, nowMs }: PickContext, session: string): number {
    const binding = this.#bySession.get(session);
    if (binding === undefined || nowMs - binding.usedAtMs > this.#ttlMs) return -1;
    return pool.endpoint(binding.slot)?.id === binding.endpointId ? binding.slot : -1;
  }

  #bind(session: string, slot: number, { pool, nowMs }: PickContext): void {
    const endpoint = pool.endpoint(slot);
    if (endpoint === undefined) return;
    this.#bySession.delete(session);
    if (this.#bySession.size >= SESSIONS_MAX) {
      const [oldest] = this.#bySession.keys();
      this.#bySession.delete(oldest!);
    }
    this.#bySession.set(session, { slot, endpointId: endpoint.id, usedAtMs: nowMs });
  }

  /** Costs the sessions it forgets and one more. */
  #sweep(nowMs: number): void {
    if (nowMs - this.#sweptAtMs < this.#sweepMs) return;
    this.#sweptAtMs = nowMs;
    for (const [session, { usedAtMs }] of this.#bySession) {
      if (nowMs - usedAtMs <= this.#ttlMs) return;
      this.#bySession.delete(session);
    }
  }
}
