// A metric as a configuration names it: `name` or `name{label=value,label2="v"}`, PromQL's instant
// vector selector with quotes left out at will.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/extractor/metrics/spec.go. Other matchers
// (!=, =~, !~) and labels that begin with __ are a mistake here: llm-d drops them without a word, so
// that the metric matches more than was written.

/** Where a number stands in an engine's Prometheus text. */
export interface MetricSource {
  readonly series: string;
  /** Labels that must have these values. */
  readonly match?: Readonly<Record<string, string>>;
  /** The label that carries the number, for info metrics; the sample itself where absent. */
  readonly valueLabel?: string;
}

/** Labels that one metric may ask for. */
export const MATCHED_LABELS_MAX = 16;
/** Of a metric's or a label's name. */
export const METRIC_NAME_CHARS_MAX = 256;
/** Of a whole specification of a metric. */
export const METRIC_SPEC_CHARS_MAX = 512;

export type ParsedMetricSpec =
  | { readonly ok: true; readonly source: MetricSource }
  /** What is wrong and what is allowed; for people. */
  | { readonly ok: false; readonly message: string };

const NAME = /^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*/;
const LABEL = /^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!=|!~|=)\s*/;
const QUOTED = /^"((?:[^"\\]|\\.)*)"\s*|^'((?:[^'\\]|\\.)*)'\s*/;
const BARE = /^([^",}\s]+)\s*/;
const SYNTAX = "expected name or name{label=value,…}";

/** Reads a specification that is not empty. Never throws. */
export function parseMetricSpec(text: string): ParsedMetricSpec {
  if (text.length > METRIC_SPEC_CHARS_MAX) {
    return refused(`longer than ${METRIC_SPEC_CHARS_MAX} characters`);
  }
  const name = NAME.exec(text);
  if (name === null) return refused(`no metric name at character 1: ${SYNTAX}`);
  const series = name[1]!;
  if (series.length > METRIC_NAME_CHARS_MAX) {
    return refused(`a metric name over ${METRIC_NAME_CHARS_MAX} characters`);
  }
  const rest = text.slice(name[0].length);
  if (rest === "") return { ok: true, source: { series } };
  if (!rest.startsWith("{"))
    return refused(`something at ${at(text, rest)}, after the metric name: ${SYNTAX}`);
  return parseMatchers(series, text);
}

function parseMatchers(series: string, text: string): ParsedMetricSpec {
  const match = new Map<string, string>();
  let rest = text.slice(text.indexOf("{") + 1).trimStart();
  while (!rest.startsWith("}")) {
    const label = LABEL.exec(rest);
    if (label === null) return refused(`no label matcher at ${at(text, rest)}: ${SYNTAX}`);
    const [matched, key, operator] = label;
    const where = `label ${match.size + 1}`;
    if (operator !== "=") return refused(`${where} has ${operator}: only = is allowed`);
    if (key!.length > METRIC_NAME_CHARS_MAX) {
      return refused(`a label name over ${METRIC_NAME_CHARS_MAX} characters`);
    }
    if (key!.startsWith("__")) return refused(`${where}: those with __ are not in a metric's text`);
    if (match.has(key!)) return refused(`${where} is asked for twice`);
    if (match.size >= MATCHED_LABELS_MAX) return refused(`over ${MATCHED_LABELS_MAX} labels`);
    rest = rest.slice(matched.length);
    const value = QUOTED.exec(rest) ?? BARE.exec(rest);
    if (value === null) return refused(`${where} has no value: ${SYNTAX}`);
    match.set(key!, unescape(value[1] ?? value[2] ?? ""));
    rest = rest.slice(value[0].length);
    if (rest.startsWith(",")) rest = rest.slice(1).trimStart();
    else if (!rest.startsWith("}"))
      return refused(`neither , nor } after ${where}, at ${at(text, rest)}: ${SYNTAX}`);
  }
  const behind = rest.slice(1).trim();
  if (behind !== "")
    return refused(`something at ${at(text, behind)}, after the labels: ${SYNTAX}`);
  return match.size === 0
    ? { ok: true, source: { series } }
    : { ok: true, source: { series, match: Object.fromEntries(match) } };
}

function refused(message: string): ParsedMetricSpec {
  return { ok: false, message };
}

/** Where `rest`, the end of `text`, begins. What stands there is not shown: it is a parameter's text. */
function at(text: string, rest: string): string {
  return rest === "" ? "the end" : `character ${text.trimEnd().length - rest.trimEnd().length + 1}`;
}

function unescape(value: string): string {
  return value.replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
}
