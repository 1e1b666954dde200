// What clients saw, for people: a line for each second, and the account.

import type { Account, Phase, Tally, Ttft } from "./account.ts";

/** What is being done, for the head of the account. */
export interface Told {
  readonly deed: string;
  readonly clusters: readonly string[];
  readonly ratePerS: number;
  readonly actedMs: number;
  readonly returnedMs: number | null;
}

const COUNTS = ["sent", "ok", "failed", "ended", "broken", "retried"];
const COLUMNS = ["second", ...COUNTS, "TTFT p50", "p90", "p99"];
const WIDTH = 9;

export function tableHead(clusters: readonly string[]): string {
  return row([...COLUMNS, ...clusters]);
}

/** `label` is a second, or a phase's name. */
export function tableRow(label: string, tally: Tally, clusters: readonly string[]): string {
  const { requests, ok, failed, ended, broken, retried, ttftMs, shares } = tally;
  const figures = [requests, ok, sum(failed), sum(ended), sum(broken), retried].map(String);
  const times = (["p50", "p90", "p99"] as const).map((at) => describeMs(ttftMs, at));
  const parts = clusters.map((name) => percent(shares[name] ?? 0));
  return row([label, ...figures, ...times, ...parts]);
}

export function describeAccount(account: Account, told: Told): string {
  const { total, phases } = account;
  const { clusters } = told;
  const rows = phases.map((phase) => tableRow(phase.name, phase, clusters));
  const facts = [
    `failed before the first byte   ${describeCounts(total.failed)}`,
    `ended after it, with an error  ${describeCounts(total.ended)}`,
    `ended in another way           ${describeCounts(total.broken)}`,
    ...describeReturn(account, told),
  ];
  return `
${told.deed} at ${told.ratePerS} requests a second, from ${describeS(told.actedMs)}${describeUntil(phases)}

${["phase".padStart(WIDTH), tableHead(clusters).slice(WIDTH)].join("")}
${rows.join("\n")}

${facts.map((fact) => `  ${fact}`).join("\n")}

${verdict(account)}
`;
}

function verdict({ holds, total }: Account): string {
  if (holds)
    return "It held: no request failed before its first byte, and what ended later said so.";
  if (total.requests === 0) return "Nothing is known of it: no request was sent.";
  const what = [
    ...(sum(total.failed) > 0 ? ["requests failed before their first byte"] : []),
    ...(sum(total.broken) > 0 ? ["answers ended without the event that says so"] : []),
  ];
  return `It did not hold: ${what.join(", and ")}.`;
}

function describeReturn(account: Account, { returnedMs }: Told): string[] {
  const { avoidedMs, usedAgainMs, shareBefore, sharesAfter } = account;
  if (shareBefore === null) return [];
  const shares = sharesAfter.map(percent).join(", ");
  return [
    `left alone by new requests     ${avoidedMs === null ? "never for half a second" : `after ${avoidedMs} ms`}`,
    ...(returnedMs === null
      ? []
      : [
          `in use again                   ${usedAgainMs === null ? "not in this time" : `${usedAgainMs} ms after its return`}`,
          `its share                      ${percent(shareBefore)} before; in the seconds since it was used again: ${shares || "none"}`,
        ]),
  ];
}

function describeUntil(phases: readonly Phase[]): string {
  const after = phases.find(({ name }) => name === "after");
  return after === undefined ? " on" : ` until it was whole again at ${describeS(after.fromMs)}`;
}

function describeCounts(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([code, count]) => `${count} ${code}`);
  return parts.length === 0 ? "0" : `${sum(counts)}: ${parts.join(", ")}`;
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

function describeMs(ttftMs: Ttft | null, at: keyof Ttft): string {
  return ttftMs === null ? "-" : `${ttftMs[at]} ms`;
}

function describeS(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

function row(cells: readonly string[]): string {
  return cells.map((cell) => cell.padStart(Math.max(WIDTH, 1))).join(" ");
}
