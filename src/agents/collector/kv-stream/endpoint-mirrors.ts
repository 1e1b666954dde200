// The mirrors of a pool's endpoints, as far as there is something to keep of them; and which of them lack keys,
// because of a bound, and are to be filled again.

import { EndpointMirror } from "./endpoint-mirror.ts";

export interface EndpointMirrorsOptions {
  /** Of one endpoint; MIRROR_LIMITS.keysMax if absent. */
  readonly keysMax: number | undefined;
  /**
   * Calls `held` for every key that an endpoint holds. Where absent, a mirror that lacks keys is whole again
   * once its endpoint holds none.
   */
  readonly tellAgain: ((endpoint: string) => void) | undefined;
  /** A mirror has begun to lack keys. */
  onLacking(): void;
}

export class EndpointMirrors {
  readonly #options: EndpointMirrorsOptions;
  /** By endpoint id. */
  readonly #mirrors = new Map<string, EndpointMirror>();
  readonly #lacking = new Set<string>();

  constructor(options: EndpointMirrorsOptions) {
    this.#options = options;
  }

  get endpoints(): readonly string[] {
    return [...this.#mirrors.keys()];
  }

  get(endpoint: string): EndpointMirror | undefined {
    return this.#mirrors.get(endpoint);
  }

  /** One more where there is none yet. */
  of(endpoint: string): EndpointMirror {
    let mirror = this.#mirrors.get(endpoint);
    if (mirror === undefined) {
      mirror = new EndpointMirror(this.#options.keysMax);
      this.#mirrors.set(endpoint, mirror);
    }
    return mirror;
  }

  /** Forgets an endpoint. */
  delete(endpoint: string): void {
    this.#mirrors.delete(endpoint);
    this.#lacking.delete(endpoint);
  }

  /** A mirror has taken keys up. `lackedKeys`: so it did before. */
  taken(endpoint: string, mirror: EndpointMirror, lackedKeys: boolean): void {
    if (lackedKeys || !mirror.lacksKeys) return;
    this.#lacking.add(endpoint);
    this.#options.onLacking();
  }

  /** Fills those again that have room for what they lack. */
  refill(): void {
    const { tellAgain } = this.#options;
    for (const endpoint of this.#lacking) {
      const mirror = this.#mirrors.get(endpoint);
      if (mirror?.canRefill !== true || (tellAgain === undefined && mirror.keyCount > 0)) continue;
      this.#lacking.delete(endpoint);
      mirror.refill();
      tellAgain?.(endpoint);
      if (mirror.lacksKeys) this.#lacking.add(endpoint);
    }
  }

  /** Of all endpoints. */
  get figures(): { readonly dueKeys: number; readonly leftOut: number; readonly bytes: number } {
    const figures = { dueKeys: 0, leftOut: 0, bytes: 0 };
    for (const mirror of this.#mirrors.values()) {
      figures.dueKeys += mirror.dueCount;
      figures.leftOut += mirror.leftOut;
      figures.bytes += mirror.byteLength;
    }
    return figures;
  }
}
