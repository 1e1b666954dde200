// What does deeds: the run itself, its links, its simulated engines, the Worker.

import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type AdminClient, errorMessage } from "../admin-client.ts";
import { CliError, describeError } from "../cli-error.ts";
import { conditionsSchema, type Conditions, type Disturbance } from "../up/disturbances.ts";
import { controlPathIn, type Running } from "../up/state-dir.ts";
import type { Deed } from "./targets.ts";

const ANSWER_MS_MAX = 10_000;
const ANSWER_CHARS_MAX = 1024 * 1024;
const TOO_LONG = new Error(`it is longer than ${ANSWER_CHARS_MAX} characters`);
/** Of an answer that was not understood. */
const SHOWN_CHARS_MAX = 200;
const POLL_MS = 25;
/** Links and engines are told for how long: what stays is forgotten after this, as the usage says. */
const LEASE_MS_MAX = 600_000;

/** A deed that was done. */
export interface Done {
  /** Resolves when the target is whole again; never if it stays. */
  readonly returned: Promise<void>;
  /** Takes it back now, as far as it can be. */
  undo(): Promise<void>;
}

export class RunClient {
  readonly #running: Running;
  readonly #admin: AdminClient;
  readonly #signal: AbortSignal;

  /** The signal ends all waiting. */
  constructor(running: Running, admin: AdminClient, signal: AbortSignal) {
    this.#running = running;
    this.#admin = admin;
    this.#signal = signal;
  }

  /** For as long as it is told; null: it stays. */
  async do(deed: Deed, forMs: number | null): Promise<Done> {
    switch (deed.by) {
      case "up":
        return this.#disturb(deed, deed.forMs ?? forMs);
      case "links":
        return this.#changeLinks(deed, forMs);
      case "engines":
        return this.#cutEngines(deed, forMs);
      case "worker":
        return this.#drain(deed, forMs);
    }
  }

  async #disturb(deed: Deed & { by: "up" }, forMs: number | null): Promise<Done> {
    const names = [...deed.names];
    await this.#control("POST", { names, do: deed.do, forMs });
    return {
      returned: this.#after(forMs, () => this.#untilReady(names)),
      undo: async () => void (await this.#control("POST", { names, do: "start" })),
    };
  }

  async #untilReady(names: readonly string[]): Promise<void> {
    for (;;) {
      const conditions = await this.#control("GET");
      if (names.every((name) => conditions[name] === "ready")) return;
      await sleep(POLL_MS, undefined, { signal: this.#signal });
    }
  }

  async #changeLinks(deed: Deed & { by: "links" }, forMs: number | null): Promise<Done> {
    const port = this.#running.adminPorts[deed.process];
    if (port === undefined) throw new CliError(`The run has no process named ${deed.process}.`);
    const url = `http://127.0.0.1:${port}/link`;
    const tell = (change: object) =>
      Promise.all(deed.links.map((link) => call({ url }, { link, ...change })));
    await tell({ ...deed.change, forMs: forMs ?? LEASE_MS_MAX });
    // A link that is told something for a moment becomes as it was.
    return { returned: this.#after(forMs), undo: async () => void (await tell({ forMs: 1 })) };
  }

  async #cutEngines(deed: Deed & { by: "engines" }, forMs: number | null): Promise<Done> {
    const failure = [{ kind: "refuse", delayMs: forMs ?? LEASE_MS_MAX }];
    const urls = deed.endpoints.map((endpoint) => `http://${endpoint}/sim/failures`);
    await Promise.all(urls.map((url) => call({ url }, failure)));
    // Who does not listen cannot be told to.
    return { returned: this.#after(forMs), undo: () => Promise.resolve() };
  }

  async #drain(deed: Deed & { by: "worker" }, forMs: number | null): Promise<Done> {
    const tell = async (isDrain: boolean) => {
      const path = `/pools/${deed.pool}/${isDrain ? "drain" : "undrain"}`;
      const answer = await this.#admin.call({ method: "POST", path });
      if (answer.status >= 300)
        throw new CliError(`${deed.pool} could not be drained: ${errorMessage(answer)}`);
    };
    await tell(deed.isDrain);
    const undo = () => tell(!deed.isDrain);
    return { returned: this.#after(forMs, undo), undo };
  }

  /** When the time is over, and `then` with it. */
  async #after(forMs: number | null, then?: () => Promise<void>): Promise<void> {
    if (forMs === null) return new Promise(() => {});
    await sleep(forMs, undefined, { signal: this.#signal });
    await then?.();
  }

  async #control(method: "GET" | "POST", body?: Disturbance): Promise<Conditions> {
    const socketPath = controlPathIn(this.#running.socketDir);
    const answer = await call({ socketPath, path: "/processes", method }, body);
    return conditionsSchema.parse(answer);
  }
}

type Where =
  | { readonly url: string }
  | { readonly socketPath: string; readonly path: string; readonly method: "GET" | "POST" };

/** JSON for JSON, of something on this machine. Throws a CliError with what it says. */
function call(where: Where, body: unknown): Promise<unknown> {
  const text = body === undefined ? "" : JSON.stringify(body);
  const options = {
    method: "method" in where ? where.method : "POST",
    agent: false,
    headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text) },
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
  } as const;
  const what = "url" in where ? where.url : "fairlead up";
  return new Promise((resolve, reject) => {
    const sent = "url" in where ? request(where.url, options) : request({ ...options, ...where });
    const fail = (error: Error) =>
      reject(new CliError(`No answer from ${what}: ${describeError(error)}.`));
    sent.on("error", fail);
    sent.on("response", (response) => {
      let answer = "";
      response.on("error", fail);
      response.setEncoding("utf8").on("data", (chunk: string) => {
        answer += chunk;
        if (answer.length > ANSWER_CHARS_MAX) response.destroy(TOO_LONG);
      });
      response.on("close", () => {
        if (!response.complete) return fail(new Error("it broke off"));
        const status = response.statusCode ?? 0;
        if (status >= 300)
          return reject(new CliError(`${what} answered ${status}: ${answer.trim()}`));
        const parsed = parseJson(answer);
        if (parsed !== undefined) return resolve(parsed);
        const begin = answer.slice(0, SHOWN_CHARS_MAX);
        reject(new CliError(`${what} answered what is not JSON: ${begin}`));
      });
    });
    sent.end(text);
  });
}

/** undefined: it is none. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The caller says so.
    return undefined;
  }
}
