// The Prometheus texts of a pool's objects as one text, in which no series is there twice.
//
//   counter, histogram   added up, series by series
//   gauge                by its rule in shard-gauges.ts; the greatest where it has none
//
// The texts are our own, as MetricRegistry writes them: a series has the same labels in the same order in
// each of them, so what stands before its value names it. O(lines).

import { formatNumber } from "./metrics.ts";
import { type GaugeRule, gaugeRuleOf } from "./shard-gauges.ts";

interface Family {
  /** Its HELP and TYPE lines. */
  readonly head: string[];
  readonly rule: GaugeRule;
  readonly series: Map<string, Series>;
}

interface Series {
  value: number;
  /** Texts that have it. */
  count: number;
}

const HELP = "# HELP ";
const TYPE = "# TYPE ";

/** One text is given back as it is. What is not understood is left out. */
export function mergeMetrics(texts: readonly string[]): string {
  const [only] = texts;
  if (only !== undefined && texts.length === 1) return only;
  const families = new Map<string, Family>();
  for (const text of texts) addText(families, text);
  const lines: string[] = [];
  for (const { head, rule, series } of families.values()) {
    lines.push(...head);
    for (const [name, { value, count }] of series)
      lines.push(`${name} ${formatNumber(rule === "mean" ? value / count : value)}`);
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

function addText(families: Map<string, Family>, text: string): void {
  let help = "";
  let family: Family | undefined;
  for (const line of text.split("\n")) {
    if (line.startsWith(HELP)) help = line;
    else if (line.startsWith(TYPE)) family = familyOf(families, line, help);
    else if (family !== undefined) addLine(family, line);
  }
}

function familyOf(families: Map<string, Family>, type: string, help: string): Family {
  const [name = "", kind] = type.slice(TYPE.length).split(" ");
  let family = families.get(name);
  if (family === undefined) {
    const rule = kind === "gauge" ? (gaugeRuleOf(name) ?? "max") : "sum";
    family = { head: help === "" ? [type] : [help, type], rule, series: new Map() };
    families.set(name, family);
  }
  return family;
}

function addLine({ rule, series }: Family, line: string): void {
  // Values of labels may have blanks; the value behind them has none.
  const end = line.lastIndexOf(" ");
  if (end <= 0) return;
  const name = line.slice(0, end);
  const value = parseNumber(line.slice(end + 1));
  const known = series.get(name);
  if (known === undefined) {
    series.set(name, { value, count: 1 });
    return;
  }
  known.count += 1;
  if (rule === "max") known.value = Math.max(known.value, value);
  else if (rule === "min") known.value = Math.min(known.value, value);
  else known.value += value;
}

function parseNumber(text: string): number {
  if (text === "+Inf") return Infinity;
  return text === "-Inf" ? -Infinity : Number(text);
}
