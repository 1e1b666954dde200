// A replay as text for a terminal: what was chosen, what is chosen now, and where they part.

import type { ExplainedAttempt, WrittenAttempt } from "../../scheduler/decisions/document.ts";
import type { Replay } from "../../scheduler/decisions/replay.ts";
import { shortId, shortType } from "../explain/table.ts";
import { type Column, renderTable } from "../text-table.ts";

type Choice = Pick<ExplainedAttempt, "chosen" | "dropped" | "stages">;
type Rank = Pick<ExplainedAttempt["candidates"][number], "id" | "rank" | "total">;

/** One attempt and its replay; also the form of `--json`. */
export interface ReplayedAttempt extends Replay {
  readonly attempt: number;
  readonly recorded: Choice & {
    readonly candidates: readonly Rank[];
  };
}

export interface ReplayedRequest {
  readonly requestId: string;
  readonly pool: string;
  /** Whether every attempt is. */
  readonly isSame: boolean;
  readonly attempts: readonly ReplayedAttempt[];
}

export function renderReplay(
  { requestId, pool, attempts }: ReplayedRequest,
  options: { readonly hasOtherConfig: boolean },
): string {
  const parts = attempts.map((attempt) => renderAttempt(attempt, options.hasOtherConfig));
  return `Request ${requestId} in pool ${pool}\n\n${parts.join("\n")}`;
}

function renderAttempt(attempt: ReplayedAttempt, hasOtherConfig: boolean): string {
  const { isSame, recorded, replayed, notes } = attempt;
  const verdict = isSame ? "the same choice" : "another choice";
  const lines = [
    `Attempt ${attempt.attempt}: ${verdict}${hasOtherConfig ? " with the other configuration" : ""}`,
    `  recorded  ${describeChoice(recorded)}`,
    `  replayed  ${describeChoice(replayed)}`,
    ...notes.map((note) => `  ${note}`),
  ];
  if (!isSame || hasOtherConfig)
    lines.push("", ...renderTable(columnsOf(recorded.candidates), replayed.candidates));
  return `${lines.join("\n")}\n`;
}

function describeChoice({ chosen, dropped, stages = [] }: Choice): string {
  if (dropped !== null) return `refused as ${dropped.reason}`;
  const first = chosen.length === 0 ? "nobody" : chosen.join(", then ");
  const others = stages
    .filter(({ role }) => role !== "none")
    .map((stage) => `; ${stage.role} at ${stage.chosen.join(", then ")}`);
  return `${first}${others.join("")}`;
}

type Candidate = WrittenAttempt["candidates"][number];

/** Ranks and totals before and now; 1 is the first choice. */
function columnsOf(recorded: readonly Rank[]): Column<Candidate>[] {
  const before = new Map(recorded.map((rank) => [rank.id, rank]));
  const right = (heading: string, cell: (candidate: Candidate) => string) =>
    ({ heading, align: "right", cell }) as const;
  const numberOf = (value: number | null | undefined, digits = 0) =>
    value === null || value === undefined ? "-" : value.toFixed(digits);
  return [
    right("was", ({ id }) => numberOf(before.get(id)?.rank)),
    right("is", ({ rank }) => numberOf(rank)),
    { heading: "endpoint", align: "left", cell: ({ id }) => shortId(id) },
    right("total was", ({ id }) => numberOf(before.get(id)?.total, 2)),
    right("total is", ({ total }) => numberOf(total, 2)),
    { heading: "why", align: "left", cell: ({ why }) => shortType(why) },
  ];
}
