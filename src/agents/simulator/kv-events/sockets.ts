// What publisher and replay have in common: addresses, and numbers as frames.

import { setTimeout as sleep } from "node:timers/promises";
import type { Publisher, Router } from "zeromq";

const REBIND_ATTEMPTS_MAX = 100;
const REBIND_DELAY_MS = 20;

/** vLLM's rule: such an address is bound, any other dialled. */
export function isBound(endpoint: string): boolean {
  return /\*|::|^ipc:|^inproc:/.test(endpoint);
}

/**
 * The address for the engine or rank that is `offset` after the first: TCP ports count up, names
 * within the process get a suffix. A port of the system's choice stays one.
 */
export function offsetEndpoint(endpoint: string, offset: number): string {
  if (endpoint.startsWith("inproc://")) return `${endpoint}_dp${offset}`;
  return endpoint.replace(/^(tcp:\/\/.*:)([0-9]+)$/, (_, head: string, port: string) =>
    port === "0" ? endpoint : `${head}${Number(port) + offset}`,
  );
}

/** The same TCP address at another port. Any other address stays as it is. */
export function withPort(endpoint: string, port: number): string {
  return endpoint.replace(/^(tcp:\/\/.*:)[0-9*]+$/, (_, head: string) => `${head}${port}`);
}

/** The port of a TCP address; undefined for any other. */
export function portOf(endpoint: string | undefined): number | undefined {
  const port = /^tcp:\/\/.*:([0-9]+)$/.exec(endpoint ?? "")?.[1];
  return port === undefined ? undefined : Number(port);
}

/** Binds, and gives the address others can dial. */
export async function bind(socket: Publisher | Router, endpoint: string): Promise<string> {
  await socket.bind(endpoint);
  return socket.lastEndpoint ?? endpoint;
}

/** Binds an address that another socket of this process has just given up. */
export async function rebind(socket: Publisher | Router, endpoint: string): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await bind(socket, endpoint);
    } catch (error) {
      // The closed socket lets go of its port in a thread of its own.
      if (attempt === REBIND_ATTEMPTS_MAX) throw error;
      await sleep(REBIND_DELAY_MS);
    }
  }
}

/** Eight bytes, big-endian. */
export function sequenceFrame(sequence: number): Buffer {
  const frame = Buffer.alloc(8);
  frame.writeBigUInt64BE(BigInt(sequence));
  return frame;
}
