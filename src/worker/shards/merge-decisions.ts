// One page of the decisions of a pool, from pages of its objects: newest first over all of them.
//
// Where the next page goes on in each object is a cursor. Of an object's page that was not used up it
// names the last decision that was, so nothing is left out and nothing told twice. A page ends where an
// object's own page does: what follows there may be newer than what another one still has.
//
//   130.-.x     behind decision 130 in shard 0; shard 1 from its newest on; shard 2 has no more

import type { DecisionPage, DecisionQuery } from "../../durable/state.ts";
import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import type { Answers } from "./answers.ts";

/** Where a page begins in one object: behind a decision, at the newest, or nowhere. */
export type Place = number | "newest" | "end";

/** As one object's page; `next` is a cursor, or null after the last. */
export interface MergedPage extends Omit<DecisionPage, "next"> {
  readonly next: string | null;
}

type Decision = DecisionPage["decisions"][number];

const NEWEST = "-";
const END = "x";
const CURSOR_PART = /^(?:[0-9]{1,16}|-|x)$/;

/** Undefined for what is no cursor of a pool of so many objects. */
export function parseCursor(text: string, count: number): Place[] | undefined {
  const parts = text.split(".");
  if (parts.length !== count || !parts.every((part) => CURSOR_PART.test(part))) return undefined;
  return parts.map((part) => {
    if (part === NEWEST) return "newest";
    return part === END ? "end" : Number(part);
  });
}

/** What to ask an object for whose part of the page begins there. */
export function queryAt(place: Place, query: DecisionQuery): DecisionQuery {
  if (place === "newest") return query;
  return { ...query, before: place === "end" ? 0 : place };
}

/** `places`: where each page began, by shard. */
export function mergePages(
  { answers, missing }: Answers<DecisionPage>,
  places: readonly Place[],
  limit: number,
): MergedPage {
  const pages = answers.map(({ shard, value }) => ({ shard, page: value, used: 0 }));
  const taken = takeNewest(pages, limit);
  const after = [...places];
  for (const each of pages) after[each.shard] = placeAfter(each, places[each.shard]!);
  // One that does not answer now may never: it does not keep the others from ending.
  const isEnd = pages.every(({ shard }) => after[shard] === "end");
  const epochOf = (shard: number) =>
    missing.includes(shard) ? "" : pages.find((each) => each.shard === shard)!.page.objectEpoch;
  return {
    pool: pages[0]!.page.pool,
    isConfigured: pages.every(({ page }) => page.isConfigured),
    objectEpoch: places.map((_, shard) => epochOf(shard)).join(","),
    oldestAtMs: leastOf(pages.map(({ page }) => page.oldestAtMs)),
    oldestLocalAtMs: leastOf(pages.map(({ page }) => page.oldestLocalAtMs)),
    next: isEnd ? null : after.map(writePlace).join("."),
    ...withSchedulers(taken),
  };
}

function leastOf(times: readonly (number | null | undefined)[]): number | null {
  const known = times.filter((time) => typeof time === "number");
  return known.length === 0 ? null : Math.min(...known);
}

/** Decisions with the schedulers of their own pages, newest first. Counts what it has used of each page. */
function takeNewest(pages: readonly UsedPage[], limit: number): Taken[] {
  const taken: Taken[] = [];
  while (taken.length < limit) {
    const left = pages.filter(({ page, used }) => used < page.decisions.length);
    const isAnyCut = pages.some(
      ({ page, used }) => used > 0 && used === page.decisions.length && page.next !== null,
    );
    if (left.length === 0 || isAnyCut) break;
    const newest = left.reduce((best, each) => (timeOf(each) > timeOf(best) ? each : best));
    const { page } = newest;
    const decision = page.decisions[newest.used]!;
    taken.push({ decision, scheduler: page.schedulers[decision.attempt.scheduler]! });
    newest.used += 1;
  }
  return taken;
}

/** Each scheduler is told once, also where several objects have it. */
function withSchedulers(taken: readonly Taken[]): Pick<MergedPage, "schedulers" | "decisions"> {
  const schedulers: SchedulerConfig[] = [];
  const indexes = new Map<string, number>();
  const decisions = taken.map(({ decision, scheduler }) => {
    const text = JSON.stringify(scheduler);
    const index = indexes.get(text) ?? schedulers.push(scheduler) - 1;
    indexes.set(text, index);
    return { ...decision, attempt: { ...decision.attempt, scheduler: index } };
  });
  return { schedulers, decisions };
}

interface Taken {
  readonly decision: Decision;
  readonly scheduler: SchedulerConfig;
}

interface UsedPage {
  readonly page: DecisionPage;
  /** Decisions that were taken over. */
  used: number;
}

function timeOf({ page, used }: UsedPage): number {
  return page.decisions[used]!.attempt.atMs;
}

function placeAfter({ page, used }: UsedPage, before: Place): Place {
  if (before === "end") return before;
  if (used === page.decisions.length) return page.next ?? "end";
  return used === 0 ? before : (page.decisions[used - 1]!.number ?? "end");
}

function writePlace(place: Place): string {
  if (place === "newest") return NEWEST;
  return place === "end" ? END : String(place);
}
