// A decision as text for a terminal: what was seen of each candidate, how it was scored, why it lost.

import { shardOfRequest } from "../../agents/protocol/request-shard.ts";
import {
  type ExplainedAttempt,
  type ExplainedCandidate,
  type ExplainedQueue,
  type ExplainedRow,
  type ExplainedStage,
  explanationSchema,
  isQueueRefusal,
  isUnrecorded,
  nameOf,
} from "../../scheduler/decisions/document.ts";
import { CliError } from "../cli-error.ts";
import { printable } from "../printable.ts";
import { type Column, renderTable, termHeading } from "../text-table.ts";
import { renderPools } from "./pools.ts";
import { describeWhere } from "./where.ts";

/** Longer ids are cut in the middle, so that the table stays a table. */
const ID_CHARS_MAX = 32;

type CandidateColumn = Column<ExplainedCandidate>;

/** The answer of /admin/v1/explain as text. */
export function renderExplanation(answer: unknown): string {
  const parsed = explanationSchema.safeParse(answer);
  if (!parsed.success)
    throw new CliError("The answer could not be read: is this fairlead as new as the deployment?");
  const { requestId, pool, attempts, pools } = parsed.data;
  const shard = shardOfRequest(requestId);
  const where = shard === 0 ? "" : `, object ${shard} of it`;
  const head = [`Request ${requestId} in pool ${pool}${where}`, "", ...renderPools(pools)].join(
    "\n",
  );
  return printable(`${head}\n${attempts.map(renderAttempt).join("\n")}`);
}

function renderAttempt(attempt: ExplainedAttempt): string {
  const { candidates, candidateCount } = attempt;
  const lines = [...renderFacts(attempt), ""];
  if (candidates.length > 0) {
    lines.push("What was seen", ...renderTable(loadColumns(attempt), candidates), "");
    lines.push(...renderRun(attempt, ""));
    const omitted = candidateCount - candidates.length;
    if (omitted > 0) lines.push(`  and ${omitted} more candidates with lower totals`, "");
  }
  for (const stage of attempt.stages ?? []) lines.push(...renderStage(stage));
  lines.push(renderResult(attempt));
  return `${lines.join("\n")}\n`;
}

function renderFacts(attempt: ExplainedAttempt): string[] {
  const { chosen, dropped, filters } = attempt;
  const outcome =
    dropped === null
      ? `${chosen[0] ?? "nobody"} was chosen`
      : `refused as ${dropped.reason} (${dropped.detail})`;
  const removed = filters.map((filter) => `${describePlugin(filter)} removed ${filter.removed}`);
  const lines = [
    `Attempt ${attempt.attempt}, ${new Date(attempt.atMs).toISOString()}: ${outcome}`,
    `  model ${attempt.model}, tenant ${attempt.tenant}, priority ${attempt.priority}`,
    ...(attempt.decided === undefined ? [] : [`  ${describeWhere(attempt.decided)}`]),
    ...(attempt.queue === undefined ? [] : [`  ${describeQueue(attempt, attempt.queue)}`]),
  ];
  if (isQueueRefusal(attempt)) return lines;
  if (isUnrecorded(attempt)) {
    lines.push(
      `  about ${attempt.promptTokens} prompt tokens`,
      `  configuration version ${attempt.configVersion}; who else was considered is not on record`,
    );
    return lines.concat(nextOf(attempt));
  }
  lines.push(
    `  about ${attempt.promptTokens} prompt tokens, ${attempt.totalBlocks} full blocks of text`,
    `  ${attempt.candidateCount} candidates${removed.map((text) => `; ${text}`).join("")}`,
    `  configuration version ${attempt.configVersion}, random seed ${attempt.seed}`,
  );
  const { excluded = [] } = attempt;
  if (excluded.length > 0) lines.push(`  not tried again: ${excluded.join(", ")}`);
  lines.push(...describeSplit(attempt).map((line) => `  ${line}`));
  if (attempt.shadow !== undefined) lines.push(`  ${describeShadow(attempt)}`);
  return lines.concat(nextOf(attempt));
}

function nextOf({ chosen }: ExplainedAttempt): string[] {
  return chosen.length > 1 ? [`  if it fails, next: ${chosen.slice(1).join(", ")}`] : [];
}

/** How it came through the queue, or how its wait ended there. */
function describeQueue(attempt: ExplainedAttempt, queue: ExplainedQueue): string {
  const { waitedMs, priority, fairnessId, saturation } = queue;
  const where = `priority band ${priority} as flow ${shortId(fairnessId)}`;
  const full = saturation === null ? "" : `, at a saturation of ${describeSaturation(saturation)}`;
  const wait =
    waitedMs < 1_000 ? `${Math.round(waitedMs)} ms` : `${(waitedMs / 1_000).toFixed(1)} s`;
  if (!isQueueRefusal(attempt)) return `waited ${wait} in ${where}; let through${full}`;
  return waitedMs === 0
    ? `not let into ${where}${full}`
    : `waited ${wait} in ${where}, in vain${full}`;
}

/** The object tells a pool that has no room at all as a number out of all bounds. */
function describeSaturation(saturation: number): string {
  return saturation > 1_000 ? "over 1000" : saturation.toFixed(2);
}

/** What deciders said of its stages, and whose blocks could be copied. */
function describeSplit({ verdicts = [], kvSource }: ExplainedAttempt): string[] {
  const lines = verdicts.map(({ stage, isApart, terms }) => {
    const numbers = Object.entries(terms).map(([name, value]) => `${name} ${describeTerm(value)}`);
    const because = numbers.length === 0 ? "" : `: ${numbers.join(", ")}`;
    return `${stage} ${isApart ? "runs apart" : "does not run apart"}${because}`;
  });
  if (kvSource !== undefined) lines.push(`blocks may be copied from ${kvSource}`);
  return lines;
}

/** A shadow configuration's word; what happened is the attempt's own. */
function describeShadow({ chosen, shadow }: ExplainedAttempt): string {
  if (shadow!.dropped !== null) return `the shadow would have refused it as ${shadow!.dropped}`;
  return shadow!.chosen === chosen[0]
    ? "the shadow would have chosen the same"
    : `the shadow would have chosen ${shadow!.chosen}`;
}

/** Another profile that ran for the same request. */
function renderStage(stage: ExplainedStage): string[] {
  const { profile, role, filters, chosen } = stage;
  const purpose = role === "none" ? "" : `, for ${role}`;
  const removed = filters.map((filter) => `; ${describePlugin(filter)} removed ${filter.removed}`);
  const heading = `Profile ${profile}${purpose}: ${chosen[0] ?? "nobody"} was chosen${removed.join("")}`;
  return [heading, ...renderRun(stage, "  ")];
}

type Run = Pick<ExplainedStage, "scorers" | "candidates">;

/** What a profile made of the candidates, best first. */
function renderRun({ scorers, candidates }: Run, indent: string): string[] {
  const rows = candidates.toSorted((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity));
  const lines = [
    "Scores, from 0 to 1; the total is their sum, each times its weight",
    ...renderTable(scoreColumns(scorers), rows),
    "",
  ];
  for (const scorer of scorers) {
    const name = nameOf(scorer);
    const scored = rows.filter(({ terms }) => terms?.[name] !== undefined);
    if (scored.length === 0) continue;
    lines.push(
      `What ${name} is made of`,
      ...renderTable(termColumns(name, scored[0]!), scored),
      "",
    );
  }
  return lines.map((line) => (line === "" ? line : indent + line));
}

/** A name, and the type where it says more. */
function describePlugin({
  type,
  name,
}: {
  readonly type: string;
  readonly name?: string | undefined;
}) {
  return name === undefined ? type : `${name} (${type})`;
}

const RANK: Column<ExplainedRow> = {
  heading: "#",
  align: "right",
  cell: (row) => (row.rank === null ? "-" : String(row.rank)),
};
const ENDPOINT: Column<ExplainedRow> = {
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

function scoreColumns(scorers: ExplainedStage["scorers"]): Column<ExplainedRow>[] {
  const scores = scorers.map((scorer): Column<ExplainedRow> => ({
    heading: `${shortType(nameOf(scorer))} ×${scorer.weight}`,
    align: "right",
    cell: ({ scores: given }) => given[nameOf(scorer)]?.toFixed(2) ?? "-",
  }));
  return [
    RANK,
    ENDPOINT,
    ...scores,
    { heading: "total", align: "right", cell: ({ total }) => total?.toFixed(2) ?? "-" },
    { heading: "why", align: "left", cell: ({ why }) => shortType(why) },
  ];
}

/** Digits of a part of a score: enough to tell candidates apart. */
function describeTerm(value: number | null | undefined): string {
  if (value === null || value === undefined) return "-";
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
}

function termColumns(scorer: string, first: ExplainedRow): Column<ExplainedRow>[] {
  const terms = Object.keys(first.terms![scorer]!).map((term): Column<ExplainedRow> => ({
    heading: termHeading(term),
    align: "right",
    cell: ({ terms: given }) => describeTerm(given?.[scorer]?.[term]),
  }));
  return [RANK, ENDPOINT, ...terms];
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

/** "" where prefill did not run apart. */
function describePrefill(result: NonNullable<ExplainedAttempt["result"]>): string {
  const { prefill } = result;
  if (prefill === undefined) return "";
  const { endpoint, outcome, prefillMs, failedCount, isDecodeOnly, isStranded } = prefill;
  const facts = [
    `prefill at ${endpoint ?? "nobody"}: ${outcome} after ${Math.round(prefillMs)} ms`,
    failedCount === 0 ? undefined : `${failedCount} failed before`,
    isDecodeOnly ? "the prompt was computed where it was decoded" : undefined,
    isStranded ? "its blocks were left behind" : undefined,
  ].filter((fact) => fact !== undefined);
  return `\n  ${facts.join("; ")}`;
}

function renderResult({ result, dropped }: ExplainedAttempt): string {
  if (dropped !== null) return "Nothing was sent to any endpoint.";
  if (result === null) return "How it went has not been reported yet.";
  const { promptTokens, cachedTokens, completionTokens, predictedTokens, ttftMs } = result;
  const tokens = [
    promptTokens === null ? undefined : `${promptTokens} prompt tokens`,
    cachedTokens === null ? undefined : `${cachedTokens} of them cached`,
    (predictedTokens ?? null) === null ? undefined : `${predictedTokens} predicted to be`,
    completionTokens === null ? undefined : `${completionTokens} generated`,
  ].filter((fact) => fact !== undefined);
  const first = ttftMs === null ? "" : `, first byte after ${Math.round(ttftMs)} ms`;
  const usage = tokens.length === 0 ? "" : `\n  ${tokens.join(", ")}`;
  if (result.outcome === "evicted")
    return `It was ended for a request of a higher priority, before ${result.endpoint} had answered.`;
  return `${result.endpoint} answered: ${result.outcome}${first}${describePrefill(result)}${usage}`;
}
