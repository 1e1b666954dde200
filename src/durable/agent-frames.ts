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
  membershipSchema,
  type TicketReport,
  ticketReportsSchema,
} from "../agents/protocol/messages.ts";
import type { z } from "zod";
import { ENGINE_METRICS } from "./engine-metrics.ts";

/** A row with every field the agent has ever sent of this endpoint on this connection. */
export interface CompleteRow {
  readonly endpoint: EndpointRecord;
  readonly row: MetricsRow;
  /** values[i] is ENGINE_METRICS[i]; NaN while unknown. */
  readonly values: Float64Array;
}

type AgentFrame =
  | { readonly kind: "membership"; readonly endpoints: readonly EndpointRecord[] }
  | { readonly kind: "metrics"; readonly rows: readonly CompleteRow[] }
  | { readonly kind: "tickets"; readonly reports: readonly TicketReport[]; readonly seq: number }
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
  /** Unknown at first: the object may have lost its memory while the socket survived. */
  #lastSeq: number | undefined;
  #endpoints: readonly EndpointRecord[] | undefined;
  /** By row index of the membership. */
  #values: Float64Array[] = [];

  /**
   * Decodes the next frame. A replayed frame is ignored. After a gap (`isAfterGap`) metrics are
   * ignored until a membership comes, since rows are differences; ticket reports are idempotent
   * and are taken in any case.
   */
  decode(bytes: Uint8Array): FrameOutcome {
    const header = decodeHeader(bytes);
    if (!header.ok) return header;
    const { type, seq } = header.value;
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
        const parsed = parsePayload(ticketReportsSchema, payload);
        if (parsed === undefined) return { ok: false, error: "bad-payload" };
        return accepted({ kind: "tickets", reports: parsed.reports, seq }, isAfterGap);
      }
    }
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
