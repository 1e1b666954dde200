// TCP ports: whether one is free, and which one is.

import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { CliError, describeError } from "../cli-error.ts";

/** Throws a CliError if nothing can listen there. Port 0 stands for any. */
export async function requireFreePort(host: string, port: number): Promise<void> {
  try {
    await listenOnce(host, port);
  } catch (error) {
    const isTaken = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
    throw new CliError(
      isTaken
        ? `Port ${port} is taken: something already listens on ${host}:${port}. ` +
            "Stop it, or choose another port with --port (0 for any free one)."
        : `Cannot listen on ${host}:${port}: ${describeError(error)}.`,
    );
  }
}

/**
 * Below those that systems give to outgoing connections (from 32,768 on, or 49,152): a part that is started
 * again finds its port as it left it, however many connections have been made since.
 */
const LOWEST_PORT = 16_384;
const HIGHEST_PORT = 32_767;
const TRIES_MAX = 32;

/** A port that was free a moment ago. */
export async function findFreePort(host: string): Promise<number> {
  for (let i = 0; i < TRIES_MAX; i++) {
    try {
      return await listenOnce(host, randomInt(LOWEST_PORT, HIGHEST_PORT + 1));
    } catch {
      // Taken, or not for us.
    }
  }
  return listenOnce(host, 0);
}

async function listenOnce(host: string, port: number): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, resolve);
  });
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return typeof address === "object" && address !== null ? address.port : port;
}
