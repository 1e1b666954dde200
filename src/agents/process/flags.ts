// Command-line flags of agents: typed values, defaults and ranges in one table per role, from which
// `--help` is printed. Every mistake on a command line is reported at once.

import { parseArgs } from "node:util";
import { parseListenAddress, type ListenAddress } from "./listen.ts";

/** A wrong command line. main.ts prints the message and exits with status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What a flag's text means, or what is wrong with it. */
type ParsedFlag<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; expected: string };

export interface Flag<T> {
  /** What stands for the value in the usage, e.g. `HOST:PORT`; "" for a switch. */
  readonly placeholder: string;
  readonly help: string;
  /** Used when the flag is absent; undefined makes the flag required. */
  readonly fallback: T | undefined;
  parse(text: string): ParsedFlag<T>;
}

type FlagTable = Readonly<Record<string, Flag<unknown>>>;
export type FlagValues<Table extends FlagTable> = {
  readonly [Name in keyof Table]: Table[Name] extends Flag<infer T> ? T : never;
};

/** A switch: present or not. */
export function switchFlag(help: string): Flag<boolean> {
  return { placeholder: "", help, fallback: false, parse: () => ({ ok: true, value: true }) };
}

/** A non-empty text that must be given. */
export function textFlag(placeholder: string, help: string): Flag<string>;
/** A text with a default; null where absence means something. */
export function textFlag<T extends string | null>(
  placeholder: string,
  help: string,
  fallback: T,
): Flag<string | T>;
export function textFlag(
  placeholder: string,
  help: string,
  fallback?: string | null,
): Flag<string | null> {
  return {
    placeholder,
    help,
    fallback,
    parse: (text) => (text === "" ? { ok: false, expected: "a value" } : { ok: true, value: text }),
  };
}

/** One of a closed set. */
export function choiceFlag<const T extends string>(
  choices: readonly T[],
  help: string,
  fallback: NoInfer<T>,
): Flag<T> {
  return {
    placeholder: choices.join("|"),
    help,
    fallback,
    parse(text) {
      const choice = choices.find((candidate) => candidate === text);
      return choice === undefined
        ? { ok: false, expected: `one of ${choices.join(", ")}` }
        : { ok: true, value: choice };
    },
  };
}

/** Inclusive bounds of a number. */
export interface NumberRange {
  readonly min: number;
  readonly max: number;
  readonly isInteger: boolean;
}

export function numberFlag(help: string, range: NumberRange, fallback: number): Flag<number> {
  const kind = range.isInteger ? "an integer" : "a number";
  return {
    placeholder: "N",
    help,
    fallback,
    parse(text) {
      const value = text.trim() === "" ? Number.NaN : Number(text);
      const isGood =
        (range.isInteger ? Number.isSafeInteger(value) : Number.isFinite(value)) &&
        value >= range.min &&
        value <= range.max;
      return isGood
        ? { ok: true, value }
        : { ok: false, expected: `${kind} from ${range.min} to ${range.max}` };
    },
  };
}

/** Where to listen: `host:port`, port 0 for any free one. */
export function listenFlag(help: string, fallback: string): Flag<ListenAddress> {
  return {
    placeholder: "HOST:PORT",
    help,
    fallback: parseListenAddress(fallback),
    parse(text) {
      const value = parseListenAddress(text);
      return value === undefined
        ? { ok: false, expected: "host:port, e.g. 127.0.0.1:9100 or [::1]:0" }
        : { ok: true, value };
    },
  };
}

/** An absolute URL of one of the given schemes (without the colon). */
export function urlFlag(help: string, schemes: readonly string[]): Flag<URL> {
  return {
    placeholder: "URL",
    help,
    fallback: undefined,
    parse(text) {
      const url = URL.parse(text);
      return url !== null && schemes.includes(url.protocol.slice(0, -1))
        ? { ok: true, value: url }
        : { ok: false, expected: `a URL beginning with ${schemes.join(":// or ")}://` };
    },
  };
}

/** Flags every agent has. */
export const PROCESS_FLAGS = {
  "exit-with-parent": switchFlag("exit when stdin closes, so that no agent outlives its parent"),
  "log-level": choiceFlag(["debug", "info", "warn", "error"], "least level that is logged", "info"),
} as const;

/**
 * Reads `args` by `table`. Throws UsageError naming every mistake. `--help` prints the usage and
 * ends the process.
 */
export function parseFlags<const Table extends FlagTable>(
  usage: { readonly role: string; readonly summary: string; readonly flags: Table },
  args: string[],
): FlagValues<Table> {
  const mistakes: string[] = [];
  const texts = new Map<string, string>();
  for (const token of tokenize(args, usage.flags)) {
    if (token.kind === "positional") {
      mistakes.push(`"${token.value}" is not a flag.`);
    } else if (token.kind === "option") {
      if (token.name === "help") {
        process.stdout.write(renderUsage(usage));
        process.exit(0);
      }
      const problem = checkShape(usage.flags[token.name], token.rawName, token.value);
      if (problem !== undefined) mistakes.push(problem);
      else if (texts.has(token.name)) mistakes.push(`${token.rawName} is given twice.`);
      else texts.set(token.name, token.value ?? "");
    }
  }
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(usage.flags)) {
    const text = texts.get(name);
    if (text === undefined) {
      if (flag.fallback === undefined) mistakes.push(`--${name} ${flag.placeholder} is required.`);
      values[name] = flag.fallback;
      continue;
    }
    const parsed = flag.parse(text);
    if (parsed.ok) values[name] = parsed.value;
    else mistakes.push(`--${name} must be ${parsed.expected}.`);
  }
  if (mistakes.length > 0) throw new UsageError(mistakes.join("\n"));
  return values as FlagValues<Table>;
}

function tokenize(args: string[], flags: FlagTable) {
  const options = Object.fromEntries(
    Object.entries(flags).map(([name, flag]) => [
      name,
      { type: flag.placeholder === "" ? ("boolean" as const) : ("string" as const) },
    ]),
  );
  // Not strict: its exceptions stop at the first mistake.
  const parsed = parseArgs({
    args,
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: { ...options, help: { type: "boolean" } },
  });
  return parsed.tokens;
}

function checkShape(
  flag: Flag<unknown> | undefined,
  rawName: string,
  value: string | undefined,
): string | undefined {
  if (flag === undefined) return `Unknown flag ${rawName}.`;
  if (flag.placeholder === "" && value !== undefined) return `${rawName} takes no value.`;
  if (flag.placeholder !== "" && value === undefined) return `${rawName} needs a value.`;
  return undefined;
}

function renderUsage(usage: {
  readonly role: string;
  readonly summary: string;
  readonly flags: FlagTable;
}): string {
  const rows = Object.entries(usage.flags).map(([name, flag]) => {
    const left = `  --${name}${flag.placeholder === "" ? "" : ` ${flag.placeholder}`}`;
    return [left, `${flag.help}${describeFallback(flag)}`] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  const lines = rows.map(
    ([left, right]) => left.padEnd(width) + right.replaceAll("\n", `\n${" ".repeat(width)}`),
  );
  return `Usage: node src/agents/main.ts ${usage.role} [flags]\n\n${usage.summary}\n\n${lines.join("\n")}\n`;
}

function describeFallback(flag: Flag<unknown>): string {
  const { fallback } = flag;
  if (fallback === undefined) return " (required)";
  if (typeof fallback === "string" || typeof fallback === "number") return ` (default ${fallback})`;
  if (typeof fallback === "object" && fallback !== null && "host" in fallback) {
    const { host, port } = fallback as ListenAddress;
    return ` (default ${host}:${port})`;
  }
  return "";
}
