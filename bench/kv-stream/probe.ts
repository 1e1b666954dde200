// Asks a pool's object what waits, one call after another: an RPC as a pick is, that does next to nothing.
// In a thread of its own, so that whoever sends meanwhile does not delay the clock.

import { setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { Pool } from "undici";

/** Between two calls. */
const PAUSE_MS = 5;

export interface ProbeTarget {
  readonly url: string;
  readonly path: string;
  readonly adminKey: string;
}

const { url, path, adminKey } = workerData as ProbeTarget;
const http = new Pool(url, { connections: 1 });

/** Milliseconds that each call took. */
async function waits(ms: number): Promise<number[]> {
  const taken: number[] = [];
  const endMs = performance.now() + ms;
  while (performance.now() < endMs) {
    const startedMs = performance.now();
    const headers = { authorization: `Bearer ${adminKey}` };
    const { statusCode, body } = await http.request({ method: "GET", path, headers });
    if (statusCode !== 200) throw new Error(`${path} answers ${statusCode}: ${await body.text()}`);
    await body.dump();
    taken.push(performance.now() - startedMs);
    await sleep(PAUSE_MS);
  }
  return taken;
}

parentPort!.on("message", (ms: number) => {
  waits(ms).then(
    (taken) => parentPort!.postMessage(taken),
    (error: unknown) => {
      throw error;
    },
  );
});
