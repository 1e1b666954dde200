// TLS between the relay and engines: who speaks it, whom to believe, and as whom to appear. Certificates are
// always verified. The files are read when the relay starts.

import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { choiceFlag, type FlagValues, textFlag, UsageError } from "../process/flags.ts";
import type { EndpointRecord } from "../protocol/messages.ts";

/** Label of an endpoint that speaks TLS; its value is "true". */
const TLS_LABEL = "fairlead/tls";

export interface EngineTls {
  readonly scope: "none" | "labelled" | "all";
  /** PEM. Absent: the authorities that Node knows. */
  readonly ca?: string;
  /** PEM, both or none: what the relay shows to engines that ask for it. */
  readonly cert?: string;
  readonly key?: string;
  /** The name that certificates must have; absent: the endpoint's host. */
  readonly serverName?: string;
}

export const ENGINE_TLS_DEFAULTS: EngineTls = { scope: "labelled" };

export const ENGINE_TLS_FLAGS = {
  "engine-tls": choiceFlag(
    ["none", "labelled", "all"],
    `which endpoints speak TLS; labelled: those with the label ${TLS_LABEL}: "true"`,
    ENGINE_TLS_DEFAULTS.scope,
  ),
  "engine-tls-ca": textFlag("FILE", "authorities of engines' certificates, PEM", null),
  "engine-tls-cert": textFlag("FILE", "the relay's own certificate for engines, PEM", null),
  "engine-tls-key": textFlag("FILE", "its key, PEM", null),
  "engine-tls-server-name": textFlag(
    "NAME",
    "name that engines' certificates have (default: the endpoint's host)",
    null,
  ),
} as const;

/** Reads the files. Throws UsageError, which names no part of their content. */
export function engineTls(flags: FlagValues<typeof ENGINE_TLS_FLAGS>): EngineTls {
  const ca = readFlag("engine-tls-ca", flags["engine-tls-ca"]);
  const cert = readFlag("engine-tls-cert", flags["engine-tls-cert"]);
  const key = readFlag("engine-tls-key", flags["engine-tls-key"]);
  const serverName = flags["engine-tls-server-name"] ?? undefined;
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError(
      "--engine-tls-cert and --engine-tls-key are given together or not at all.",
    );
  }
  try {
    createSecureContext({ ca, cert, key });
  } catch {
    throw new UsageError(
      "--engine-tls-ca, -cert and -key must be PEM files, and the key that of the certificate.",
    );
  }
  return {
    scope: flags["engine-tls"],
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(serverName === undefined ? {} : { serverName }),
  };
}

function speaksTls({ scope }: EngineTls, { labels }: EndpointRecord): boolean {
  return scope === "all" || (scope === "labelled" && labels[TLS_LABEL] === "true");
}

/** Scheme, host and port, as all that is said to an engine must go: prompts are in it. */
export function engineOrigin(tls: EngineTls, endpoint: EndpointRecord): string {
  return `${speaksTls(tls, endpoint) ? "https" : "http"}://${endpoint.address}`;
}

/** Undici's `connect`, which heeds this where it connects by TLS. */
export function connectOptions({ ca, cert, key, serverName }: EngineTls) {
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}

function readFlag(name: string, path: string | null): string | undefined {
  if (path === null) return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
