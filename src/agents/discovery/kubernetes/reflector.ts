// Follows the objects of one path of the API server: a list, then a watch from the list's version on.
//
//            ┌────────── no version, or it is Gone, or RELIST has passed ──────────┐
//   list ────┴──▶ version ──▶ watch ──▶ ends ──▶ at once, or after a backoff ──────┴──▶ watch
//
// What was read last stays in force while the server is away. A list replaces it as a whole: what is not
// in it is gone. An empty list is believed when it comes twice in a row: a server whose store was just
// restored, or that answers before it has read it, says for a moment that there is nothing.
//
// Source: the behaviour of client-go's Reflector. @kubernetes/client-node has an informer, too: it stops
// at the first failure, skips lines that it cannot read, and bounds neither objects nor waits.

import type { Clock } from "../../../scheduler/support/clock.ts";
import type { Rng } from "../../../scheduler/support/rng.ts";
import { backoffMs } from "../../session/backoff.ts";
import { describe, type ClusterApi } from "./cluster-api.ts";
import { OversizedLineError, readLines } from "./json-lines.ts";
import { eventSchema, statusSchema, watchedSchema } from "./object.ts";
import { readList } from "./read-list.ts";

export const REFLECTOR_LIMITS = {
  /** Objects that are kept; a list leaves out those after them. */
  objectsMax: 4_096,
  /** One event; etcd takes objects of 1.5 MiB. */
  eventBytesMax: 4 * 1024 * 1024,
} as const;

export interface ReflectorTiming {
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
  /** Between two empty lists. */
  readonly emptyConfirmMs: number;
  /** A watch on which nothing comes for so long is dead: servers send a bookmark about each minute. */
  readonly watchIdleMs: number;
  /** All is listed again after that, for what no watch has told. */
  readonly relistMs: number;
}

export const REFLECTOR_TIMING: ReflectorTiming = {
  retryBaseMs: 500,
  retryCapMs: 10_000,
  emptyConfirmMs: 2_000,
  watchIdleMs: 90_000,
  relistMs: 30 * 60_000,
};
/** A watch that ends earlier counts as a failure, so that a server that ends each is not asked at once. */
const WATCH_STEADY_MS = 1_000;
/** In a row; then the version itself is doubted: a restored store has gone back to older ones. */
const WATCH_FAILURES_MAX = 3;
const EMPTY_LISTS_BELIEVED = 2;
/** Of a resource that the server does not have. */
const NOTHING_LISTED = { items: new Map<string, never>(), leftOut: 0, version: undefined };

export interface ReflectorOptions<T> {
  readonly api: ClusterApi;
  readonly path: string;
  /** Selectors. */
  readonly query: Readonly<Record<string, string>>;
  /** What is kept of an object; undefined where it cannot be read. */
  readonly parse: (object: unknown) => T | undefined;
  /** After every list and every event that told of an object. */
  readonly onChange: () => void;
  /**
   * For resources that a cluster may not have: without a definition there are none, which is looked at
   * again after so long; and so is a refusal to list them. Absent: either is a failure as any other.
   */
  readonly absentRetryMs?: number;
  readonly timing: ReflectorTiming;
  readonly clock: Clock;
  readonly rng: Rng;
}

/** How a list or a watch ended. */
type Ending =
  | { readonly type: "good" }
  /** The version is of no use any more. */
  | { readonly type: "gone" }
  /** The server has no such resource. */
  | { readonly type: "absent" }
  | { readonly type: "failed"; readonly problem: string; readonly waitMsMin?: number };

export class Reflector<T> {
  readonly #options: ReflectorOptions<T>;
  readonly #closing = new AbortController();
  #items = new Map<string, T>();
  #leftOut = 0;
  /** Undefined: a list is due. */
  #version: string | undefined;
  #listedAtMs = Number.NEGATIVE_INFINITY;
  #heardAtMs: number | undefined;
  #trouble: string | undefined;
  #failures = 0;
  #emptyLists = 0;
  #isAbsent = false;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
  }

  /** By name; as it was told last. */
  get items(): ReadonlyMap<string, T> {
    return this.#items;
  }

  /** Objects beyond the bound. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** When anything came from the server last, by the clock given; undefined: there was no list yet. */
  get heardAtMs(): number | undefined {
    return this.#heardAtMs;
  }

  /** The server has no definition of the resource, as it said last. */
  get isAbsent(): boolean {
    return this.#isAbsent;
  }

  /** What keeps news from coming; undefined if nothing does. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Follows until it is closed. Never rejects. */
  async run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const waitMs = await this.#step();
      if (waitMs > 0 && !signal.aborted) await sleep(waitMs, signal);
    }
  }

  close(): void {
    this.#closing.abort();
  }

  /** One list or one watch. Gives how long to wait before the next. */
  async #step(): Promise<number> {
    const { clock, rng, timing } = this.#options;
    const isList = this.#version === undefined;
    const startMs = clock();
    const ending = isList ? await this.#list() : await this.#watch();
    const wasHeard = this.#heardAtMs !== undefined && this.#heardAtMs >= startMs;
    const isSteady = !isList && wasHeard && clock() - startMs >= WATCH_STEADY_MS;
    // A list alone does not end a row of failures: where watches are refused, lists would follow lists.
    if (isSteady) this.#failures = 0;
    if (ending.type === "absent") {
      this.#failures = 0;
      return this.#options.absentRetryMs!;
    }
    if (ending.type === "gone" || clock() - this.#listedAtMs >= timing.relistMs) {
      this.#version = undefined;
    }
    if (ending.type === "good" && (isList || isSteady)) return 0;
    this.#failures += 1;
    if (ending.type === "failed") {
      this.#trouble = ending.problem;
      if (this.#failures % WATCH_FAILURES_MAX === 0) this.#version = undefined;
    }
    const limits = { baseMs: timing.retryBaseMs, capMs: timing.retryCapMs };
    const waitMs = backoffMs(limits, this.#failures - 1, rng);
    return Math.max(waitMs, ending.type === "failed" ? (ending.waitMsMin ?? 0) : 0);
  }

  async #list(): Promise<Ending> {
    const { api, path, query, timing, clock, parse, absentRetryMs = 0 } = this.#options;
    const { signal } = this.#closing;
    const { objectsMax } = REFLECTOR_LIMITS;
    const list = await readList({ api, path, query, signal, parse, objectsMax });
    const isAbsent = !list.ok && list.status === 404 && absentRetryMs > 0;
    if (!list.ok && !isAbsent) {
      this.#emptyLists = 0;
      const waitMsMin = list.status === 403 ? absentRetryMs : list.retryAfterMs;
      return { type: "failed", problem: list.problem, waitMsMin };
    }
    const { items, leftOut, version } = list.ok ? list : NOTHING_LISTED;
    if (items.size === 0 && this.#items.size > 0) {
      this.#emptyLists += 1;
      if (this.#emptyLists < EMPTY_LISTS_BELIEVED) {
        const problem = `nothing is listed where ${this.#items.size} were: believed when it is said again`;
        return { type: "failed", problem, waitMsMin: timing.emptyConfirmMs };
      }
    }
    this.#emptyLists = 0;
    this.#isAbsent = isAbsent;
    this.#items = items;
    this.#leftOut = leftOut;
    this.#version = version;
    this.#listedAtMs = clock();
    this.#heard();
    this.#options.onChange();
    return { type: isAbsent ? "absent" : "good" };
  }

  async #watch(): Promise<Ending> {
    const { api, path, query, timing, rng } = this.#options;
    const idle = new AbortController();
    const signal = AbortSignal.any([this.#closing.signal, idle.signal]);
    const giveUp = () => idle.abort(new Error(`nothing came for ${timing.watchIdleMs} ms`));
    const timer = setTimeout(giveUp, timing.watchIdleMs);
    // Not all agents' watches are to end at once.
    const timeoutSeconds = Math.max(1, Math.ceil((timing.relistMs / 1_000) * (0.5 + rng() / 2)));
    const answer = await api.get(
      path,
      {
        ...query,
        watch: "1",
        allowWatchBookmarks: "true",
        resourceVersion: this.#version!,
        timeoutSeconds: String(timeoutSeconds),
      },
      signal,
    );
    try {
      if (!answer.ok) {
        const { status, problem, retryAfterMs } = answer;
        if (status === 410) return { type: "gone" };
        return { type: "failed", problem, waitMsMin: retryAfterMs };
      }
      this.#heard();
      const body = heardWhile(answer.body, () => {
        timer.refresh();
        this.#heardAtMs = this.#options.clock();
      });
      for await (const line of readLines(body, REFLECTOR_LIMITS.eventBytesMax)) {
        const ending = this.#apply(line);
        if (ending !== undefined) return ending;
      }
      return { type: "good" };
    } catch (error) {
      // Silence alone is no trouble: whether the server is away, the next watch finds out.
      if (idle.signal.aborted) return { type: "good" };
      // It would come again on the next watch: a list tells what it would have told.
      if (error instanceof OversizedLineError) this.#version = undefined;
      return { type: "failed", problem: describe(error) };
    } finally {
      clearTimeout(timer);
      if (answer.ok) answer.end();
    }
  }

  /** Gives the watch's ending if the event is its last. */
  #apply(line: string): Ending | undefined {
    const event = readEvent(line);
    if (event === undefined || event.type === "ERROR") {
      // A new list repairs what an unreadable event would have told; and what any error was about.
      this.#version = undefined;
      const { code, reason, message } = statusSchema.safeParse(event?.object).data ?? {};
      if (code === 410 || reason === "Expired") return { type: "gone" };
      const why =
        event === undefined ? "an event that is no JSON" : `${code ?? ""} ${message ?? ""}`;
      return { type: "failed", problem: `the watch was ended: ${why.trim()}` };
    }
    const { name, resourceVersion } = event.metadata;
    this.#version = resourceVersion;
    if (event.type === "BOOKMARK" || name === undefined) return undefined;
    const item = event.type === "DELETED" ? undefined : this.#options.parse(event.object);
    this.#set(name, item);
    return undefined;
  }

  #set(name: string, item: T | undefined): void {
    const items = this.#items;
    if (item === undefined) items.delete(name);
    else if (items.has(name) || items.size < REFLECTOR_LIMITS.objectsMax) items.set(name, item);
    // The next list says how many there are.
    else this.#leftOut += 1;
    this.#options.onChange();
  }

  #heard(): void {
    this.#heardAtMs = this.#options.clock();
    this.#trouble = undefined;
  }
}

/** Calls `onChunk` for each part that comes, however slowly a line does. */
async function* heardWhile(body: AsyncIterable<Uint8Array>, onChunk: () => void) {
  for await (const chunk of body) {
    onChunk();
    yield chunk;
  }
}

type WatchEvent =
  | { readonly type: "ERROR"; readonly object: unknown }
  | {
      readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
      readonly object: unknown;
      readonly metadata: { readonly name?: string | undefined; readonly resourceVersion: string };
    };

function readEvent(line: string): WatchEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  const parsed = eventSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const { type, object } = parsed.data;
  if (type === "ERROR") return { type, object };
  if (type !== "ADDED" && type !== "MODIFIED" && type !== "DELETED" && type !== "BOOKMARK") {
    return undefined;
  }
  const { data } = watchedSchema.safeParse(object);
  return data === undefined ? undefined : { type, object, metadata: data.metadata };
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
