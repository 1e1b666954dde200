// A decision as text for a terminal: what was seen of each candidate, how it was scored, why it lost.

import { explanationSchema } from "../../scheduler/decisions/explain.ts";
import type { ExplainedAttempt, ExplainedCandidate } from "../../scheduler/decisions/explain.ts";
import { CliError } from "../cli-error.ts";

/** Headings are broken at hyphens into lines of about this length; the weight has its own. */
const HEADING_CHARS_MAX = 9;
/** Longer ids are cut in the middle, so that the table stays a table. */
const ID_CHARS_MAX = 32;

/** Of a table with a line for each `Row`. */
export interface Column<Row> {
  readonly heading: string;
  readonly align: "left" | "right";
  cell(row: Row): string;
}
type CandidateColumn = Column<ExplainedCandidate>;

/** The answer of /admin/v1/explain as text. */
export function renderExplanation(answer: unknown): string {
  const parsed = explanationSchema.safeParse(answer);
  if (!parsed.success)
    throw new CliError("The answer could not be read: is this fairlead as new as the deployment?");
  const { requestId, pool, attempts } = parsed.data;
  return `Request ${requestId} in pool ${pool}\n\n${attempts.map(renderAttempt).join("\n")}`;
}

function renderAttempt(attempt: ExplainedAttempt): string {
  const { candidates, candidateCount } = attempt;
  const lines = [...renderFacts(attempt), ""];
  if (candidates.length > 0) {
    lines.push("What was seen", ...renderTable(loadColumns(attempt), candidates), "");
    lines.push(
      "Scores, from 0 to 1; the total is their sum, each times its weight",
      ...renderTable(scoreColumns(attempt), candidates),
    );
    const omitted = candidateCount - candidates.length;
    if (omitted > 0) lines.push(`  and ${omitted} more candidates with lower totals`);
    lines.push("");
  }
  lines.push(renderResult(attempt));
  return `${lines.join("\n")}\n`;
}

function renderFacts(attempt: ExplainedAttempt): string[] {
  const { chosen, dropped, filters } = attempt;
  const outcome =
    dropped === null
      ? `${chosen[0] ?? "nobody"} was chosen`
      : `refused as ${dropped.reason} (${dropped.detail})`;
  const removed = filters.map(({ type, removed: count }) => `${type} removed ${count}`);
  const lines = [
    `Attempt ${attempt.attempt}, ${new Date(attempt.atMs).toISOString()}: ${outcome}`,
    `  model ${attempt.model}, tenant ${attempt.tenant}, priority ${attempt.priority}`,
    `  about ${attempt.promptTokens} prompt tokens, ${attempt.totalBlocks} full blocks of text`,
    `  ${attempt.candidateCount} candidates${removed.map((text) => `; ${text}`).join("")}`,
    `  configuration version ${attempt.configVersion}, random seed ${attempt.seed}`,
  ];
  const { excluded = [] } = attempt;
  if (excluded.length > 0) lines.push(`  not tried again: ${excluded.join(", ")}`);
  if (chosen.length > 1) lines.push(`  if it fails, next: ${chosen.slice(1).join(", ")}`);
  return lines;
}

const RANK: CandidateColumn = {
  heading: "#",
  align: "right",
  cell: (candidate) => (candidate.rank === null ? "-" : String(candidate.rank)),
};
const ENDPOINT: CandidateColumn = {
  heading: "endpoint",
  align: "left",
  cell: ({ id }) => shortId(id),
};

export function shortId(id: string): string {
  return id.length <= ID_CHARS_MAX ? id : `${id.slice(0, 12)}…${id.slice(13 - ID_CHARS_MAX)}`;
}

function loadColumns(attempt: ExplainedAttempt): CandidateColumn[] {
  const number = (heading: string, cell: CandidateColumn["cell"]): CandidateColumn => ({
    heading,
    align: "right",
    cell,
  });
  return [
    RANK,
    ENDPOINT,
    { heading: "address", align: "left", cell: (candidate) => candidate.address },
    number("age", ({ ageMs }) => describeAge(ageMs, attempt.staleAfterMs)),
    number("waiting", (candidate) => String(candidate.queueDepth)),
    number("running", (candidate) => String(candidate.runningRequests)),
    number("kv used", (candidate) => `${Math.round(candidate.kvUsage * 100)}%`),
    number("in flight", (candidate) => String(candidate.inFlightRequests)),
    number("cached", (candidate) => `${candidate.matchedBlocks}/${attempt.totalBlocks}`),
  ];
}

function scoreColumns(attempt: ExplainedAttempt): CandidateColumn[] {
  const scores = attempt.scorers.map(({ type, weight }): CandidateColumn => ({
    heading: `${shortType(type)} ×${weight}`,
    align: "right",
    cell: ({ scores: given }) => given[type]?.toFixed(2) ?? "-",
  }));
  return [
    RANK,
    ENDPOINT,
    ...scores,
    { heading: "total", align: "right", cell: ({ total }) => total?.toFixed(2) ?? "-" },
    { heading: "why", align: "left", cell: ({ why }) => shortType(why) },
  ];
}

/** Every scorer's type ends alike; without the ending more of them fit side by side. */
export function shortType(text: string): string {
  return text.replace(/-scorer$/, "");
}

function describeAge(ageMs: number | null, staleAfterMs: number): string {
  if (ageMs === null) return "never";
  const age = ageMs < 10_000 ? `${Math.round(ageMs)} ms` : `${Math.round(ageMs / 1000)} s`;
  return ageMs > staleAfterMs ? `${age} stale` : age;
}

/** Lines indented by two; headings stand above, broken where they are long. */
export function renderTable<Row>(columns: readonly Column<Row>[], items: readonly Row[]): string[] {
  const headings = columns.map((column) => breakHeading(column.heading));
  const height = Math.max(...headings.map((lines) => lines.length));
  // Headings stand on the first row of candidates.
  const rows = Array.from({ length: height }, (_, line) =>
    headings.map((lines) => lines[line - height + lines.length] ?? ""),
  );
  rows.push(...items.map((item) => columns.map((column) => column.cell(item))));
  const widths = columns.map((_, c) => Math.max(...rows.map((row) => row[c]!.length)));
  return rows.map((row) =>
    row
      .map((cell, c) => {
        const { align } = columns[c]!;
        return `  ${align === "left" ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!)}`;
      })
      .join("")
      .trimEnd(),
  );
}

function breakHeading(heading: string): string[] {
  const lines: string[] = [];
  for (const part of heading.match(/×.*|[^- ]+[- ]?/g) ?? []) {
    const joined = (lines.at(-1) ?? "") + part;
    const isNewLine =
      lines.length === 0 || part.startsWith("×") || joined.trimEnd().length > HEADING_CHARS_MAX;
    if (isNewLine) lines.push(part);
    else lines[lines.length - 1] = joined;
  }
  return lines.map((line) => line.trimEnd());
}

function renderResult({ result, dropped }: ExplainedAttempt): string {
  if (dropped !== null) return "Nothing was sent to any endpoint.";
  if (result === null) return "How it went has not been reported yet.";
  const { promptTokens, cachedTokens, completionTokens, ttftMs } = result;
  const tokens = [
    promptTokens === null ? undefined : `${promptTokens} prompt tokens`,
    cachedTokens === null ? undefined : `${cachedTokens} of them cached`,
    completionTokens === null ? undefined : `${completionTokens} generated`,
  ].filter((fact) => fact !== undefined);
  const first = ttftMs === null ? "" : `, first byte after ${Math.round(ttftMs)} ms`;
  const usage = tokens.length === 0 ? "" : `\n  ${tokens.join(", ")}`;
  return `${result.endpoint} answered: ${result.outcome}${first}${usage}`;
}
