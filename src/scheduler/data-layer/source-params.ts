// Parameters that sources asked over HTTP have in common, and the target they make.

import { z } from "zod";
import { parseDurationMs } from "../config/quantities.ts";
import { type ScrapeTarget, SPECIFICATION_LIMITS } from "./specification.ts";

const { pathCharsMax, intervalMsMin, intervalMsMax } = SPECIFICATION_LIMITS;
const file = z.string().max(pathCharsMax).default("");

/** How a source is asked, by the parameters of its plugin. */
export interface HttpSourceParams {
  readonly scheme: "http" | "https";
  readonly path: string;
  readonly port?: number;
  readonly insecureSkipVerify: boolean;
  readonly caCertPath?: string;
  readonly clientCertPath?: string;
  readonly clientKeyPath?: string;
  readonly interval?: string;
}

/** Scheme and path with the source's own defaults. */
export function requestShape(defaults: {
  scheme: "http" | "https";
  path: string;
  insecureSkipVerify: boolean;
}) {
  return {
    scheme: z.enum(["http", "https"]).default(defaults.scheme).describe("Of the request"),
    path: z
      .string()
      .max(pathCharsMax)
      .regex(/^\//, "expected a path that begins with /")
      .default(defaults.path)
      .describe("Path of the request"),
    insecureSkipVerify: z
      .boolean()
      .default(defaults.insecureSkipVerify)
      .describe("Whether any certificate will do"),
  };
}

/** 0, llm-d's way to say none: the endpoint's own port. */
export const portParam = z
  .int()
  .min(0)
  .max(65_535)
  .default(0)
  .describe("Port of the request; the endpoint's own where 0");

export const CERTIFICATE_SHAPE = {
  caCertPath: file.describe("PEM file, on the collector's machine, of who may sign the answerer"),
  clientCertPath: file.describe("PEM file of the collector's own certificate"),
  clientKeyPath: file.describe("PEM file of its key; both or none"),
};

export const intervalParam = z
  .string()
  .max(64)
  .refine((text) => {
    if (text === "") return true;
    const ms = parseDurationMs(text);
    return ms !== undefined && ms > 0 && ms <= intervalMsMax;
  }, "expected a duration above 0 and up to 1h, e.g. 1s")
  .default("")
  .describe("Time between two requests, e.g. 1s; at least 50ms, the pool's own where empty");

/** For schemas with CERTIFICATE_SHAPE. */
export function hasWholeCertificate(params: {
  clientCertPath: string;
  clientKeyPath: string;
}): boolean {
  return (params.clientCertPath === "") === (params.clientKeyPath === "");
}
export const HALF_A_CERTIFICATE = {
  path: ["clientKeyPath"],
  message: "clientCertPath and clientKeyPath are given together or not at all",
};

/** Where a source with these parameters is asked. `defaultPath` may be another with some engines. */
export function targetOf(
  params: HttpSourceParams,
  host: ScrapeTarget["host"],
  defaultPath?: string,
): ScrapeTarget {
  const intervalMs = parseDurationMs(params.interval ?? "");
  return {
    scheme: params.scheme,
    path: params.path === defaultPath ? null : params.path,
    port: orNull(params.port ?? 0, 0),
    host,
    intervalMs: intervalMs === undefined ? null : Math.max(intervalMsMin, intervalMs),
    tls: {
      isVerified: !params.insecureSkipVerify,
      caCertPath: orNull(params.caCertPath ?? "", ""),
      clientCertPath: orNull(params.clientCertPath ?? "", ""),
      clientKeyPath: orNull(params.clientKeyPath ?? "", ""),
    },
  };
}

function orNull<T>(value: T, none: T): T | null {
  return value === none ? null : value;
}
