// A deployment's pools as a table for a terminal.

import { printable } from "../printable.ts";
import { type Column, renderTable } from "../text-table.ts";
import type { ShownPool } from "./answer.ts";

/** Models that are named of one pool; of others only their number. */
const MODELS_SHOWN_MAX = 3;
const UNKNOWN = "-";

/** Ends with a line break. */
export function renderPools(pools: readonly ShownPool[]): string {
  if (pools.length === 0) return "No pools are configured.\n";
  const isAnySharded = pools.some(({ shards = 1 }) => shards > 1);
  const columns = isAnySharded ? COLUMNS : COLUMNS.filter((column) => column !== SHARDS);
  return printable(`${renderTable(columns, pools).join("\n")}\n`);
}

/** Only shown where a pool has several. */
const SHARDS: Column<ShownPool> = {
  heading: "objects",
  align: "right",
  cell: ({ shards = 1 }) => String(shards),
};

const COLUMNS: readonly Column<ShownPool>[] = [
  { heading: "pool", align: "left", cell: ({ pool }) => pool },
  { heading: "state", align: "left", cell: ({ state }) => state },
  { heading: "tier", align: "right", cell: ({ failoverTier }) => String(failoverTier) },
  { heading: "heard", align: "right", cell: ({ ageMs }) => describeAge(ageMs ?? undefined) },
  number("load seen", loadAge, describeAge),
  number("endpoints", (pool) => pool.summary?.membership, describeEndpoints),
  number(
    "full",
    (pool) => pool.summary?.load?.saturation,
    (full) => `${Math.round(full * 100)} %`,
  ),
  number(
    "wait",
    (pool) => pool.summary?.load?.waitMs,
    (waitMs) => `${Math.round(waitMs)} ms`,
  ),
  number("queued", (pool) => pool.summary?.load?.queued, String),
  number("in flight", (pool) => pool.summary?.load?.inFlightRequests, String),
  SHARDS,
  { heading: "region", align: "left", cell: describeRegion },
  { heading: "models", align: "left", cell: describeModels },
];

/** A column of what is not known of every pool. */
function number<Value>(
  heading: string,
  read: (pool: ShownPool) => Value | undefined,
  describe: (value: Value) => string,
): Column<ShownPool> {
  const cell = (pool: ShownPool) => {
    const value = read(pool);
    return value === undefined ? UNKNOWN : describe(value);
  };
  return { heading, align: "right", cell };
}

/** Ages in a summary are those of when it was sent. */
function loadAge({ ageMs, summary }: ShownPool): number | undefined {
  return summary?.load === undefined ? undefined : (ageMs ?? 0) + summary.load.ageMs;
}

function describeAge(ageMs: number | undefined): string {
  return ageMs === undefined ? "never" : `${(ageMs / 1_000).toFixed(1)} s`;
}

/** Those that requests can be sent to, of all. */
function describeEndpoints({ usable, endpoints }: { usable: number; endpoints: number }): string {
  return `${usable}/${endpoints}`;
}

function describeRegion({ region, jurisdiction }: ShownPool): string {
  return jurisdiction === undefined ? region : `${region} (${jurisdiction})`;
}

function describeModels({ models }: ShownPool): string {
  const rest = models.length - MODELS_SHOWN_MAX;
  const shown = models.slice(0, MODELS_SHOWN_MAX).join(", ");
  return rest > 0 ? `${shown} and ${rest} more` : shown;
}
