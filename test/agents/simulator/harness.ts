// Starts simulated engines for a test and stops them after it.

import { onTestFinished } from "vitest";
import { createLogger } from "../../../src/agents/process/logger.ts";
import type { SimulatorParameters } from "../../../src/agents/simulator/parameters.ts";
import { startSimulator } from "../../../src/agents/simulator/server.ts";

const WAIT_MS_MAX = 15_000;
const POLL_MS = 5;

export const MODEL = "meta-llama/Llama-3.1-8B-Instruct";

/** What GET /sim/state answers. */
export interface EngineState {
  running: number;
  waiting: number;
  aborted: number;
  kvUsage: number;
  blocksFindable: number;
  connections: number;
  requests: {
    path: string;
    requestId: string;
    traceId?: string;
    headers: Record<string, string>;
    outcome: string;
    status: number;
    promptTokens: number;
    cachedTokens: number;
    outputTokens: number;
    failure?: string;
  }[];
}

/** Engines twenty times as fast as the default, unless told otherwise. */
export async function startEngines(parameters: Partial<SimulatorParameters> = {}) {
  const lines: string[] = [];
  const simulator = await startSimulator({
    parameters: { "time-scale": 0.05, mode: "echo", ...parameters },
    logger: createLogger({
      role: "simulator",
      level: "info",
      destination: { write: (line) => void lines.push(line) },
    }),
  });
  onTestFinished(() => simulator.close());
  const urls = simulator.ports.map((port) => `http://127.0.0.1:${port}`);
  return {
    url: urls[0]!,
    urls,
    ports: simulator.ports,
    kvEvents: simulator.kvEvents,
    storageEndpoint: simulator.storageEndpoint,
    lines,
    close: (drainMs?: number) => simulator.close(drainMs),
  };
}

/** As fetch takes them, but headers only as an object. */
type Init = Omit<RequestInit, "headers"> & { headers?: Record<string, string> };

export function post(url: string, body: unknown, init: Init = {}): Promise<Response> {
  return fetch(url, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...init,
    headers: { "content-type": "application/json", ...init.headers },
  });
}

export function chat(url: string, content: string, fields: object = {}, init: Init = {}) {
  const body = { model: MODEL, messages: [{ role: "user", content }], ...fields };
  return post(`${url}/v1/chat/completions`, body, init);
}

/** The fields tests look at, of any body the engine sends; each is there where the API has it. */
export interface Body {
  id: string;
  choices: {
    index: number;
    text: string;
    message: { content: string };
    delta: { content?: string };
    finish_reason: string | null;
    token_ids?: number[];
  }[];
  usage: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details: { cached_tokens: number };
  };
  prompt_token_ids?: number[];
  count: number;
  data: { id: string }[];
  error: { message: string; type: string; param: string | null; code: number };
}

export async function readBody(response: Response | Promise<Response>): Promise<Body> {
  return parseBody(await (await response).text());
}

export function parseBody(text: string): Body {
  return JSON.parse(text) as Body;
}

/** All items of an async iterable. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** The data of every event of a stream. */
export async function readEvents(response: Response): Promise<string[]> {
  const events = (await response.text()).split("\n\n");
  return events.filter((event) => event !== "").map((event) => event.replace(/^data: /, ""));
}

export async function state(url: string): Promise<EngineState> {
  return (await fetch(`${url}/sim/state`)).json() as Promise<EngineState>;
}

/** Waits until `check` passes, asking again and again; fails with what it last threw. */
export async function eventually<T>(check: () => Promise<T>): Promise<T> {
  const deadlineMs = performance.now() + WAIT_MS_MAX;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadlineMs) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
