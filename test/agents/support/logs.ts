import { createLogger, type Logger } from "../../../src/agents/process/logger.ts";

/** A logger whose lines a test can read. */
export function captureLogs(role = "test"): { logger: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({
    role,
    level: "debug",
    destination: { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) },
  });
  return { logger, lines };
}
