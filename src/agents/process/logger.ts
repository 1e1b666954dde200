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
const REDACTED_FIELDS = [
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
];

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
      formatters: { level: (level) => ({ level }) },
      serializers: { err: describeError },
      redact: {
        paths: REDACTED_FIELDS.flatMap((field) => [field, `*.${field}`]),
        censor: "[redacted]",
      },
    },
    options.destination ??
      pino.destination({ fd: 2, sync: false, maxLength: LOG_BUFFER_BYTES_MAX }),
  );
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
