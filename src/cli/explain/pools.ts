// The pools that came into question for a request, as text.

import type { ExplainedPool } from "../../scheduler/decisions/document.ts";
import { type Column, renderTable, termHeading } from "../text-table.ts";

/** Nothing where there was no choice. */
export function renderPools(pools: readonly ExplainedPool[] | undefined): string[] {
  if (pools === undefined || pools.length === 0) return [];
  const names = new Set(pools.flatMap(({ terms }) => Object.keys(terms)));
  const columns: Column<ExplainedPool>[] = [
    { heading: "pool", align: "left", cell: ({ pool }) => pool },
    { heading: "tier", align: "right", cell: ({ tier }) => String(tier) },
    { heading: "state", align: "left", cell: ({ state }) => state },
    ...[...names].map((name) => ({
      heading: termHeading(name),
      align: "right" as const,
      cell: ({ terms }: ExplainedPool) => milliseconds(terms[name]),
    })),
    { heading: "cost ms", align: "right", cell: ({ costMs }) => milliseconds(costMs) },
  ];
  return [
    "Pools it was chosen among, in the order to try them",
    ...renderTable(columns, pools),
    "",
  ];
}

function milliseconds(value: number | null | undefined): string {
  return value === null || value === undefined ? "-" : value.toFixed(1);
}
