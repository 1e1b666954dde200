// A small Prometheus registry that runs alike in workerd and Node, with bounded label sets.
// docs/decisions/ says why this is not prom-client.

/** Distinct values one label may take in one metric; later ones become "other" (as llm-d caps them). */
export const LABEL_VALUES_MAX = 1_000;
/** Series one metric may have; past it, new label combinations count under "other". */
export const SERIES_MAX = 5_000;
const OTHER = "other";
/** Between label values in a series' key. */
const SEPARATOR = "\u0000";

export type MetricKind = "counter" | "gauge" | "histogram";

/** Name, help and labels of one metric. Every definition stands in names.ts. */
export interface MetricDefinition<Label extends string = string> {
  readonly name: string;
  readonly kind: MetricKind;
  readonly help: string;
  readonly labels: readonly Label[];
  /** Upper bounds in ascending order, without +Inf. Histograms only. */
  readonly buckets?: readonly number[];
}

type LabelsOf<D> =
  D extends MetricDefinition<infer Label> ? Readonly<Record<Label, string>> : never;

interface Series {
  readonly labels: readonly string[];
  /** counter, gauge: [value]; histogram: [bucket counts…, +Inf count, sum]. */
  readonly values: Float64Array;
}

class Metric {
  readonly definition: MetricDefinition;
  readonly #series = new Map<string, Series>();
  readonly #seen: Set<string>[];

  constructor(definition: MetricDefinition) {
    this.definition = definition;
    this.#seen = definition.labels.map(() => new Set<string>());
  }

  series(labels: Readonly<Record<string, string>>): Series {
    return this.#series.get(keyOf(this.definition.labels, labels)) ?? this.#newSeries(labels);
  }

  /** Of values that no series has: they may count as others. */
  #newSeries(labels: Readonly<Record<string, string>>): Series {
    let values = this.definition.labels.map((label, i) => this.#bounded(i, labels[label] ?? ""));
    let series = this.#series.get(values.join(SEPARATOR));
    if (series !== undefined) return series;
    if (this.#series.size >= SERIES_MAX) {
      values = values.map(() => OTHER);
      series = this.#series.get(values.join(SEPARATOR));
      if (series !== undefined) return series;
    }
    const width = this.definition.kind === "histogram" ? this.definition.buckets!.length + 2 : 1;
    series = { labels: values, values: new Float64Array(width) };
    this.#series.set(values.join(SEPARATOR), series);
    return series;
  }

  clear(): void {
    this.#series.clear();
    for (const seen of this.#seen) seen.clear();
  }

  forget(labels: Readonly<Record<string, string>>): void {
    const { labels: names } = this.definition;
    const kept = [...this.#series].filter(([, series]) =>
      names.some((name, i) => name in labels && labels[name] !== series.labels[i]),
    );
    this.clear();
    for (const [key, series] of kept) {
      this.#series.set(key, series);
      series.labels.forEach((value, i) => this.#seen[i]!.add(value));
    }
  }

  #bounded(index: number, value: string): string {
    const seen = this.#seen[index]!;
    if (seen.has(value)) return value;
    if (seen.size >= LABEL_VALUES_MAX) return OTHER;
    seen.add(value);
    return value;
  }

  render(): string {
    const { name, help, kind, labels, buckets } = this.definition;
    const lines = [`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`];
    for (const series of this.#series.values()) {
      const pairs = labels.map((label, i) => `${label}="${escapeLabel(series.labels[i]!)}"`);
      if (kind !== "histogram") {
        lines.push(`${name}${braces(pairs)} ${formatNumber(series.values[0]!)}`);
        continue;
      }
      let cumulative = 0;
      for (let b = 0; b <= buckets!.length; b++) {
        cumulative += series.values[b]!;
        const le = b === buckets!.length ? "+Inf" : formatNumber(buckets![b]!);
        lines.push(`${name}_bucket${braces([...pairs, `le="${le}"`])} ${cumulative}`);
      }
      lines.push(
        `${name}_sum${braces(pairs)} ${formatNumber(series.values[buckets!.length + 1]!)}`,
      );
      lines.push(`${name}_count${braces(pairs)} ${cumulative}`);
    }
    return lines.join("\n") + "\n";
  }
}

/** The label values, in their order: looked up several times a request, so nothing is built but the text. */
function keyOf(names: readonly string[], labels: Readonly<Record<string, string>>): string {
  if (names.length === 0) return "";
  let key = labels[names[0]!] ?? "";
  for (let i = 1; i < names.length; i++) key += SEPARATOR + (labels[names[i]!] ?? "");
  return key;
}

/** Holds the series of one process or object. Metrics appear in `render` once they were touched. */
export class MetricRegistry {
  readonly #metrics = new Map<string, Metric>();
  readonly #collectors: (() => void)[] = [];

  /** Adds `by` (at least 0) to a counter. */
  inc<D extends MetricDefinition>(definition: D, labels: LabelsOf<D>, by = 1): void {
    this.#metric(definition).series(labels).values[0]! += by;
  }

  /** Sets a gauge, or a counter that is kept elsewhere. */
  set<D extends MetricDefinition>(definition: D, labels: LabelsOf<D>, value: number): void {
    this.#metric(definition).series(labels).values[0] = value;
  }

  /** Adds one observation to a histogram. NaN is dropped: it would poison the sum for ever. */
  observe<D extends MetricDefinition>(definition: D, labels: LabelsOf<D>, value: number): void {
    if (Number.isNaN(value)) return;
    const buckets = definition.buckets!;
    const { values } = this.#metric(definition).series(labels);
    let b = 0;
    while (b < buckets.length && value > buckets[b]!) b++;
    values[b]! += 1;
    values[buckets.length + 1]! += value;
  }

  /** Forgets all series of a gauge, so that a departed endpoint leaves no stale value behind. */
  reset(definition: MetricDefinition): void {
    this.#metrics.get(definition.name)?.clear();
  }

  /** Forgets the series that have all of these label values: what they count is gone for good. */
  forget<D extends MetricDefinition>(definition: D, labels: Partial<LabelsOf<D>>): void {
    this.#metrics.get(definition.name)?.forget(labels as Readonly<Record<string, string>>);
  }

  /** Runs `collect` before every render, to set gauges from live state. */
  onRender(collect: () => void): void {
    this.#collectors.push(collect);
  }

  /** Prometheus text format 0.0.4. */
  render(): string {
    for (const collect of this.#collectors) collect();
    let text = "";
    for (const metric of this.#metrics.values()) text += metric.render();
    return text;
  }

  #metric(definition: MetricDefinition): Metric {
    let metric = this.#metrics.get(definition.name);
    if (metric === undefined) {
      metric = new Metric(definition);
      this.#metrics.set(definition.name, metric);
    }
    return metric;
  }
}

/** Content type of `MetricRegistry.render()`. */
export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

function braces(pairs: readonly string[]): string {
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

/** As Prometheus writes it. */
export function formatNumber(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}
