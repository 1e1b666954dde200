// Reads a few series out of Prometheus text without parsing the rest.
//
// An engine's /metrics has thousands of lines, of which a pool reads about five. The scanner jumps
// from one line that begins with an asked-for name to the next (String.indexOf runs in native code)
// and parses only those. Rules, as llm-d's extractor has them:
//   - a name matches whole: `num_requests_waiting` is not `num_requests_waiting_by_reason`;
//   - every label in `match` must be there with that value; further labels do not matter;
//   - among several matching series the highest explicit timestamp wins, the first of equals;
//     series are never summed;
//   - NaN and infinities are dropped, as are lines that cannot be parsed.
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
}

interface Sample {
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
  /** 0 where the line has none. */
  readonly timestamp: number;
}

const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
/** Labels of one line; a line with more is passed over. */
export const LINE_LABELS_MAX = 256;

/** Reads `queries` from `text`; undefined where no usable series is. Never throws. */
export function scanPrometheus(
  text: string,
  queries: readonly SeriesQuery[],
): (number | undefined)[] {
  const values: (number | undefined)[] = queries.map(() => undefined);
  const timestamps = queries.map(() => -Infinity);
  const byName = new Map<string, number[]>();
  queries.forEach((query, index) => {
    const indexes = byName.get(query.series);
    if (indexes === undefined) byName.set(query.series, [index]);
    else indexes.push(index);
  });
  for (const [name, indexes] of byName) {
    for (let at = nextLine(text, name, 0); at !== -1; at = nextLine(text, name, at + 1)) {
      const sample = parseSample(text, at + name.length);
      if (sample === undefined) continue;
      for (const index of indexes) {
        const value = valueOf(sample, queries[index]!);
        if (value === undefined || sample.timestamp <= timestamps[index]!) continue;
        values[index] = value;
        timestamps[index] = sample.timestamp;
      }
    }
  }
  return values;
}

/** Start of the next line at or after `from` that begins with `name`, or -1. */
function nextLine(text: string, name: string, from: number): number {
  if (from === 0 && text.startsWith(name)) return 0;
  const at = text.indexOf(`\n${name}`, Math.max(0, from - 1));
  return at === -1 ? -1 : at + 1;
}

function valueOf(sample: Sample, query: SeriesQuery): number | undefined {
  for (const label in query.match) {
    if (sample.labels.get(label) !== query.match[label]) return undefined;
  }
  if (query.valueLabel === undefined) return sample.value;
  const value = parseNumber(sample.labels.get(query.valueLabel) ?? "");
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
    .split(/[ \t]+/);
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
  return DECIMAL.test(text) ? Number(text) : Number.NaN;
}
