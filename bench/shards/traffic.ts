// Conversations of many users, all with the same system prompt: every request shares its first blocks, as chat
// templates make it. And what endpoints have cached of them.

import { CONTENT_BLOCK_TOKENS } from "../../src/scheduler/kv/content-keys.ts";
import { createRng, type Rng } from "../../src/scheduler/support/rng.ts";

/** Blocks that every prompt begins with. */
const SYSTEM_BLOCKS = 4;
/** Further ones that are shared by all conversations of one application. */
const APPLICATIONS = 24;
const APPLICATION_BLOCKS = 6;
/** Of each turn: what the user says, and what was answered to the turn before. */
const TURN_BLOCKS = 3;
const TURNS_MAX = 8;
/** Between an answer and the next turn. */
const THINK_MS = { min: 1_000, max: 3_000 };

export interface Turn {
  readonly conversation: Conversation;
  /** Numbers of blocks, first block first. */
  readonly blocks: readonly number[];
  readonly promptTokens: number;
}

interface Conversation {
  readonly blocks: number[];
  turnsLeft: number;
}

/** The same turns for the same seed, whenever they are asked for. */
export class Traffic {
  readonly #rng: Rng;
  readonly #waiting: { readonly conversation: Conversation; readonly atMs: number }[] = [];
  #blockCount = SYSTEM_BLOCKS + APPLICATIONS * APPLICATION_BLOCKS;

  constructor(seed: number) {
    this.#rng = createRng(seed);
  }

  /** The next turn of a conversation whose user has thought for long enough; else of a new one. */
  next(nowMs: number): Turn {
    const [first] = this.#waiting;
    const isDue = first !== undefined && first.atMs <= nowMs;
    const conversation = isDue ? this.#waiting.shift()!.conversation : this.#begin();
    for (let i = 0; i < TURN_BLOCKS; i++) conversation.blocks.push(this.#blockCount++);
    conversation.turnsLeft -= 1;
    const blocks = [...conversation.blocks];
    // A part of a block is behind the last whole one.
    const promptTokens = blocks.length * CONTENT_BLOCK_TOKENS + CONTENT_BLOCK_TOKENS / 2;
    return { conversation, blocks, promptTokens };
  }

  answered({ conversation }: Turn, nowMs: number): void {
    if (conversation.turnsLeft === 0) return;
    const { min, max } = THINK_MS;
    const atMs = nowMs + min + (max - min) * this.#rng();
    // Sorted: the earliest first.
    let low = 0;
    let high = this.#waiting.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#waiting[middle]!.atMs <= atMs) low = middle + 1;
      else high = middle;
    }
    this.#waiting.splice(low, 0, { conversation, atMs });
  }

  #begin(): Conversation {
    // Few applications have most of the users.
    const application = Math.floor(APPLICATIONS * this.#rng() ** 2);
    const first = SYSTEM_BLOCKS + application * APPLICATION_BLOCKS;
    const blocks = [...range(0, SYSTEM_BLOCKS), ...range(first, APPLICATION_BLOCKS)];
    return { blocks, turnsLeft: 1 + Math.floor(TURNS_MAX * this.#rng()) };
  }
}

function range(first: number, length: number): number[] {
  return Array.from({ length }, (_, i) => first + i);
}

/** Content keys of numbered blocks. Numbers are given once, so a block's own number names what is before it, too. */
export function keysOf(blocks: readonly number[]): Uint32Array {
  const keys = new Uint32Array(2 * blocks.length);
  blocks.forEach((block, i) => {
    keys[2 * i] = mix(block + 1);
    keys[2 * i + 1] = mix(block ^ 0x9e37_79b9);
  });
  return keys;
}

function mix(value: number): number {
  let state = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2_ae35);
  return (state ^ (state >>> 16)) >>> 0;
}

/** What one endpoint has cached: the blocks that were used last. */
export class BlockCache {
  readonly #blocks = new Set<number>();
  readonly #blocksMax: number;

  constructor(blocksMax: number) {
    this.#blocksMax = blocksMax;
  }

  /** Computes a prompt. Gives the blocks of it that were there, from the first one on. */
  serve(blocks: readonly number[]): number {
    let found = 0;
    while (found < blocks.length && this.#blocks.has(blocks[found]!)) found += 1;
    for (const block of blocks) {
      this.#blocks.delete(block);
      this.#blocks.add(block);
    }
    for (const oldest of this.#blocks) {
      if (this.#blocks.size <= this.#blocksMax) break;
      this.#blocks.delete(oldest);
    }
    return found;
  }
}
