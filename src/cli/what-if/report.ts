// A comparison as text for a terminal.

import type { BeforeAndAfter, Disagreement } from "../../scheduler/what-if/report.ts";
import { describeShards } from "../answered-shards.ts";
import { describeSeconds } from "../duration.ts";
import { type Column, renderTable } from "../text-table.ts";
import type { PoolComparison } from "./compare.ts";

const HEADINGS = {
  better: "better",
  equal: "as good",
  worse: "worse",
  unknown: "cannot be told",
} as const;

export function renderComparison(comparison: PoolComparison): string {
  const { pool, verdict, reasons, decisions, disagreements } = comparison;
  const lines = [
    `Pool ${pool}: ${HEADINGS[verdict]}`,
    ...reasons.map((reason) => `  ${reason}`),
    `  ${describeReach(comparison)}`,
  ];
  if (decisions > 0) {
    const share = ((100 * disagreements) / decisions).toFixed(1);
    lines.push(
      `  ${count(decisions, "decision")}, of which ${disagreements} (${share}%) would go elsewhere`,
      "",
      ...renderTable(FIGURE_COLUMNS, figuresOf(comparison)),
      "",
      `  ${describeCalibration(comparison)}`,
    );
  }
  if (comparison.examples.length > 0)
    lines.push("", "Decisions that differ", ...renderTable(EXAMPLE_COLUMNS, comparison.examples));
  const notes = comparison.notes.map(({ text, decisions: count }) => `  ${count} × ${text}`);
  if (notes.length > 0) lines.push("", "What the records cannot know", ...notes);
  return `${lines.join("\n")}\n`;
}

function describeReach(comparison: PoolComparison): string {
  const { oldestAtMs, newestAtMs, configVersions, isCutShort, shards } = comparison;
  const { recordsSinceMs, edgeSinceMs, unreadable, unrecorded } = comparison;
  const parts: string[] = [];
  if (oldestAtMs !== null && newestAtMs !== null) {
    const seconds = (newestAtMs - oldestAtMs) / 1_000;
    parts.push(`from ${new Date(oldestAtMs).toISOString()}, over ${describeSeconds(seconds)}`);
  }
  if (configVersions !== null)
    parts.push(`decided by ${describeVersions(configVersions)} of the configuration`);
  if (recordsSinceMs !== null)
    parts.push(`records reach back to ${new Date(recordsSinceMs).toISOString()}`);
  if (edgeSinceMs !== null)
    parts.push(`what is known of the edge to ${new Date(edgeSinceMs).toISOString()}`);
  if (shards !== undefined) parts.push(describeShards(shards));
  if (isCutShort) parts.push("the pool's object restarted meanwhile: older records are gone");
  if (unrecorded > 0)
    parts.push(
      `${count(unrecorded, "decision")} at the edge cannot be compared: the other candidates are not on record`,
    );
  if (unreadable > 0) parts.push(`${unreadable} more could not be taken again by this fairlead`);
  return parts.length === 0 ? "no decision is on record" : parts.join("; ");
}

function describeVersions({
  oldest,
  newest,
}: NonNullable<PoolComparison["configVersions"]>): string {
  return oldest === newest ? `version ${oldest}` : `versions ${oldest} to ${newest}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

interface Figure {
  readonly name: string;
  readonly before: string;
  readonly after: string;
}

function figuresOf(comparison: PoolComparison): Figure[] {
  const figure = (name: string, of: BeforeAndAfter, write: (value: number) => string): Figure => ({
    name,
    before: write(of.before),
    after: write(of.after),
  });
  const { promptTokens } = comparison;
  const milliseconds = (value: number) =>
    Number.isFinite(value) ? `${value.toFixed(0)} ms` : "refused";
  const hits = (tokens: number) =>
    promptTokens === 0 ? "-" : `${((100 * tokens) / promptTokens).toFixed(1)}%`;
  return [
    figure("predicted TTFT, median", comparison.ttftP50Ms, milliseconds),
    figure("predicted TTFT, 90th percentile", comparison.ttftP90Ms, milliseconds),
    figure("prompt tokens found in caches", comparison.hitTokens, hits),
    figure("busiest endpoint over the mean", comparison.imbalance, (value) => value.toFixed(2)),
    figure("refused", comparison.refused, String),
  ];
}

const FIGURE_COLUMNS: Column<Figure>[] = [
  { heading: "", align: "left", cell: ({ name }) => name },
  { heading: "recorded", align: "right", cell: ({ before }) => before },
  { heading: "other", align: "right", cell: ({ after }) => after },
];

const EXAMPLE_COLUMNS: Column<Disagreement>[] = [
  { heading: "request", align: "left", cell: ({ requestId }) => requestId },
  { heading: "recorded", align: "left", cell: ({ before }) => before ?? "refused" },
  { heading: "TTFT", align: "right", cell: ({ ttftMsBefore }) => roundOrDash(ttftMsBefore) },
  { heading: "other", align: "left", cell: ({ after }) => after ?? "refused" },
  { heading: "TTFT", align: "right", cell: ({ ttftMsAfter }) => roundOrDash(ttftMsAfter) },
];

function roundOrDash(value: number | null): string {
  return value === null ? "-" : value.toFixed(0);
}

function describeCalibration({ calibration }: PoolComparison): string {
  const { decisions, predictedP50Ms, measuredP50Ms, errorP50Ms } = calibration;
  if (decisions === 0)
    return "The prediction could not be checked: no time to first token is on record.";
  return (
    `The prediction, checked by ${count(decisions, "recorded request")}: median ${roundOrDash(predictedP50Ms)} ms ` +
    `predicted, ${roundOrDash(measuredP50Ms)} ms measured, off by ${roundOrDash(errorP50Ms)} ms in the median.`
  );
}
