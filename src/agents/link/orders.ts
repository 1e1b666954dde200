// What links are told: by the command line at their start, and by POST /link while they run.

import { z } from "zod";
import type { Flag } from "../process/flags.ts";
import { parseListenAddress } from "../process/listen.ts";
import type { Cut, LinkSpec } from "./link.ts";

/** A minute is longer than any connection on earth takes. */
const RTT_MS_MAX = 60_000;
/** An order without an end is one that is forgotten. */
const FOR_MS_MAX = 3_600_000;
const LINKS_MAX = 64;
const HOST = "127.0.0.1";

const rttMs = z.number().min(0).max(RTT_MS_MAX);
const bytesPerSecond = z.number().min(1).nullable();
const cuts = ["none", "refuse", "blackhole", "reset"] as const satisfies (Cut | "reset")[];

const orderSchema = z.strictObject({
  link: z.string().optional().describe("Its name; absent: every link of the process"),
  rttMs: rttMs.optional(),
  jitterMs: rttMs.optional(),
  bytesPerSecond: bytesPerSecond.optional(),
  cut: z.enum(cuts).optional(),
  forMs: z
    .number()
    .int()
    .min(1)
    .max(FOR_MS_MAX)
    .optional()
    .describe(
      "After it the link is again as it was started; absent: until the next order, or as long as the one before, unless this one has a cut",
    ),
});
type LinkOrder = z.output<typeof orderSchema>;

const linkSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9-]{1,80}$/, "expected lower-case letters, digits and hyphens"),
  port: z.number().int().min(0).max(65_535).default(0),
  target: z.string().transform((text, context) => {
    const address = parseListenAddress(text);
    if (address !== undefined && address.port > 0) return address;
    context.addIssue({ code: "custom", message: "expected host:port" });
    return z.NEVER;
  }),
  rttMs: rttMs.default(0),
  jitterMs: rttMs.default(0),
  bytesPerSecond: bytesPerSecond.default(null),
});
const linksSchema = z
  .array(linkSchema)
  .min(1)
  .max(LINKS_MAX)
  .refine((links) => new Set(links.map(({ name }) => name)).size === links.length, {
    error: "two links have one name",
  });

type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly message: string };

/** `body` is whatever JSON came. */
export function parseOrder(body: unknown): Parsed<LinkOrder> {
  return parsed(orderSchema.safeParse(body));
}

/** A JSON list of links. */
export const linksFlag: Flag<readonly LinkSpec[]> = {
  placeholder: "JSON",
  help: 'the links, e.g. [{"name": "a", "port": 0, "target": "10.0.0.7:9101", "rttMs": 80}]',
  fallback: undefined,
  parse(text) {
    const links = parsed(linksSchema.safeParse(parseJson(text)));
    if (!links.ok) return { ok: false, expected: `a list of links: ${links.message}` };
    const value = links.value.map(({ name, port, target, ...shape }) => ({
      name,
      listen: { host: HOST, port },
      target,
      shape,
    }));
    return { ok: true, value };
  },
};

function parsed<T>(result: z.ZodSafeParseResult<T>): Parsed<T> {
  return result.success
    ? { ok: true, value: result.data }
    : { ok: false, message: z.prettifyError(result.error).replaceAll("\n", " ") };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The schema says what was expected.
    return undefined;
  }
}
