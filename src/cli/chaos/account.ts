// What clients saw, added up: in each phase, and how soon a cluster was left alone and used again.
//
//   before ──act──► during ──target is whole again──► after

/** One request, as its client saw it. Times in ms since the traffic began. */
export interface Seen {
  readonly startedMs: number;
  /** null: there was none. */
  readonly firstByteMs: number | null;
  readonly endedMs: number;
  readonly isStream: boolean;
  /** failed: before the first byte. ended: after it, and not whole. */
  readonly outcome: "ok" | "failed" | "ended";
  /** Why it was not ok; "" where it was. */
  readonly code: string;
  /** Who answered, as far as the answer says. */
  readonly cluster: string | null;
  /** Endpoints that were tried, as the answer says. */
  readonly attempts: number;
}

export interface Moments {
  readonly actedMs: number;
  /** The target is whole again; null: not in this time. */
  readonly returnedMs: number | null;
  readonly endMs: number;
}

export interface Ttft {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** Of any number of requests. */
export interface Tally {
  readonly requests: number;
  readonly ok: number;
  readonly failed: Readonly<Record<string, number>>;
  /** After the first byte, with the event that says so. */
  readonly ended: Readonly<Record<string, number>>;
  /** After it, in any other way: their clients were not told. */
  readonly broken: Readonly<Record<string, number>>;
  readonly retried: number;
  /** Of event streams; null where none began. */
  readonly ttftMs: Ttft | null;
  /** Of those that a cluster answered. */
  readonly shares: Readonly<Record<string, number>>;
}

export interface Phase extends Tally {
  readonly name: "before" | "during" | "after";
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Account {
  readonly total: Tally;
  readonly phases: readonly Phase[];
  /** From the act until new requests left the cluster alone; null: they did not, or there is none. */
  readonly avoidedMs: number | null;
  /** From its return until a request that began afterwards was answered there. */
  readonly usedAgainMs: number | null;
  readonly shareBefore: number | null;
  /** Of each second since it was used again, five at most. */
  readonly sharesAfter: readonly number[];
  /** There were requests, none failed before its first byte, and what ended later said so. */
  readonly holds: boolean;
}

/** What an event stream that is lost ends with: the Worker's event, or the relay's. */
const LOST_CODES: ReadonlySet<string> = new Set(["upstream_lost", "engine_lost"]);

/** A cluster is avoided once so little is sent there for so long: what is left are probes. */
const AVOIDED_SHARE_MAX = 0.05;
const AVOIDED_FOR_MS = 500;
const SHARES_AFTER = 5;

export function accountOf(
  seen: readonly Seen[],
  moments: Moments,
  cluster: string | undefined,
): Account {
  const byStart = seen.toSorted((a, b) => a.startedMs - b.startedMs);
  const total = tallyOf(byStart);
  const phases = phasesOf(byStart, moments);
  const { returnedMs, actedMs } = moments;
  const again =
    cluster === undefined || returnedMs === null
      ? undefined
      : byStart.find((each) => each.startedMs >= returnedMs && each.cluster === cluster);
  return {
    total,
    phases,
    avoidedMs: cluster === undefined ? null : avoidedAfter(byStart, actedMs, cluster),
    usedAgainMs: again === undefined ? null : Math.round(again.startedMs - returnedMs!),
    shareBefore: cluster === undefined ? null : (phases[0]!.shares[cluster] ?? 0),
    sharesAfter:
      again === undefined ? [] : sharesFrom(byStart, again.startedMs, moments.endMs, cluster!),
    holds: holds(total),
  };
}

function holds({ requests, failed, broken }: Tally): boolean {
  return requests > 0 && [failed, broken].every((counts) => Object.keys(counts).length === 0);
}

export function tallyOf(seen: readonly Seen[]): Tally {
  const failed: Record<string, number> = {};
  const ended: Record<string, number> = {};
  const broken: Record<string, number> = {};
  const answered: Record<string, number> = {};
  const firstBytesMs: number[] = [];
  let ok = 0;
  let retried = 0;
  for (const { outcome, code, cluster, attempts, ...times } of seen) {
    if (outcome === "ok") ok++;
    else {
      // A JSON answer has no room for an event.
      const isTold = times.isStream && LOST_CODES.has(code);
      const counts = outcome === "failed" ? failed : isTold ? ended : broken;
      counts[code] = (counts[code] ?? 0) + 1;
    }
    if (attempts > 1) retried++;
    if (cluster !== null) answered[cluster] = (answered[cluster] ?? 0) + 1;
    if (times.isStream && times.firstByteMs !== null)
      firstBytesMs.push(times.firstByteMs - times.startedMs);
  }
  const sum = Object.values(answered).reduce((total, count) => total + count, 0);
  const shares = Object.entries(answered).map(([name, count]) => [name, count / sum] as const);
  const ttftMs = percentiles(firstBytesMs);
  const requests = seen.length;
  const counts = { requests, ok, failed, ended, broken, retried };
  return { ...counts, ttftMs, shares: Object.fromEntries(shares) };
}

function percentiles(values: readonly number[]): Ttft | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!);
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}

/** A request belongs to the phase in which it began. */
function phasesOf(seen: readonly Seen[], { actedMs, returnedMs, endMs }: Moments): Phase[] {
  const whole = returnedMs ?? endMs;
  const bounds = [
    { name: "before", fromMs: 0, toMs: actedMs },
    { name: "during", fromMs: actedMs, toMs: whole },
    ...(returnedMs === null ? [] : [{ name: "after", fromMs: whole, toMs: endMs } as const]),
  ] as const;
  return bounds.map(({ name, fromMs, toMs }) => {
    const isLast = toMs === endMs;
    const within = seen.filter(
      ({ startedMs }) => startedMs >= fromMs && (isLast || startedMs < toMs),
    );
    return { name, fromMs: Math.round(fromMs), toMs: Math.round(toMs), ...tallyOf(within) };
  });
}

/** Whether it was sent to the cluster, as far as a client can tell: it was answered there, or not at once. */
function touches({ outcome, cluster: answerer, attempts }: Seen, cluster: string): boolean {
  return answerer === cluster || attempts > 1 || outcome === "failed";
}

function avoidedAfter(byStart: readonly Seen[], actedMs: number, cluster: string): number | null {
  const later = byStart.filter(({ startedMs }) => startedMs >= actedMs);
  let touched = 0;
  let end = 0;
  for (const [begin, { startedMs }] of later.entries()) {
    while (end < later.length && later[end]!.startedMs < startedMs + AVOIDED_FOR_MS) {
      if (touches(later[end]!, cluster)) touched++;
      end++;
    }
    // Not a whole window any more.
    if (end === later.length) return null;
    // The first one must not be sent there itself: it would be counted as avoiding it.
    const isAlone = touched <= AVOIDED_SHARE_MAX * (end - begin);
    if (isAlone && !touches(later[begin]!, cluster)) return Math.round(startedMs - actedMs);
    if (touches(later[begin]!, cluster)) touched--;
  }
  return null;
}

function sharesFrom(
  byStart: readonly Seen[],
  fromMs: number,
  endMs: number,
  cluster: string,
): number[] {
  const seconds = Math.min(SHARES_AFTER, Math.floor((endMs - fromMs) / 1_000));
  return Array.from({ length: seconds }, (_, second) => {
    const beginMs = fromMs + second * 1_000;
    const within = byStart.filter(
      ({ startedMs }) => startedMs >= beginMs && startedMs < beginMs + 1_000,
    );
    return tallyOf(within).shares[cluster] ?? 0;
  });
}
