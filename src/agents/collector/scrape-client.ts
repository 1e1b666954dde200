// One HTTP connection to one source of one endpoint.

import { readFileSync } from "node:fs";
import { Client } from "undici";
import { SCRAPE_STATUS, type ScrapeStatus } from "../protocol/codec.ts";
import type { EndpointRecord } from "../protocol/messages.ts";
import type { WireTarget } from "../protocol/metrics-specification.ts";

/** A whole scrape, as llm-d bounds its polls. A source too busy to answer counts as unreachable. */
const SCRAPE_TIMEOUT_MS = 1_000;
/** vLLM's text is 100 to 500 kB; more than this is not an engine's. */
export const SCRAPE_BYTES_MAX = 8 * 1024 * 1024;
/** Below uvicorn's 5 s, so that the engine never closes a connection in use. */
const KEEP_ALIVE_MS = 4_000;

export type Scraped =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly status: Exclude<ScrapeStatus, 0> };

/** Certificates, as undici's connector takes them. */
export interface TlsOptions {
  readonly rejectUnauthorized: boolean;
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** Reads the files that `tls` names. Throws if one cannot be read. */
export function readTlsFiles(tls: WireTarget["tls"]): TlsOptions {
  const { isVerified, caCertPath, clientCertPath, clientKeyPath } = tls;
  return {
    rejectUnauthorized: isVerified,
    ...(isVerified && caCertPath !== null ? { ca: readFileSync(caCertPath) } : {}),
    ...(clientCertPath !== null ? { cert: readFileSync(clientCertPath) } : {}),
    ...(clientKeyPath !== null ? { key: readFileSync(clientKeyPath) } : {}),
  };
}

/** Where a source of an endpoint is asked. */
export interface Origin {
  /** undefined: nowhere, because the endpoint's own address is no place either. */
  readonly url: string | undefined;
  /** The endpoint's labels name a place that is none; its own address stands in. */
  readonly isLabelBad: boolean;
}

/** The origin where `target` is asked about `endpoint`. */
export function originOf(target: WireTarget, { address, labels }: EndpointRecord): Origin {
  const portAt = address.lastIndexOf(":");
  const label = target.host === "node" ? labels["nodeAddress"] : labels["metricsAddress"];
  const host = target.host === "endpoint" ? undefined : label;
  const port = target.host === "metrics" ? labels["metricsPort"] : undefined;
  const hostOfLabel = host === undefined ? undefined : usableHost(host);
  const portOfLabel = port === undefined ? undefined : usablePort(port);
  const at = hostOfLabel ?? address.slice(0, portAt);
  const url = `${target.scheme}://${at}:${target.port ?? portOfLabel ?? address.slice(portAt + 1)}`;
  const isHostBad = host !== undefined && hostOfLabel === undefined;
  const isPortBad = port !== undefined && portOfLabel === undefined;
  return { url: URL.canParse(url) ? url : undefined, isLabelBad: isHostBad || isPortBad };
}

/** As it stands in a URL. Undefined for what is no host name or address, 10.0.0.300 among them. */
function usableHost(label: string): string | undefined {
  const host = label.includes(":") ? `[${label}]` : label;
  return HOST.test(label) && URL.canParse(`http://${host}`) ? host : undefined;
}

function usablePort(label: string): string | undefined {
  return PORT.test(label) && Number(label) >= 1 && Number(label) <= 65_535 ? label : undefined;
}
const HOST = /^[A-Za-z0-9._:-]{1,253}$/;
const PORT = /^[0-9]{1,5}$/;

export class ScrapeClient {
  readonly #client: Client | undefined;
  readonly #closed = new AbortController();

  /** Never throws. Whatever is asked of a client without an origin is unreachable. */
  constructor(origin: string | undefined, tls?: TlsOptions) {
    this.#client = createClient(origin, tls);
  }

  /** The text at `path`. Never rejects. */
  async get(path: string, accept: string): Promise<Scraped> {
    if (this.#client === undefined) return { ok: false, status: SCRAPE_STATUS.unreachable };
    try {
      const response = await this.#client.request({
        method: "GET",
        path,
        headers: { accept },
        signal: AbortSignal.any([this.#closed.signal, AbortSignal.timeout(SCRAPE_TIMEOUT_MS)]),
      });
      if (response.statusCode !== 200) {
        await response.body.dump();
        return { ok: false, status: SCRAPE_STATUS.malformed };
      }
      return { ok: true, text: await response.body.text() };
    } catch (error) {
      // Refused, reset, timed out, closed here, or larger than allowed.
      const isTooLarge = (error as NodeJS.ErrnoException).code === "UND_ERR_RES_EXCEEDED_MAX_SIZE";
      const status = isTooLarge ? SCRAPE_STATUS.malformed : SCRAPE_STATUS.unreachable;
      return { ok: false, status };
    }
  }

  /** Abandons what is under way. */
  close(): void {
    this.#closed.abort();
    this.#client?.destroy().catch(() => undefined);
  }
}

function createClient(origin: string | undefined, tls?: TlsOptions): Client | undefined {
  if (origin === undefined || !URL.canParse(origin)) return undefined;
  try {
    return new Client(origin, {
      connectTimeout: SCRAPE_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxResponseSize: SCRAPE_BYTES_MAX,
      ...(tls === undefined ? {} : { connect: { ...tls, timeout: SCRAPE_TIMEOUT_MS } }),
    });
  } catch {
    // An origin or a certificate that undici refuses: one endpoint's, and not to cost the others.
    return undefined;
  }
}
