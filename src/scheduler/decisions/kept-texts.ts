// Facts about the latest requests that nearly nobody ever asks for, kept as texts: as objects they would stay
// on the heap for the garbage collector to walk.

/** Bounds of one store. */
export interface TextLimits {
  readonly textsMax: number;
  /** Over all texts. */
  readonly charsMax: number;
  /** Of one text; a longer one is not kept. */
  readonly charsPerTextMax: number;
}

/** The latest texts, by key. */
export class KeptTexts {
  readonly #limits: TextLimits;
  /** Oldest first. */
  readonly #texts = new Map<string, string>();
  #chars = 0;

  constructor(limits: TextLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#texts.size;
  }

  /** Takes the place of an earlier one of the same key. The oldest go for new ones. */
  add(key: string, text: string): void {
    const { textsMax, charsMax, charsPerTextMax } = this.#limits;
    this.#forget(key);
    if (text.length > charsPerTextMax) return;
    this.#texts.set(key, text);
    this.#chars += text.length;
    while (this.#texts.size > textsMax || this.#chars > charsMax) {
      const [oldest] = this.#texts.keys();
      this.#forget(oldest!);
    }
  }

  /** Undefined where none is kept. */
  find(key: string): string | undefined {
    return this.#texts.get(key);
  }

  #forget(key: string): void {
    const known = this.#texts.get(key);
    if (known === undefined) return;
    this.#chars -= known.length;
    this.#texts.delete(key);
  }
}
