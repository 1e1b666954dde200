// What waits in a pool as text for a terminal: the pool, its bands, and the flows of each band.

import { type AnsweredShards, describeShards } from "../answered-shards.ts";
import { describeSeconds } from "../duration.ts";
import { shortId } from "../explain/table.ts";
import { type Column, renderTable } from "../text-table.ts";
import { printable } from "../printable.ts";
import type { ShownBand, ShownFlow, ShownQueue } from "./answer.ts";

export interface QueueView {
  readonly pool: string;
  readonly queue: ShownQueue;
  readonly shards?: AnsweredShards | undefined;
  readonly at: Date;
}

/** Ends with a line break. */
export function renderQueue({ pool, queue, shards, at }: QueueView): string {
  const lines = [
    `Pool ${pool} at ${at.toISOString().slice(11, 19)} UTC: ${describeFullness(queue)}`,
    `  waiting ${describeSize(queue)}; ${queue.openWaits} as open calls, ${queue.places} with a numbered place`,
    `  ${queue.inFlight} let through and not ended`,
  ];
  if (shards !== undefined) lines.push(`  ${describeShards(shards)}`);
  if (queue.staleEndpoints > 0)
    lines.push(
      `  ${queue.staleEndpoints} endpoints count as full: nobody has heard of them lately`,
    );
  lines.push("", ...renderTable(BAND_COLUMNS, queue.bands));
  for (const band of queue.bands) {
    const dropped = Object.entries(band.dropped).filter(([, count]) => count > 0);
    if (dropped.length === 0) continue;
    const reasons = dropped.map(([reason, count]) => `${count} ${reason}`);
    lines.push(`  dropped from band ${band.priority}: ${reasons.join(", ")}`);
  }
  for (const band of queue.bands) lines.push(...renderFlows(band));
  return `${lines.map(printable).join("\n")}\n`;
}

function renderFlows(band: ShownBand): string[] {
  if (band.flows.length === 0) return [];
  const servedTokens = band.flows.reduce((sum, { tokensLately }) => sum + tokensLately, 0);
  return [
    "",
    `Flows of band ${band.priority}`,
    ...renderTable(flowColumns(servedTokens), band.flows),
  ];
}

function describeFullness({ saturation, hasEndpoints }: ShownQueue): string {
  if (!hasEndpoints) return "no endpoints";
  if (saturation === null) return "full, with no room at all";
  return `saturation ${saturation.toFixed(2)}${saturation >= 1 ? ", full" : ""}`;
}

/** What waits, each over its limit where it has one. */
function describeSize({ waiting, limits }: ShownQueue): string {
  const parts = [
    `${over(waiting.requests, limits.requests, String)} requests`,
    over(waiting.bytes, limits.bytes, describeBytes),
    `${over(waiting.tokens, limits.tokens, describeCount)} tokens`,
  ];
  return parts.join(", ");
}

function over(value: number, limit: number | undefined, describe: (n: number) => string): string {
  return limit === undefined ? describe(value) : `${describe(value)} of ${describe(limit)}`;
}

function number<Row>(heading: string, cell: Column<Row>["cell"]): Column<Row> {
  return { heading, align: "right", cell };
}

const BAND_COLUMNS: readonly Column<ShownBand>[] = [
  number("priority", ({ priority }) => String(priority)),
  number("ceiling", ({ ceiling }) => ceiling?.toFixed(2) ?? "-"),
  number("waiting", ({ waiting }) => String(waiting.requests)),
  number("limit", ({ limits }) => orNone(limits.requests, String)),
  number("bytes", ({ waiting }) => describeBytes(waiting.bytes)),
  number("limit", ({ limits }) => orNone(limits.bytes, describeBytes)),
  number("oldest", ({ waiting, oldestWaitMs }) =>
    waiting.requests === 0 ? "-" : describeMs(oldestWaitMs),
  ),
  number("drained a second", ({ drainPerSecond }) => drainPerSecond?.toFixed(1) ?? "-"),
  number("let through", ({ dispatched }) => describeCount(dispatched)),
  number("mean wait", ({ waitSumMs, dispatched }) =>
    dispatched === 0 ? "-" : describeMs(waitSumMs / dispatched),
  ),
  number("max wait", ({ waitMaxMs, dispatched }) =>
    dispatched === 0 ? "-" : describeMs(waitMaxMs),
  ),
  number("Jain", ({ jainIndex }) => jainIndex.toFixed(3)),
  number("flows", ({ flowCount }) => String(flowCount)),
];

function flowColumns(servedTokens: number): Column<ShownFlow>[] {
  return [
    { heading: "flow", align: "left", cell: ({ fairnessId }) => shortId(fairnessId) },
    number("weight", ({ weight }) => String(Number(weight.toFixed(2)))),
    number("waiting", ({ waiting }) => String(waiting)),
    number("in flight", ({ inFlight }) => String(inFlight)),
    number("let through", ({ dispatched }) => describeCount(dispatched)),
    number("mean wait", ({ meanWaitMs, dispatched }) =>
      dispatched === 0 ? "-" : describeMs(meanWaitMs),
    ),
    number("tokens lately", ({ tokensLately }) => describeCount(tokensLately)),
    number("share", ({ tokensLately }) =>
      servedTokens === 0 ? "-" : `${((100 * tokensLately) / servedTokens).toFixed(1)}%`,
    ),
  ];
}

function orNone(limit: number | undefined, describe: (n: number) => string): string {
  return limit === undefined ? "-" : describe(limit);
}

/** e.g. `12 ms`, `1.5 s`, `3 min`. */
function describeMs(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  return ms < 100_000 ? `${(ms / 1_000).toFixed(1)} s` : describeSeconds(ms / 1_000);
}

/** e.g. `950`, `12.3k`, `4.5M`. */
function describeCount(count: number): string {
  if (count < 10_000) return String(Math.round(count));
  return count < 1_000_000 ? `${(count / 1_000).toFixed(1)}k` : `${(count / 1e6).toFixed(1)}M`;
}

/** e.g. `950 B`, `12.3 kB`, `1.0 GB`. */
function describeBytes(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
