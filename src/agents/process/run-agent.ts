// The life of an agent's process: start, say that it is ready, drain on a signal, exit.

import { createLogger, type Logger, type LogLevel } from "./logger.ts";

/** How long a stopping agent may take to finish what it carries. */
export const DRAIN_MS_MAX = 5_000;

/** A started agent. */
export interface RunningAgent {
  /** Fields of the ready line besides `ready` and `role`: ports and the like. */
  readonly ready: Readonly<Record<string, number | readonly number[]>>;
  /** Stops accepting and resolves when what is under way has ended. Called once. */
  close(): Promise<void>;
}

export interface AgentProcessOptions {
  readonly role: string;
  readonly "exit-with-parent": boolean;
  readonly "log-level": LogLevel;
}

/**
 * Runs `start`, prints the ready line on stdout and installs the ways to stop: SIGTERM, SIGINT and,
 * if asked for, the end of stdin. A start that fails ends the process with status 1.
 */
export async function runAgent(
  options: AgentProcessOptions,
  start: (logger: Logger) => Promise<RunningAgent>,
): Promise<void> {
  const logger = createLogger({ role: options.role, level: options["log-level"] });
  let agent: RunningAgent;
  try {
    agent = await start(logger);
  } catch (err) {
    logger.fatal({ err }, "could not start");
    return exit(logger, 1);
  }
  let isStopping = false;
  const stop = (why: string) => {
    // A second signal means: now.
    if (isStopping) return exit(logger, 1);
    isStopping = true;
    logger.info({ why }, "stopping");
    setTimeout(() => {
      logger.warn({ drainMsMax: DRAIN_MS_MAX }, "stopped before everything had ended");
      exit(logger, 0);
    }, DRAIN_MS_MAX).unref();
    agent.close().then(
      () => exit(logger, 0),
      (err: unknown) => {
        logger.error({ err }, "could not stop cleanly");
        exit(logger, 1);
      },
    );
  };
  process.on("SIGTERM", () => stop("SIGTERM"));
  process.on("SIGINT", () => stop("SIGINT"));
  if (options["exit-with-parent"]) exitWithParent(() => stop("parent gone"));
  process.stdout.write(`${JSON.stringify({ ready: true, role: options.role, ...agent.ready })}\n`);
  logger.info(agent.ready, "ready");
}

/** Calls `onGone` once when stdin closes: the parent holds its other end. */
function exitWithParent(onGone: () => void): void {
  let isGone = false;
  const once = () => {
    if (isGone) return;
    isGone = true;
    onGone();
  };
  process.stdin.on("end", once).on("close", once).on("error", once).resume();
}

function exit(logger: Logger, status: number): void {
  // The destination is asynchronous; what it still holds is written before the process ends.
  logger.flush(() => process.exit(status));
  setTimeout(() => process.exit(status), 100);
}
