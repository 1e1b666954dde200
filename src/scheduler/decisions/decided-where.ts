// Where a request was decided, at the edge or by the pool's object, and in which numbers. Told with the
// decision's record and kept beside the records: it is no part of the decision.
//
// With a pick it travels, and is kept, as a text:
//
//   consult near 0.4 120 50000 0.31 640 640 0     where reason, then NUMBERS in their order; - for none

import type { ConsultTerms } from "../edge/contracts.ts";
import type { ExplainedWhere } from "./document.ts";
import { KeptTexts } from "./kept-texts.ts";

/** The oldest go for new ones. A text has about 60 characters. */
export const DECIDED_WHERE_LIMITS = {
  textsMax: 4_096,
  charsMax: 512 * 1024,
  charsPerTextMax: 256,
} as const;

const NUMBERS = [
  "rttMs",
  "snapshotAgeMs",
  "credit",
  "saturation",
  "knownTokens",
  "possibleTokens",
  "gainMs",
] as const satisfies (keyof ConsultTerms)[];

export function encodeTerms(terms: ConsultTerms): string {
  let text = `${terms.where} ${terms.reason}`;
  for (const name of NUMBERS) text += ` ${shown(terms[name]) ?? "-"}`;
  return text;
}

/** To a hundredth: numbers are for people. A negative age is that of nothing; see decideWhere. */
function shown(value: number | undefined): number | null {
  const isThere = value !== undefined && Number.isFinite(value) && value >= 0;
  return isThere ? Math.round(value * 100) / 100 : null;
}

/** Of a decision that an isolate has told of. Terms of another release may have fewer numbers. */
export function localWhere({ reason, ...numbers }: Partial<ConsultTerms>): ExplainedWhere {
  return explained("local", reason ?? "", (name) => shown(numbers[name]));
}

/** The latest terms, by attempt. */
export class DecidedWhere {
  readonly #texts = new KeptTexts(DECIDED_WHERE_LIMITS);

  get size(): number {
    return this.#texts.size;
  }

  /** As encodeTerms writes them. */
  add(requestId: string, attempt: number, text: string): void {
    this.#texts.add(keyOf(requestId, attempt), text);
  }

  /** Undefined where none are kept, or the Worker was of a version that writes them otherwise. */
  find(requestId: string, attempt: number): ExplainedWhere | undefined {
    const text = this.#texts.find(keyOf(requestId, attempt));
    return text === undefined ? undefined : decodeTerms(text);
  }
}

function keyOf(requestId: string, attempt: number): string {
  return `${requestId}/${attempt}`;
}

function decodeTerms(text: string): ExplainedWhere | undefined {
  const [where, reason, ...numbers] = text.split(" ");
  if ((where !== "local" && where !== "consult") || reason === undefined) return undefined;
  const read = (name: (typeof NUMBERS)[number]): number | null => {
    const value = Number.parseFloat(numbers[NUMBERS.indexOf(name)] ?? "");
    return Number.isFinite(value) ? value : null;
  };
  return explained(where, reason, read);
}

function explained(
  where: ExplainedWhere["where"],
  reason: string,
  read: (name: (typeof NUMBERS)[number]) => number | null,
): ExplainedWhere {
  return {
    where,
    reason,
    rttMs: read("rttMs"),
    snapshotAgeMs: read("snapshotAgeMs"),
    credit: read("credit"),
    saturation: read("saturation"),
    knownTokens: read("knownTokens"),
    possibleTokens: read("possibleTokens"),
    gainMs: read("gainMs"),
  };
}
