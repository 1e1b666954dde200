// Reads a few series out of Prometheus text without parsing the rest.
//
// An engine's /metrics has thousands of lines, of which a pool reads about five. The scanner jumps
// from one line that begins with an asked-for name to the next (String.indexOf runs in native code)
// and parses only those. Rules, as llm-d's extractor has them:
//   - a name matches whole: `num_requests_waiting` is not `num_requests_waiting_by_reason`;
//   - every label in `match` must be there with that value; further labels do not matter;
//   - among several matching series the highest explicit timestamp wins, the first of equals;
//   - only gauges and counters are numbers; a summary's or histogram's own name is none;
//   - NaN and infinities are dropped, as are lines that cannot be parsed.
// And where they differ:
//   - series without a TYPE line are read, too; llm-d wants to know that they are gauges;
//   - a process of several data-parallel ranks publishes a series a rank, and llm-d takes the first.
//     A query with rank labels picks one series of each rank by the rule above and then adds the
//     ranks up, or averages them. A rank that the query itself matches stands alone.
// Lines begin in their first column, as every client library writes them.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/extractor/metrics; Prometheus text
// format 0.0.4. Cost: one pass of indexOf per distinct name.

/** One value to read. */
export interface SeriesQuery {
  readonly series: string;
  /** Labels that must have these values. */
  readonly match?: Readonly<Record<string, string>> | undefined;
  /** Read the number from this label instead of the sample, as info metrics carry it. */
  readonly valueLabel?: string | undefined;
  /** How several matching series become one number; `first` where absent. */
  readonly combine?: "first" | "max" | "sum" | "mean" | undefined;
  /** For `sum` and `mean`: the labels that tell ranks apart. */
  readonly rankLabels?: readonly string[] | undefined;
  /** Series with this label count only where it has one of these values. */
  readonly own?: { readonly label: string; readonly values: readonly string[] } | undefined;
}

interface Sample {
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
  /** 0 where the line has none. */
  readonly timestamp: number;
}

/** No two ways to read the same digits: the text is an engine's, and must not cost more than its length. */
const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;
/** No client library writes a number so long. */
const NUMBER_CHARS_MAX = 64;
/** Labels of one line; a line with more is passed over. */
export const LINE_LABELS_MAX = 256;

/** Ranks of one process; series of further ones are passed over. */
export const RANKS_MAX = 256;
/** Metric types whose own name carries no single number. */
const MANY_VALUED = ["histogram", "summary", "gaugehistogram"];

/** Reads `queries` from `text`; undefined where no usable series is. Never throws. */
export function scanPrometheus(
  text: string,
  queries: readonly SeriesQuery[],
): (number | undefined)[] {
  const tallies = queries.map((query) => new Tally(query));
  const byName = Map.groupBy(tallies, ({ query }) => query.series);
  for (const [name, asked] of byName) {
    forEachSample(text, name, (sample) => {
      for (const tally of asked) tally.add(sample);
    });
  }
  return tallies.map((tally) => tally.value());
}

/**
 * The labels of the matching series whose value is largest, the first of equals: info metrics whose
 * value is the time at which they became true keep a series for every set of labels there ever was.
 */
export function scanLatestLabels(
  text: string,
  { series, match }: Pick<SeriesQuery, "series" | "match">,
): ReadonlyMap<string, string> | undefined {
  let latest: Sample | undefined;
  forEachSample(text, series, (sample) => {
    if (!isMatching(sample, match)) return;
    if (latest === undefined || sample.value > latest.value) latest = sample;
  });
  return latest?.labels;
}

/** What one query has found so far. */
class Tally {
  readonly query: SeriesQuery;
  readonly #isRanked: boolean;
  /** The winning series, by rank; one entry, "", where ranks do not matter. */
  readonly #winners = new Map<string, { value: number; timestamp: number }>();

  constructor(query: SeriesQuery) {
    this.query = query;
    this.#isRanked = query.combine === "sum" || query.combine === "mean";
  }

  add(sample: Sample): void {
    const { match, own, combine } = this.query;
    if (!isMatching(sample, match)) return;
    if (own !== undefined) {
      const owner = sample.labels.get(own.label);
      if (owner !== undefined && !own.values.includes(owner)) return;
    }
    const value = valueOf(sample, this.query);
    if (value === undefined) return;
    const rank = this.#isRanked ? this.#rankOf(sample) : "";
    const winner = this.#winners.get(rank);
    if (winner === undefined) {
      if (this.#winners.size >= RANKS_MAX) return;
      this.#winners.set(rank, { value, timestamp: sample.timestamp });
      return;
    }
    const isBetter = combine === "max" ? value > winner.value : sample.timestamp > winner.timestamp;
    if (!isBetter) return;
    winner.value = value;
    winner.timestamp = sample.timestamp;
  }

  value(): number | undefined {
    // A series without a rank, among others with one, is their total.
    if (this.#winners.size > 1) this.#winners.delete("");
    if (this.#winners.size === 0) return undefined;
    let sum = 0;
    for (const { value } of this.#winners.values()) sum += value;
    const combined = this.query.combine === "mean" ? sum / this.#winners.size : sum;
    // Ranks that are finite each may add up to infinity.
    return Number.isFinite(combined) ? combined : undefined;
  }

  #rankOf({ labels }: Sample): string {
    const ranks = this.query.rankLabels ?? [];
    if (!ranks.some((label) => labels.has(label))) return "";
    return ranks.map((label) => labels.get(label) ?? "").join("/");
  }
}

function forEachSample(text: string, name: string, visit: (sample: Sample) => void): void {
  let isTypeKnown = false;
  for (let at = nextLine(text, name, 0); at !== -1; at = nextLine(text, name, at + 1)) {
    const sample = parseSample(text, at + name.length);
    if (sample === undefined) continue;
    if (!isTypeKnown && MANY_VALUED.includes(typeBefore(text, at, name))) return;
    isTypeKnown = true;
    visit(sample);
  }
}

/** The type that the nearest TYPE line above `at` gives `name`, or "". */
function typeBefore(text: string, at: number, name: string): string {
  const start = text.lastIndexOf("# TYPE ", at);
  if (start === -1) return "";
  const end = text.indexOf("\n", start);
  const [, , typed, type = ""] = text.slice(start, end === -1 ? text.length : end).split(/\s+/, 4);
  return typed === name ? type : "";
}

/** Start of the next line at or after `from` that begins with `name`, or -1. */
function nextLine(text: string, name: string, from: number): number {
  if (from === 0 && text.startsWith(name)) return 0;
  const at = text.indexOf(`\n${name}`, Math.max(0, from - 1));
  return at === -1 ? -1 : at + 1;
}

function isMatching({ labels }: Sample, match: SeriesQuery["match"]): boolean {
  for (const label in match) if (labels.get(label) !== match[label]) return false;
  return true;
}

function valueOf(sample: Sample, { valueLabel }: SeriesQuery): number | undefined {
  if (valueLabel === undefined) return sample.value;
  const value = parseNumber(sample.labels.get(valueLabel) ?? "");
  return Number.isFinite(value) ? value : undefined;
}

/** Parses a line from just behind its name. Undefined if the name goes on or the line is broken. */
function parseSample(text: string, from: number): Sample | undefined {
  const lineEnd = text.indexOf("\n", from);
  const line = text.slice(from, lineEnd === -1 ? text.length : lineEnd);
  const labels = new Map<string, string>();
  let at = skipBlank(line, 0);
  if (line[at] === "{") {
    at = parseLabels(line, at + 1, labels);
    if (at === -1) return undefined;
  } else if (at === 0) {
    return undefined;
  }
  // An OpenMetrics exemplar may follow behind " # ".
  const [value = "", timestamp = "0"] = line
    .slice(at)
    .split("#", 1)[0]!
    .trim()
    .split(/[ \t]+/, 2);
  const sample = { labels, value: parseNumber(value), timestamp: parseNumber(timestamp) };
  return Number.isFinite(sample.value) && Number.isFinite(sample.timestamp) ? sample : undefined;
}

/** Parses `name="value",…}` into `labels`; gives the place behind the brace, or -1. */
function parseLabels(line: string, from: number, labels: Map<string, string>): number {
  let at = skipBlank(line, from);
  while (line[at] !== "}") {
    const equals = line.indexOf("=", at);
    const name = line.slice(at, equals).trim();
    const quote = skipBlank(line, equals + 1);
    if (equals === -1 || name === "" || line[quote] !== '"') return -1;
    const end = quoteEnd(line, quote + 1);
    if (end === -1 || labels.size >= LINE_LABELS_MAX) return -1;
    labels.set(name, unescapeLabel(line.slice(quote + 1, end)));
    at = skipBlank(line, end + 1);
    if (line[at] === ",") at = skipBlank(line, at + 1);
    else if (line[at] !== "}") return -1;
  }
  return at + 1;
}

/** Place of the quote that closes the label value beginning at `from`, or -1. */
function quoteEnd(line: string, from: number): number {
  for (let at = from; at < line.length; at++) {
    if (line[at] === "\\") at += 1;
    else if (line[at] === '"') return at;
  }
  return -1;
}

function unescapeLabel(value: string): string {
  if (!value.includes("\\")) return value;
  return value.replace(/\\(["\\n])/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
}

function skipBlank(line: string, from: number): number {
  let at = from;
  while (line[at] === " " || line[at] === "\t") at += 1;
  return at;
}

/** A decimal number; NaN for everything else, the format's NaN and Inf included. */
function parseNumber(text: string): number {
  const isDecimal = text.length <= NUMBER_CHARS_MAX && DECIMAL.test(text);
  return isDecimal ? Number(text) : Number.NaN;
}
