// The endpoints file: llm-d's file-discovery format, in YAML or JSON.
//
//   endpoints:
//     - name: vllm-0            # required
//       namespace: default
//       address: 10.0.0.7       # required; IP address or host name
//       port: 8000
//       labels: { llm-d.ai/engine-type: vllm }
//
// Stricter than llm-d: an unknown key, a duplicate or a bad entry is a mistake of the whole file,
// so that a typing error never silently shrinks a pool.

import { parseDocument } from "yaml";
import { z } from "zod";
import { FRAME_HEADER_BYTES } from "../protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../protocol/limits.ts";
import { endpointSchema, type EndpointRecord } from "../protocol/messages.ts";
import { engineOf } from "./engine-label.ts";

/** As in llm-d. */
export const ENDPOINTS_FILE_BYTES_MAX = 1024 * 1024;
/** Mistakes reported of one file; the rest are only counted. */
export const MISTAKES_MAX = 50;

export type ParsedEndpoints =
  | { readonly ok: true; readonly endpoints: readonly EndpointRecord[] }
  /** Sentences for people, each with the place of the mistake. */
  | { readonly ok: false; readonly mistakes: readonly string[] };

const entryName = z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,125}[A-Za-z0-9])?$/, {
  error: "expected letters, digits, dots and hyphens, 1 to 127 characters",
});
const entrySchema = z.strictObject({
  name: entryName,
  namespace: entryName.default("default"),
  address: z
    .string()
    .regex(
      /^[A-Za-z0-9._-]{1,253}$|^[0-9a-fA-F:.]{2,45}$/,
      "expected an IP address or a host name",
    ),
  port: z.coerce.number("expected a port").pipe(z.int().min(1).max(65_535)).default(8_000),
  labels: endpointSchema.shape.labels,
});
const fileSchema = z.strictObject({
  endpoints: z.array(entrySchema).max(PROTOCOL_LIMITS.endpointsMax),
});

/** Reads the text of an endpoints file and reports every mistake in it. */
export function parseEndpoints(text: string): ParsedEndpoints {
  const document = parseDocument(text, { uniqueKeys: true });
  if (document.errors.length > 0) {
    return refused(document.errors.map((error) => firstLine(error.message)));
  }
  let value: unknown;
  try {
    value = document.toJS();
  } catch (error) {
    // An alias that expands beyond the parser's bound.
    return refused([error instanceof Error ? firstLine(error.message) : "unreadable YAML"]);
  }
  const parsed = fileSchema.safeParse(value);
  if (!parsed.success) {
    return refused(parsed.error.issues.map((issue) => `${place(issue.path)}: ${issue.message}`));
  }
  return toRecords(parsed.data.endpoints);
}

function toRecords(entries: readonly z.output<typeof entrySchema>[]): ParsedEndpoints {
  const mistakes: string[] = [];
  const ids = new Map<string, number>();
  const addresses = new Map<string, number>();
  const endpoints: EndpointRecord[] = [];
  entries.forEach((entry, index) => {
    const id = `${entry.namespace}/${entry.name}`;
    const host = entry.address.includes(":") ? `[${entry.address}]` : entry.address;
    const address = `${host.toLowerCase()}:${entry.port}`;
    const at = `endpoints[${index}]`;
    if (ids.has(id)) mistakes.push(`${at}: ${id} is also endpoints[${ids.get(id)}]`);
    if (addresses.has(address)) {
      mistakes.push(
        `${at}: ${address} is also the address of endpoints[${addresses.get(address)}]`,
      );
    }
    ids.set(id, index);
    addresses.set(address, index);
    endpoints.push({ id, address, engine: engineOf(entry.labels), labels: entry.labels });
  });
  const bytesMax = PROTOCOL_LIMITS.frameBytesMax - FRAME_HEADER_BYTES;
  if (Buffer.byteLength(JSON.stringify({ endpoints })) > bytesMax) {
    mistakes.push(`endpoints: names and labels together exceed ${bytesMax} bytes`);
  }
  return mistakes.length > 0 ? refused(mistakes) : { ok: true, endpoints };
}

function refused(mistakes: readonly string[]): ParsedEndpoints {
  const more = mistakes.length - MISTAKES_MAX;
  const shown = mistakes.slice(0, MISTAKES_MAX);
  return { ok: false, mistakes: more > 0 ? [...shown, `and ${more} more`] : shown };
}

function place(path: readonly PropertyKey[]): string {
  if (path.length === 0) return "the file";
  return path
    .map((key, i) => (typeof key === "number" ? `[${key}]` : `${i === 0 ? "" : "."}${String(key)}`))
    .join("");
}

/** The YAML parser's messages go on with an excerpt of the file. */
function firstLine(message: string): string {
  return message.split("\n", 1)[0]!.replace(/:$/, "");
}
