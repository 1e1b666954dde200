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
import { PROTOCOL_LIMITS } from "../agents/protocol/limits.ts";
import {
  type EndpointRecord,
  type Hello,
  helloSchema,
  type Mark,
  marksSchema,
  membershipSchema,
  numberedReportsSchema,
  type TicketReport,
  ticketReportsSchema,
} from "../agents/protocol/messages.ts";
import { SINCE_VERSION } from "../agents/protocol/version.ts";
import type { z } from "zod";
import { ENGINE_METRICS } from "./engine-metrics.ts";

/** A row with every field the agent has ever sent of this endpoint on this connection. */
export interface CompleteRow {
  readonly endpoint: EndpointRecord;
  readonly row: MetricsRow;
  /** values[i] is ENGINE_METRICS[i]; NaN while unknown. */
  readonly values: Float64Array;
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

type AgentFrame =
  | { readonly kind: "membership"; readonly endpoints: readonly EndpointRecord[] }
  | { readonly kind: "metrics"; readonly rows: readonly CompleteRow[] }
  | TicketsFrame
  | { readonly kind: "marks"; readonly marks: readonly Mark[] }
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
  /** By row index of the membership. */
  #values: Float64Array[] = [];

  /** `version` is what the welcome agreed to: frames of another one are refused. */
  constructor(version: number) {
    this.#version = version;
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
        this.#endpoints = parsed.endpoints;
        this.#values = parsed.endpoints.map(() =>
          new Float64Array(ENGINE_METRICS.length).fill(NaN),
        );
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
    }
  }

  #parseTickets(
    payload: Uint8Array,
  ): { reports: TicketReport[]; numbers: ReportNumbers | null } | undefined {
    if (this.#version < SINCE_VERSION.numberedReports) {
      const parsed = parsePayload(ticketReportsSchema, payload);
      return parsed === undefined ? undefined : { ...parsed, numbers: null };
    }
    const parsed = parsePayload(numberedReportsSchema, payload);
    if (parsed === undefined) return undefined;
    const { reports, ...numbers } = parsed;
    return { reports, numbers };
  }

  #decodeMetrics(payload: Uint8Array, isAfterGap: boolean): FrameOutcome {
    const decoded = decodeMetrics(payload);
    if (!decoded.ok) return decoded;
    const endpoints = this.#endpoints;
    if (endpoints === undefined) return accepted({ kind: "ignored", why: "early" }, isAfterGap);
    const rows: CompleteRow[] = [];
    for (const row of decoded.value) {
      const endpoint = endpoints[row.endpoint];
      if (endpoint === undefined || row.mask >= 1 << ENGINE_METRICS.length) {
        return { ok: false, error: "bad-payload" };
      }
      const values = this.#values[row.endpoint]!;
      let at = 0;
      for (let field = 0; field < ENGINE_METRICS.length; field++) {
        if ((row.mask & (1 << field)) !== 0) values[field] = row.values[at++]!;
      }
      rows.push({ endpoint, row, values });
    }
    return accepted({ kind: "metrics", rows }, isAfterGap);
  }
}

function accepted(frame: AgentFrame, isAfterGap: boolean): FrameOutcome {
  return { ok: true, frame, isAfterGap };
}

/** Undefined for anything that is not UTF-8, not JSON or not of the schema. */
function parsePayload<S extends z.ZodType>(
  schema: S,
  payload: Uint8Array,
): z.output<S> | undefined {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload);
  } catch {
    // Not UTF-8.
    return undefined;
  }
  return schema.safeParse(parseJson(text)).data;
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
