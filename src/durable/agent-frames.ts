// Bytes from an agent to checked wire values, with the state one connection needs for it: the
// sequence, the last membership, and the last complete row of every endpoint.

import {
  decodeHeader,
  decodeMetrics,
  FRAME,
  type FrameError,
  framePayload,
  type MetricsRow,
} from "../agents/protocol/codec.ts";
import { decodeKv, type KvSection } from "../agents/protocol/kv-frames.ts";
import { PROTOCOL_LIMITS } from "../agents/protocol/limits.ts";
import {
  type EndpointRecord,
  type Hello,
  helloSchema,
  kvOfferSchema,
  type Mark,
  marksSchema,
  membershipSchema,
  modelsSchema,
  numberedReportsSchema,
  type StartedTicket,
  startedSchema,
  type TicketReport,
  ticketReportsSchema,
} from "../agents/protocol/messages.ts";
import { arePlainReports } from "../agents/protocol/plain-reports.ts";
import { type ResourcesPayload, resourcesSchema } from "../agents/protocol/resources.ts";
import { ROW_FIELDS } from "../agents/protocol/metrics-specification.ts";
import { SINCE_VERSION } from "../agents/protocol/version.ts";
import type { AdapterSample } from "../scheduler/model/adapters.ts";
import type { z } from "zod";

/** A row with every field the agent has ever sent of this endpoint on this connection. */
export interface CompleteRow {
  readonly endpoint: EndpointRecord;
  readonly row: MetricsRow;
  /** values[i] is ROW_FIELDS[i], and behind them scalars[i]; NaN while unknown. */
  readonly values: Float64Array;
  /** Attribute keys, as the agent's membership named them. */
  readonly scalars: readonly string[];
}

/** What one endpoint serves. */
export interface ServedModels {
  readonly endpoint: EndpointRecord;
  /** Undefined where the engine has not named an adapter. */
  readonly lora: AdapterSample | undefined;
  readonly models: readonly string[] | undefined;
}

/** Where a frame's reports stand among all of the agent's epoch. */
export interface ReportNumbers {
  /** The lowest number the agent still holds. */
  readonly oldest: number;
  /** The number of the frame's first report. */
  readonly first: number;
}

export interface TicketsFrame {
  readonly kind: "tickets";
  readonly reports: readonly TicketReport[];
  readonly seq: number;
  /** null: of a version that does not number its reports. */
  readonly numbers: ReportNumbers | null;
}

/** The endpoints whose KV caches a collector follows. */
export interface OfferedEndpoints {
  readonly whole: readonly EndpointRecord[];
  readonly partial: readonly EndpointRecord[];
}

export type AgentFrame =
  | { readonly kind: "membership"; readonly endpoints: readonly EndpointRecord[] }
  | { readonly kind: "metrics"; readonly rows: readonly CompleteRow[] }
  | TicketsFrame
  | { readonly kind: "marks"; readonly marks: readonly Mark[] }
  | { readonly kind: "models"; readonly served: readonly ServedModels[] }
  | { readonly kind: "started"; readonly tickets: readonly StartedTicket[] }
  | { readonly kind: "kv"; readonly sections: readonly KvSection[] }
  | { readonly kind: "kv-offer"; readonly offer: OfferedEndpoints }
  | { readonly kind: "resources"; readonly resources: ResourcesPayload }
  /** Nothing to apply: already seen, or metrics of endpoints that are not known (any more). */
  | { readonly kind: "ignored"; readonly why: "replayed" | "early" };

export type FrameOutcome =
  | { readonly ok: true; readonly frame: AgentFrame; readonly isAfterGap: boolean }
  | { readonly ok: false; readonly error: FrameError };

/** Why a hello is not one; for the agent's log. */
export type ParsedHello =
  | { readonly ok: true; readonly hello: Hello }
  | {
      readonly ok: false;
      readonly code: "bad-hello" | "unsupported-version";
      readonly message: string;
    };

export function parseHello(text: string, versions: string): ParsedHello {
  const json = parseJson(text);
  const parsed = helloSchema.safeParse(json);
  if (parsed.success) return { ok: true, hello: parsed.data };
  const [issue] = parsed.error.issues;
  const path = issue!.path.join(".");
  if (path === "v") {
    return { ok: false, code: "unsupported-version", message: `this object speaks ${versions}` };
  }
  return { ok: false, code: "bad-hello", message: `${path || "hello"}: ${issue!.message}` };
}

export class AgentFrames {
  readonly #version: number;
  /** Unknown at first: the object may have lost its memory while the socket survived. */
  #lastSeq: number | undefined;
  #endpoints: readonly EndpointRecord[] | undefined;
  #scalars: readonly string[] = [];
  /** By row index of the membership. */
  #values: Float64Array[] = [];

  /** `version` is what the welcome agreed to: frames of another one are refused. */
  constructor(version: number) {
    this.#version = version;
  }

  /** Of the last frame that was not a replayed one; 0 before. */
  get lastSeq(): number {
    return this.#lastSeq ?? 0;
  }

  /**
   * Decodes the next frame. A replayed frame is ignored. After a gap (`isAfterGap`) metrics are
   * ignored until a membership comes, since rows are differences. Ticket reports and marks are
   * taken in any case: reports have numbers of their own, or are idempotent in version 1.
   */
  decode(bytes: Uint8Array): FrameOutcome {
    const header = decodeHeader(bytes);
    if (!header.ok) return header;
    const { type, version, seq } = header.value;
    if (version !== this.#version) return { ok: false, error: "unsupported-version" };
    if (this.#lastSeq !== undefined && seq <= this.#lastSeq) {
      return accepted({ kind: "ignored", why: "replayed" }, false);
    }
    const isAfterGap = this.#lastSeq !== undefined && seq > this.#lastSeq + 1;
    if (isAfterGap) this.#endpoints = undefined;
    this.#lastSeq = seq;
    const payload = framePayload(bytes);
    switch (type) {
      case FRAME.membership: {
        const parsed = parsePayload(membershipSchema, payload);
        if (parsed === undefined) return { ok: false, error: "bad-payload" };
        this.#listed(parsed.endpoints, parsed.scalars ?? []);
        return accepted({ kind: "membership", endpoints: parsed.endpoints }, isAfterGap);
      }
      case FRAME.metrics:
        return this.#decodeMetrics(payload, isAfterGap);
      case FRAME.tickets: {
        const tickets = this.#parseTickets(payload);
        if (tickets === undefined) return { ok: false, error: "bad-payload" };
        return accepted({ kind: "tickets", seq, ...tickets }, isAfterGap);
      }
      case FRAME.marks: {
        const parsed = parsePayload(marksSchema, payload);
        if (parsed === undefined) return { ok: false, error: "bad-payload" };
        return accepted({ kind: "marks", marks: parsed.marks }, isAfterGap);
      }
      case FRAME.models:
        return this.#decodeModels(payload, isAfterGap);
      case FRAME.started: {
        const parsed = parsePayload(startedSchema, payload);
        if (parsed === undefined) return { ok: false, error: "bad-payload" };
        return accepted({ kind: "started", tickets: parsed.tickets }, isAfterGap);
      }
      case FRAME.kv: {
        const decoded = decodeKv(payload);
        if (!decoded.ok) return decoded;
        return accepted({ kind: "kv", sections: decoded.value }, isAfterGap);
      }
      case FRAME.kvOffer:
        return this.#decodeOffer(payload, isAfterGap);
      case FRAME.resources:
        return decodeResources(payload, isAfterGap);
    }
  }

  #listed(endpoints: readonly EndpointRecord[], scalars: readonly string[]): void {
    this.#endpoints = endpoints;
    this.#scalars = scalars;
    const fieldCount = ROW_FIELDS.length + scalars.length;
    this.#values = endpoints.map(() => new Float64Array(fieldCount).fill(Number.NaN));
  }

  #parseTickets(
    payload: Uint8Array,
  ): { reports: TicketReport[]; numbers: ReportNumbers | null } | undefined {
    if (this.#version < SINCE_VERSION.numberedReports) {
      const parsed = parsePayload(ticketReportsSchema, payload);
      return parsed === undefined ? undefined : { ...parsed, numbers: null };
    }
    const json = readJson(payload);
    const parsed = arePlainReports(json) ? json : numberedReportsSchema.safeParse(json).data;
    if (parsed === undefined) return undefined;
    const { reports, oldest, first } = parsed;
    return { reports, numbers: { oldest, first } };
  }

  #decodeMetrics(payload: Uint8Array, isAfterGap: boolean): FrameOutcome {
    const decoded = decodeMetrics(payload);
    if (!decoded.ok) return decoded;
    const endpoints = this.#endpoints;
    if (endpoints === undefined) return accepted({ kind: "ignored", why: "early" }, isAfterGap);
    const rows: CompleteRow[] = [];
    for (const row of decoded.value) {
      const endpoint = endpoints[row.endpoint];
      const values = this.#values[row.endpoint];
      if (endpoint === undefined || values === undefined || row.mask >= 1 << values.length) {
        return { ok: false, error: "bad-payload" };
      }
      let at = 0;
      for (let field = 0; field < values.length; field++) {
        if ((row.mask & (1 << field)) !== 0) values[field] = row.values[at++]!;
      }
      rows.push({ endpoint, row, values, scalars: this.#scalars });
    }
    return accepted({ kind: "metrics", rows }, isAfterGap);
  }

  #decodeOffer(payload: Uint8Array, isAfterGap: boolean): FrameOutcome {
    const parsed = parsePayload(kvOfferSchema, payload);
    if (parsed === undefined) return { ok: false, error: "bad-payload" };
    const endpoints = this.#endpoints;
    if (endpoints === undefined) return accepted({ kind: "ignored", why: "early" }, isAfterGap);
    const isKnown = (index: number) => index < endpoints.length;
    if (![...parsed.whole, ...parsed.partial].every(isKnown)) {
      return { ok: false, error: "bad-payload" };
    }
    const offer = {
      whole: parsed.whole.map((index) => endpoints[index]!),
      partial: parsed.partial.map((index) => endpoints[index]!),
    };
    return accepted({ kind: "kv-offer", offer }, isAfterGap);
  }

  #decodeModels(payload: Uint8Array, isAfterGap: boolean): FrameOutcome {
    const parsed = parsePayload(modelsSchema, payload);
    if (parsed === undefined) return { ok: false, error: "bad-payload" };
    const endpoints = this.#endpoints;
    if (endpoints === undefined) return accepted({ kind: "ignored", why: "early" }, isAfterGap);
    const namesOf = (indexes: readonly number[]) => indexes.map((index) => parsed.names[index]!);
    const served: ServedModels[] = [];
    for (const { endpoint: at, lora, models } of parsed.endpoints) {
      const endpoint = endpoints[at];
      if (endpoint === undefined) return { ok: false, error: "bad-payload" };
      served.push({
        endpoint,
        lora: lora && {
          active: namesOf(lora.active),
          waiting: namesOf(lora.waiting),
          maxActive: lora.max,
        },
        models: models && namesOf(models),
      });
    }
    return accepted({ kind: "models", served }, isAfterGap);
  }
}

function accepted(frame: AgentFrame, isAfterGap: boolean): FrameOutcome {
  return { ok: true, frame, isAfterGap };
}

/** Complete by itself: what it says holds after a gap, too. */
function decodeResources(payload: Uint8Array, isAfterGap: boolean): FrameOutcome {
  const isFitting = payload.byteLength <= PROTOCOL_LIMITS.resourcesBytesMax;
  const resources = isFitting ? parsePayload(resourcesSchema, payload) : undefined;
  if (resources === undefined) return { ok: false, error: "bad-payload" };
  return accepted({ kind: "resources", resources }, isAfterGap);
}

/** Undefined for anything that is not UTF-8, not JSON or not of the schema. */
function parsePayload<S extends z.ZodType>(
  schema: S,
  payload: Uint8Array,
): z.output<S> | undefined {
  return schema.safeParse(readJson(payload)).data;
}

const UTF_8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Undefined for anything that is not UTF-8 or not JSON. */
function readJson(payload: Uint8Array): unknown {
  try {
    return parseJson(UTF_8.decode(payload));
  } catch {
    // Not UTF-8.
    return undefined;
  }
}

function parseJson(text: string): unknown {
  if (text.length > PROTOCOL_LIMITS.frameBytesMax) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: no schema accepts undefined.
    return undefined;
  }
}
