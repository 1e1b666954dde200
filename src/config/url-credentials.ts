// Credentials in URLs: a URL is shown with the configuration, and in logs.
//
// Only what is written is checked. A stored configuration is read as it is.

import { z } from "zod";

const url = z.string().optional().catch(undefined);
const door = z.object({ url, metrics: z.object({ url }).optional().catch(undefined) }).catch({});
const doors = z.array(door).optional().catch(undefined);
const locations = z
  .object({ tokenizer: url, tokenizerConfig: url, chatTemplate: url })
  .optional()
  .catch(undefined);
const poolOutline = z.object({
  relays: doors,
  upstreams: doors,
  capacityWebhook: door.optional(),
  prefixKeys: locations,
});
const outlineSchema = z
  .object({ pools: z.array(poolOutline.catch({})).catch([]) })
  .catch({ pools: [] });
type PoolOutline = z.output<typeof poolOutline>;

interface Misplaced {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

interface WrittenUrl {
  readonly at: readonly (string | number)[];
  readonly url: string | undefined;
  /** Where its credentials belong. */
  readonly hint: string;
}

/** URLs of a configuration that hold a user name or a password. It may be malformed in any way. */
export function findUrlCredentials(document: unknown): Misplaced[] {
  const { pools } = outlineSchema.parse(document);
  return pools.flatMap((pool, p) =>
    urlsOf(pool)
      .filter((written) => hasCredentials(written.url))
      .map(({ at, hint }) => ({
        path: ["pools", p, ...at],
        message: `expected a URL without user name and password: it is shown with the configuration${hint}`,
      })),
  );
}

function urlsOf({ relays, upstreams, capacityWebhook, prefixKeys }: PoolOutline): WrittenUrl[] {
  return [
    ...(relays ?? []).map((relay, r) => ({
      at: ["relays", r, "url"],
      url: relay.url,
      hint: "; relays check signatures, by `keys`",
    })),
    ...(upstreams ?? []).flatMap((upstream, u) => [
      { at: ["upstreams", u, "url"], url: upstream.url, hint: "; use `apiKey`" },
      {
        at: ["upstreams", u, "metrics", "url"],
        url: upstream.metrics?.url,
        hint: "; use `token`",
      },
    ]),
    { at: ["capacityWebhook", "url"], url: capacityWebhook?.url, hint: "; use `token`" },
    ...(["tokenizer", "tokenizerConfig", "chatTemplate"] as const).map((field) => ({
      at: ["prefixKeys", field],
      url: prefixKeys?.[field],
      hint: "; use r2: or assets: for what is not public",
    })),
  ];
}

/** As the URL standard reads it: without tabs and line feeds, and with any slashes after the scheme. */
function hasCredentials(text: string | undefined): boolean {
  return text !== undefined && USERINFO.test(text.replaceAll(/[\t\n\r]/g, "").trimStart());
}

const USERINFO = /^https?:[/\\]*[^/\\?#]*@/i;
