// How figures are written: JSON rows, a table.

import type { Figures } from "./outcome.ts";

export interface Row extends Figures {
  readonly workload: string;
  readonly rate: number;
  readonly load: number;
  readonly policy: string;
}

/** The members in one order, seconds and shares to four digits. */
export function jsonRow(row: Row): string {
  const { workload, rate, load, policy, ...figures } = row;
  const rounded = Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [name, roundTo4(value)]),
  );
  return JSON.stringify({ workload, rate: roundTo4(rate), load, policy, ...rounded });
}

/** Null for what is infinite, as JSON has it: the request never got a token. */
function roundTo4(value: number): number | null {
  return Number.isFinite(value) ? Number(value.toPrecision(4)) : null;
}

const COLUMNS = [
  ["ttft p50", "ttft_p50", 3],
  ["p90", "ttft_p90", 3],
  ["p99", "ttft_p99", 3],
  ["tpot p50", "tpot_p50", 4],
  ["p90", "tpot_p90", 4],
  ["p99", "tpot_p99", 4],
  ["goodput/s", "goodput", 2],
  ["out tok/s", "output_tokens_s", 0],
  ["hit", "hit_rate", 3],
  ["imbalance", "imbalance", 2],
  ["shed", "shed", 3],
] as const satisfies readonly (readonly [string, keyof Figures, number])[];

const FIGURE_WIDTH = 10;

/** Times in seconds. */
export function table(rows: readonly Row[]): string {
  const nameWidth = Math.max(0, ...rows.map(({ policy }) => policy.length)) + 2;
  const lines: string[] = [];
  let group = "";
  for (const row of rows) {
    const title = `${row.workload}, ${row.rate.toFixed(2)} requests/s (${row.load.toFixed(2)} of saturation)`;
    if (title !== group) {
      group = title;
      const heads = COLUMNS.map(([head]) => head.padStart(FIGURE_WIDTH)).join("");
      lines.push("", title, `${"".padEnd(nameWidth)}${heads}`);
    }
    const figures = COLUMNS.map(([, name, digits]) =>
      row[name].toFixed(digits).padStart(FIGURE_WIDTH),
    );
    lines.push(`${row.policy.padEnd(nameWidth)}${figures.join("")}`);
  }
  return lines.join("\n").trimStart();
}
