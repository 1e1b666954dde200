// Asks an engine, or a renderer beside the engines, what a prompt's tokens are.
//
// With connections of its own: a request that an engine serves never waits for one that it renders. Nothing
// is asked again but after a connection that did not come about, as whoever asks has little time.

import { Agent, type Dispatcher } from "undici";
import type { EndpointRecord } from "../../protocol/messages.ts";
import type { EndpointMarks } from "../endpoint-marks.ts";
import { connectOptions, engineOrigin, type EngineTls } from "../engine-tls.ts";

export const RENDER_LIMITS = {
  /** Renderings at once; more are refused as busy. Their bodies are 64 MiB at most. */
  rendersMax: 64,
  /** Of a request to render. */
  bodyBytesMax: 1024 * 1024,
  /** Of a rendering: half a million token ids take less. */
  answerBytesMax: 4 * 1024 * 1024,
  /** Until the answer is there. The Worker gives up long before. */
  answerMsMax: 10_000,
} as const;
/** Endpoints tried for one rendering. */
const TRIES_MAX = 2;
const CONNECT_MS_MAX = 500;
const CONNECTIONS_PER_ENDPOINT_MAX = 16;
/** Below the 5 s after which uvicorn closes an idle connection. */
const KEEP_ALIVE_MS = 4_000;

export interface RendererOptions {
  /** Those that were discovered here. */
  readonly endpoints: () => readonly EndpointRecord[];
  /** Of endpoints; the URL says for itself whether it is TLS, and is believed as Node believes. */
  readonly tls: EngineTls;
  readonly marks: Pick<EndpointMarks, "isMarked">;
  /** In [0, 1). */
  readonly rng: () => number;
  /** Is asked in place of endpoints, where there is one. */
  readonly url: URL | undefined;
}

export interface RenderRequest {
  readonly path: string;
  readonly body: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export class Renderer {
  readonly #options: RendererOptions;
  readonly #agent: Agent;

  constructor(options: RendererOptions) {
    this.#options = options;
    this.#agent = new Agent({
      ...(options.url === undefined ? { connect: connectOptions(options.tls) } : {}),
      allowH2: false,
      connections: CONNECTIONS_PER_ENDPOINT_MAX,
      connectTimeout: CONNECT_MS_MAX,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxResponseSize: RENDER_LIMITS.answerBytesMax,
      pipelining: 1,
    });
  }

  /** Undefined where nobody could be reached, or the signal was aborted. */
  async ask(request: RenderRequest): Promise<Dispatcher.ResponseData | undefined> {
    for (const origin of this.#origins()) {
      try {
        return await this.#agent.request({ ...request, origin, method: "POST" });
      } catch {
        // Refused, reset, or out of time.
        if (request.signal.aborted) return undefined;
      }
    }
    return undefined;
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** Any endpoints, so that they share the work; marked ones last. */
  #origins(): string[] {
    const { endpoints, marks, rng, tls, url } = this.#options;
    if (url !== undefined) return [url.origin];
    const all = endpoints();
    const from = Math.floor(rng() * all.length);
    const rotated = [...all.slice(from), ...all.slice(0, from)];
    const good = rotated.filter(({ address }) => !marks.isMarked(address));
    const marked = rotated.filter(({ address }) => marks.isMarked(address));
    return [...good, ...marked].slice(0, TRIES_MAX).map((endpoint) => engineOrigin(tls, endpoint));
  }
}
