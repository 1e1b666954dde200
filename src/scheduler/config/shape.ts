// Reads one part of a configuration by its schema, and says what is wrong with it in the words of
// its reader: which field, what was found, what is allowed. Strings that were found are never shown,
// for any of them may be a secret.

import type { z } from "zod";
import type { ConfigPath, Findings } from "./findings.ts";
import { quoted } from "./findings.ts";
import { didYouMean } from "./near-miss.ts";

/** Where a part stands. */
export interface Place {
  readonly path: ConfigPath;
  readonly findings: Findings;
}

/** The part as its schema makes it; undefined where there is a mistake in it, which is then told. */
export function readShape<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  { path, findings }: Place,
): z.output<Schema> | undefined {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues) {
    const within = issue.path.map((key) => (typeof key === "symbol" ? String(key) : key));
    if (issue.code === "unrecognized_keys") {
      const allowed = fieldsAt(schema, within);
      for (const key of issue.keys)
        findings.mistake([...path, ...within, shortKey(key)], unknownField(key, allowed));
    } else {
      findings.mistake([...path, ...within], describe(issue, valueAt(value, within)));
    }
  }
  return undefined;
}

export type Fields<Shape extends Readonly<Record<string, z.ZodType>>> = {
  readonly [Name in keyof Shape]?: z.output<Shape[Name]> | undefined;
};

/**
 * An object field by field, so that a mistake in one hides none in the others: those that are right.
 * undefined for what is no object.
 */
export function readFields<const Shape extends Readonly<Record<string, z.ZodType>>>(
  shape: Shape,
  value: unknown,
  { path, findings }: Place,
): Fields<Shape> | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    findings.mistake(path, `expected an object; found ${describeFound(value)}`);
    return undefined;
  }
  const written = value as Readonly<Record<string, unknown>>;
  const names = Object.keys(shape);
  for (const key of Object.keys(written))
    if (!names.includes(key)) findings.mistake([...path, shortKey(key)], unknownField(key, names));
  const fields = names.map((name) => [
    name,
    readShape(shape[name]!, written[name], { path: [...path, name], findings }),
  ]);
  return Object.fromEntries(fields) as Fields<Shape>;
}

/** Keys are part of paths, which are shown. */
function shortKey(key: string): string {
  return key.slice(0, KEY_CHARS_MAX);
}
const KEY_CHARS_MAX = 128;

/** What to say of a field that does not exist. */
export function unknownField(key: string, allowed: readonly string[]): string {
  const hint = didYouMean(key, allowed);
  const rest =
    allowed.length === 0 ? "no fields are allowed here" : `allowed are ${allowed.join(", ")}`;
  return `unknown field ${quoted(key)}${hint}; ${rest}`;
}

/** A value by what it is: strings are not shown. */
export function describeFound(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value === "string") return value === "" ? "an empty string" : "a string";
  return Array.isArray(value) ? "a list" : "an object";
}

const NOUNS: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
  record: "an object",
};

function describe(issue: z.core.$ZodIssue, found: unknown): string {
  if (issue.code === "custom" || issue.code === "invalid_format") return issue.message;
  const expected = expectation(issue);
  if (expected === undefined) return issue.message;
  return found === undefined || found === null
    ? `missing; expected ${expected}`
    : `expected ${expected}; found ${describeFound(found)}`;
}

function expectation(issue: z.core.$ZodIssue): string | undefined {
  if (issue.code === "invalid_type") return NOUNS[issue.expected] ?? issue.expected;
  if (issue.code === "invalid_value")
    return issue.values.map((value) => JSON.stringify(value)).join(" or ");
  if (issue.code === "invalid_union") {
    const kinds = issue.errors.flatMap(([first]) =>
      first === undefined ? [] : expectation(first),
    );
    const known = [...new Set(kinds.filter((kind) => kind !== undefined))];
    return known.length === 0 ? undefined : known.join(" or ");
  }
  if (issue.code !== "too_small" && issue.code !== "too_big") return undefined;
  const isNumber = issue.origin === "number" || issue.origin === "int";
  const unit = isNumber ? "" : issue.origin === "string" ? " characters" : " entries";
  if (issue.code === "too_small")
    return `${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}${unit}`;
  return `${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}${unit}`;
}

function valueAt(value: unknown, path: ConfigPath): unknown {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null) return undefined;
    at = (at as Record<string | number, unknown>)[key];
  }
  return at;
}

/** What zod's schemas say of themselves, as far as it is needed here. */
interface SchemaDefinition {
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly element?: z.ZodType;
  readonly valueType?: z.ZodType;
  readonly options?: readonly z.ZodType[];
}

/** Names of the fields of the object that `schema` expects at `path`; none where that is no object. */
function fieldsAt(schema: z.ZodType, path: ConfigPath): string[] {
  const {
    innerType,
    in: input,
    shape,
    element,
    valueType,
    options,
  } = schema.def as SchemaDefinition;
  if (innerType !== undefined) return fieldsAt(innerType, path);
  if (input !== undefined) return fieldsAt(input, path);
  if (options !== undefined) return options.flatMap((option) => fieldsAt(option, path));
  const [key, ...rest] = path;
  if (key === undefined) return Object.keys(shape ?? {});
  const next = shape?.[key] ?? element ?? valueType;
  return next === undefined ? [] : fieldsAt(next, rest);
}
