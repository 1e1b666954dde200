// GET requests to one cluster's API server, with the credentials that a kubeconfig or the pod's service
// account gives. The client library reads these, rotates tokens and runs credential plugins; what is
// asked and how answers are read is the reflector's.

import { KubeConfig, RequestContext, HttpMethod } from "@kubernetes/client-node";
import { request, type Dispatcher } from "undici";

/** Of a refusal's body, which is a Status object. */
const STATUS_BYTES_MAX = 64 * 1024;
const MESSAGE_CHARS_MAX = 300;
const CONNECT_AND_HEAD_MS_MAX = 30_000;

export type ApiAnswer =
  | {
      readonly ok: true;
      readonly body: AsyncIterable<Uint8Array>;
      /** Gives the connection up. Owed by the caller, whatever became of the body. */
      end(): void;
    }
  | {
      readonly ok: false;
      /** 0: no answer. */
      readonly status: number;
      /** A sentence for people. */
      readonly problem: string;
      /** What the server asks for; 0 if nothing. */
      readonly retryAfterMs: number;
    };

export class ClusterApi {
  readonly #config: KubeConfig;
  readonly #server: string;

  private constructor(config: KubeConfig, server: string) {
    this.#config = config;
    this.#server = server.replace(/\/+$/, "");
  }

  /**
   * Throws, saying what is missing. `kubeconfig` null: the service account of this pod, whose files are
   * below `root`.
   */
  static open(kubeconfig: string | null, root = ""): ClusterApi {
    const config = new KubeConfig();
    if (kubeconfig !== null) config.loadFromFile(kubeconfig);
    else if (process.env["KUBERNETES_SERVICE_HOST"] !== undefined) config.loadFromCluster(root);
    else {
      throw new Error("KUBERNETES_SERVICE_HOST is not set: outside a cluster, give --kubeconfig");
    }
    const server = config.getCurrentCluster()?.server;
    if (server === undefined || URL.parse(server) === null) {
      throw new Error(`${kubeconfig}: its current context names no cluster with a server`);
    }
    return new ClusterApi(config, server);
  }

  /** Never rejects. `signal` ends the exchange, body included. */
  async get(
    path: string,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<ApiAnswer> {
    let dispatcher: Dispatcher | undefined;
    // Each exchange has a dispatcher of its own, as the library makes them: tokens and authorities change.
    const end = () => void dispatcher?.destroy().catch(() => undefined);
    try {
      const url = `${this.#server}${path}?${new URLSearchParams(query).toString()}`;
      const context = new RequestContext(url, HttpMethod.GET);
      await this.#config.applySecurityAuthentication(context);
      dispatcher = context.getDispatcher() as Dispatcher | undefined;
      const { statusCode, headers, body } = await request(url, {
        headers: { ...context.getHeaders(), accept: "application/json" },
        headersTimeout: CONNECT_AND_HEAD_MS_MAX,
        // The reflector's own clock decides.
        bodyTimeout: 0,
        signal,
        ...(dispatcher === undefined ? {} : { dispatcher }),
      });
      if (statusCode === 200) return { ok: true, body, end };
      const problem = `HTTP ${statusCode}${await readMessage(body)}`;
      end();
      const retryAfterMs = 1_000 * (Number(headers["retry-after"] ?? 0) || 0);
      return { ok: false, status: statusCode, problem, retryAfterMs };
    } catch (error) {
      end();
      return { ok: false, status: 0, problem: describe(error), retryAfterMs: 0 };
    }
  }
}

/** A Status object's message, as `: message`; "" where there is none. */
async function readMessage(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of body) {
      chunks.push(chunk);
      size += chunk.byteLength;
      if (size > STATUS_BYTES_MAX) return "";
    }
    const { message } = JSON.parse(Buffer.concat(chunks).toString("utf8")) as { message?: unknown };
    return typeof message === "string" ? `: ${message.slice(0, MESSAGE_CHARS_MAX)}` : "";
  } catch {
    // Cut off, or not JSON: a proxy's answer.
    return "";
  }
}

/** Connections that fail say why in their cause. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  const text = cause instanceof Error ? `${error.message}: ${cause.message}` : error.message;
  return (text === "" ? error.name : text).slice(0, MESSAGE_CHARS_MAX);
}
