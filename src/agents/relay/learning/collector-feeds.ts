// The collectors behind the configured URLs: a host name stands for all of its addresses, as that of a headless
// Service does, and each has a feed of its own. Names are resolved again and again, because pods come and go.

import { lookup } from "node:dns/promises";
import { CollectorFeed, type CollectorFeedOptions } from "./collector-feed.ts";

/** A collector that came back under another address is told again that soon, and its resolver's cache. */
const RESOLVE_MS = 1_000;
/** Addresses that are told at once, of all names together. */
export const COLLECTORS_TOLD_MAX = 16;

export interface Address {
  readonly address: string;
  readonly family: number;
}

export interface CollectorFeedsOptions extends Omit<CollectorFeedOptions, "url" | "address"> {
  /** Base URLs. */
  readonly urls: readonly string[];
  /** All addresses of a host; the platform's resolver if absent. */
  readonly resolve?: (host: string) => Promise<readonly Address[]>;
  readonly resolveMs?: number;
}

export class CollectorFeeds {
  readonly #options: CollectorFeedsOptions;
  readonly #urls: readonly URL[];
  readonly #feeds = new Map<string, CollectorFeed>();
  readonly #timer: NodeJS.Timeout;
  #isResolving = false;
  #isClosed = false;

  /** Throws if one of the URLs is none. */
  constructor(options: CollectorFeedsOptions) {
    this.#options = options;
    this.#urls = options.urls.map((url) => new URL(url));
    this.#timer = setInterval(() => void this.#follow(), options.resolveMs ?? RESOLVE_MS);
    void this.#follow();
  }

  get size(): number {
    return this.#feeds.size;
  }

  /** There is something new in the store. */
  wake(): void {
    for (const feed of this.#feeds.values()) feed.wake();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await Promise.all([...this.#feeds.values()].map((feed) => feed.close()));
  }

  /** Tells the addresses there are now, and no others. */
  async #follow(): Promise<void> {
    if (this.#isResolving) return;
    this.#isResolving = true;
    const found = await Promise.all(this.#urls.map((url) => this.#addressesOf(url)));
    this.#isResolving = false;
    if (this.#isClosed) return;
    const wanted = new Map(found.flat());
    for (const [key, feed] of this.#feeds) {
      // A name that cannot be resolved just now may still have the addresses it had.
      const hasFailed = found.some((addresses, i) => {
        return addresses.length === 0 && key.startsWith(keyOf(this.#urls[i]!, ""));
      });
      if (wanted.has(key) || hasFailed) continue;
      this.#feeds.delete(key);
      void feed.close();
    }
    for (const [key, target] of wanted) {
      if (this.#feeds.has(key) || this.#feeds.size >= COLLECTORS_TOLD_MAX) continue;
      const { token, store, onTold } = this.#options;
      this.#feeds.set(key, new CollectorFeed({ ...target, token, store, onTold }));
    }
  }

  async #addressesOf(url: URL) {
    const { resolve = resolveAll } = this.#options;
    try {
      const addresses = await resolve(url.hostname.replace(/^\[|\]$/gu, ""));
      return addresses.map((address) => [keyOf(url, address.address), { url, address }] as const);
    } catch {
      return [];
    }
  }
}

function keyOf(url: URL, address: string): string {
  return `${url.href} ${address}`;
}

async function resolveAll(host: string): Promise<readonly Address[]> {
  return lookup(host, { all: true });
}
