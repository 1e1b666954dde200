// Where a request was decided, as a sentence: at the edge, or by the pool's object, because of what, and in
// which numbers.

import type { WhereReason } from "../../scheduler/edge/contracts.ts";
import type { ExplainedWhere } from "../../scheduler/decisions/document.ts";

const BECAUSE: Readonly<Record<WhereReason, string>> = {
  "nothing-to-gain": "asking could have saved less than it takes",
  "asked-meanwhile": "it was sent at once, and asked about on its way",
  "forced-local": "the configuration says so",
  "object-away": "the pool's object did not answer",
  "forced-consult": "the configuration says so",
  near: "it is near",
  "no-snapshot": "the edge knew nothing of the pool",
  stale: "what the edge knew was old",
  "no-credit": "the edge's credit was used up",
  held: "others waited",
  full: "the pool was full",
  "cache-elsewhere": "others may have had more of the prompt than the edge knew of",
  "not-local": "its configuration has plugins that work there only",
};

/** e.g. `decided at the edge, because …: round trip 40 ms, snapshot 120 ms old, …` */
export function describeWhere(decided: ExplainedWhere): string {
  const place = decided.where === "local" ? "at the edge" : "by the pool's object";
  // One of a newer release says so itself.
  const because = BECAUSE[decided.reason as WhereReason] ?? decided.reason;
  const { rttMs, snapshotAgeMs, saturation, knownTokens, possibleTokens, gainMs } = decided;
  // Without a snapshot the numbers of the pool stand for nothing.
  const ofSnapshot =
    snapshotAgeMs === null
      ? ["no snapshot"]
      : [
          `snapshot ${milliseconds(snapshotAgeMs)} old`,
          `credit ${count(decided.credit)}`,
          `saturation ${saturation?.toFixed(2) ?? "-"}`,
          `cached ${count(knownTokens)} known, ${count(possibleTokens)} possible`,
          `gain ${milliseconds(gainMs)}`,
        ];
  const terms = [`round trip ${milliseconds(rttMs)}`, ...ofSnapshot];
  return `decided ${place}, because ${because}: ${terms.join(", ")}`;
}

function milliseconds(value: number | null): string {
  if (value === null) return "unknown";
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

function count(tokens: number | null): string {
  return tokens === null ? "-" : `${Math.round(tokens)}`;
}
