// The metrics of the benchmark's engines: how many requests the driver has under way at each.
//
// One server for all of them, each under an address of its own. What the driver has is asked for as often as it goes
// on, so what is told is hardly older than what an engine would tell.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "undici";
import { MODEL } from "../conversation.ts";

/** Where the driver's process says what runs, as JSON by address. */
export const RUNNING_PATH = "/bench/running";
const ASK_EVERY_MS = 20;

export class Engines {
  readonly #server = createServer(({ socket }, response) => {
    response.end(metricsOf(this.#running[`${socket.localAddress}:${this.port}`] ?? 0));
  }).listen(0, "0.0.0.0");
  readonly #client: Client;
  #running: Readonly<Record<string, number>> = {};
  #isStopped = false;

  /** `socketPath`: of the driver's process, which may not be there yet. */
  constructor(socketPath: string) {
    this.#client = new Client("http://bench.invalid", { socketPath });
    void this.#follow();
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#server.close();
    this.#server.closeAllConnections();
    await this.#client.destroy();
  }

  async #follow(): Promise<void> {
    while (!this.#isStopped) {
      try {
        const { body } = await this.#client.request({ method: "GET", path: RUNNING_PATH });
        this.#running = (await body.json()) as Record<string, number>;
      } catch {
        // It starts, or has ended.
      }
      await sleep(ASK_EVERY_MS);
    }
  }
}

function metricsOf(running: number): string {
  const values = { num_requests_running: running, num_requests_waiting: 0, kv_cache_usage_perc: 0 };
  return Object.entries(values)
    .map(
      ([name, value]) =>
        `# TYPE vllm:${name} gauge\nvllm:${name}{model_name="${MODEL}"} ${value}\n`,
    )
    .join("");
}
