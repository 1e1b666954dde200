// Command lines of the CLI's commands.

import { parseArgs, type ParseArgsConfig } from "node:util";
import { UsageError } from "./cli-error.ts";

type Options = NonNullable<ParseArgsConfig["options"]>;
type Parsed<O extends Options> = ReturnType<
  typeof parseArgs<{ args: string[]; options: O; strict: true; allowPositionals: true }>
>;

/** Parses `args`; an unknown flag or a missing value throws UsageError. */
export function parseFlags<const O extends Options>(args: string[], options: O): Parsed<O> {
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: true });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // Node appends advice on how to pass a positional argument that looks like a flag.
    throw new UsageError(message.split(". To specify")[0]!);
  }
}

/** Inclusive bounds of a number given on the command line. */
export interface NumberRange {
  readonly min: number;
  readonly max: number;
}

/** The value of `--name`, or `fallback` when it was not given. */
export function integerFlag(
  name: string,
  text: string | undefined,
  range: NumberRange,
  fallback: number,
): number {
  const value = numberFlag(name, text, range, fallback);
  if (!Number.isInteger(value)) throw new UsageError(`--${name} takes a whole number.`);
  return value;
}

export function numberFlag(
  name: string,
  text: string | undefined,
  range: NumberRange,
  fallback: number,
): number {
  if (text === undefined) return fallback;
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!(value >= range.min && value <= range.max))
    throw new UsageError(`--${name} takes a number from ${range.min} to ${range.max}.`);
  return value;
}

/** The positional arguments, of which there must be exactly as many as `names`. */
export function positionals(given: readonly string[], names: readonly string[]): string[] {
  if (given.length < names.length) throw new UsageError(`${names[given.length]!} is missing.`);
  if (given.length > names.length)
    throw new UsageError(`"${given[names.length]!}" was not expected.`);
  return [...given];
}
