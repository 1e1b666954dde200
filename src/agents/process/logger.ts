// The log of an agent: JSON lines on stderr. stdout belongs to the ready line.

import { pino, type Logger } from "pino";

export type { Logger };
export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** Bytes of log held while stderr is not read; past it lines are dropped rather than memory grown. */
const LOG_BUFFER_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Second line of defence: no caller logs these. The first is that callers name each field they log
 * and never pass a request, a header list or a configuration whole.
 */
const REDACTED_FIELDS: ReadonlySet<string> = new Set([
  "authorization",
  "token",
  "secret",
  "key",
  "keys",
  "password",
  "prompt",
  "messages",
  "body",
  "headers",
]);
const CENSOR = "[redacted]";
/** How long lines gather into one write: a write for each costs more than the line. */
const GATHER_MS = 20;
/** Lines beyond it are written at once. */
const GATHER_BYTES_MAX = 64 * 1024;

export interface LoggerOptions {
  readonly role: string;
  readonly level: LogLevel;
  /** Where lines go; stderr unless a test listens. */
  readonly destination?: { write(line: string): void };
}

/** A logger whose lines carry `role`, an ISO time and a level name. */
export function createLogger(options: LoggerOptions): Logger {
  return pino(
    {
      level: options.level,
      base: { role: options.role },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }), bindings: redact, log: redact },
      serializers: { err: describeError },
    },
    options.destination ?? openStderr(),
  );
}

/** Lines leave in the order they came. What is still gathered when the process ends is written then. */
function openStderr(): { write(line: string): void } {
  const stderr = pino.destination({
    fd: 2,
    sync: false,
    minLength: GATHER_BYTES_MAX,
    maxWrite: 2 * GATHER_BYTES_MAX,
    maxLength: LOG_BUFFER_BYTES_MAX,
  });
  let timer: NodeJS.Timeout | undefined;
  const flush = () => {
    timer = undefined;
    stderr.flush();
  };
  return {
    write(line) {
      stderr.write(line);
      timer ??= setTimeout(flush, GATHER_MS).unref();
    },
  };
}

/**
 * Censors the fields above in what is logged and one level below. pino's own option copies each line's object
 * first, which cost half of a line; here only one that has such a field is copied.
 */
function redact(fields: Record<string, unknown>): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined;
  for (const name of Object.keys(fields)) {
    const value = fields[name];
    const censored = REDACTED_FIELDS.has(name) ? CENSOR : redactMembers(value);
    if (censored === value) continue;
    copy ??= { ...fields };
    copy[name] = censored;
  }
  return copy ?? fields;
}

/** Errors say by themselves what is logged of them. */
function redactMembers(value: unknown): unknown {
  if (typeof value !== "object" || value === null || value instanceof Error) return value;
  const names = Object.keys(value).filter((name) => REDACTED_FIELDS.has(name));
  if (names.length === 0) return value;
  return { ...value, ...Object.fromEntries(names.map((name) => [name, CENSOR])) };
}

/** Only the listed properties of an error: libraries hang sockets, options and input on theirs. */
function describeError(error: unknown): Record<string, string> {
  if (!(error instanceof Error)) return { message: String(error) };
  const { code } = error as NodeJS.ErrnoException;
  return {
    type: error.name,
    message: error.message,
    ...(code === undefined ? {} : { code }),
    ...(error.stack === undefined ? {} : { stack: error.stack }),
  };
}
