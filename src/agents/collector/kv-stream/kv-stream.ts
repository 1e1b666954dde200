// What endpoints hold, from this collector's account to the pool's object.
//
//   ResidencyAccount ──held──► EndpointMirror, one an endpoint ──► sections ──► KV frames ──► object
//                                     ▲ begin: kv-send                            │ window
//                                     └ stop: kv-stop         kv-credit ──────────┘
//
// Every collector keeps the account of all endpoints; the object says of which it wants to hear from
// this one, and each time hears everything from the beginning. Changes gather until `flush`, which the
// collector calls every 20 ms, or until KEYS_AT_ONCE keys have changed. Past the window that the object
// grants nothing is sent: changes to come then meet those that wait. What is offered is looked at by `flush`,
// and before it only where less is known than was offered: it costs as much as there are endpoints.
//
// Lives as long as the process: mirrors outlive connections, what is said on one does not.

import type { KvEventSource } from "../../../scheduler/kv/residency/kv-event.ts";
import type { Holding, HoldingSink } from "../../../scheduler/kv/residency/holding.ts";
import { METRIC } from "../../../telemetry/names.ts";
import type { MetricRegistry } from "../../../telemetry/metrics.ts";
import { encodeFrame, FRAME, type FramePlace } from "../../protocol/codec.ts";
import {
  encodeKv,
  KV_END_EVEN,
  KV_END_OF_HIT,
  KV_END_UNKNOWN,
  KV_TOKEN_UNIT,
  type KvSection,
} from "../../protocol/kv-frames.ts";
import { PROTOCOL_LIMITS } from "../../protocol/limits.ts";
import type { EndpointRecord, KvMessage, KvOffer } from "../../protocol/messages.ts";
import type { EndpointMirror } from "./endpoint-mirror.ts";
import { EndpointMirrors } from "./endpoint-mirrors.ts";
import { SectionBuffer } from "./section-buffer.ts";

/** Changed keys that are not kept waiting for the next flush. */
const KEYS_AT_ONCE = PROTOCOL_LIMITS.kvFrameKeysMax;

/** Of keys, and of their ends where those are said; the heads of sections come on top. */
const KEY_BYTES = 8;
const END_BYTES = 2;

export interface KvStreamOptions {
  /** Sends a frame on the session, as PoolSession does: the place is given where it is sent at all. */
  readonly send: (encode: (place: FramePlace) => Uint8Array) => boolean;
  /** Whose blocks the account's slot is. */
  readonly sourceAt: (slot: number) => KvEventSource | undefined;
  /** By endpoint id, of those that are followed: whether everything it holds is known. */
  readonly whole: () => ReadonlyMap<string, boolean>;
  /**
   * Tokens that a prompt becomes up to and with a content block; undefined where that is not known, `even`
   * for keys that are of tokens, `hit-end` for those that say where a hit can end.
   */
  readonly tokensUpTo?: (low: number, high: number) => number | "even" | "hit-end" | undefined;
  /**
   * Calls `held` for every key that an endpoint holds: some of them were too many. Where absent, an endpoint
   * is told of wholly again once it holds none.
   */
  readonly tellAgain?: (endpoint: string) => void;
  readonly registry: MetricRegistry;
  /** Of one endpoint; MIRROR_LIMITS.keysMax if absent. */
  readonly keysMax?: number;
}

export interface KvStreamFigures {
  /** Endpoints that are sent. */
  readonly open: number;
  readonly dueKeys: number;
  readonly leftOut: number;
  readonly bytes: number;
}

/** One account of one endpoint that the object asked for. */
interface Stream {
  readonly stream: number;
  readonly mirror: EndpointMirror;
  seq: number;
}

/** A frame that the object has not given credit for. */
interface FrameUnderWay {
  readonly seq: number;
  readonly bytes: number;
}

export class KvStream implements HoldingSink {
  readonly #options: KvStreamOptions;
  readonly #mirrors: EndpointMirrors;
  /** By endpoint id. */
  readonly #streams = new Map<string, Stream>();
  readonly #buffer = new SectionBuffer();
  /** Endpoint ids in the order of the last MEMBERSHIP. */
  #ids: readonly string[] = [];
  /** The object has that MEMBERSHIP. */
  #isListed = false;
  /** Undefined while the object takes nothing. */
  #windowBytes: number | undefined;
  #saysEnds = false;
  #underWay: FrameUnderWay[] = [];
  #bytesUnderWay = 0;
  /** What is offered may have to change. */
  #isOfferDue = true;
  /** As last offered on this connection. */
  #offer = "";
  readonly #offeredWhole = new Set<string>();
  /** Endpoints whose streams ended here, or never began: the object learns it from an offer without them. */
  readonly #withdrawn = new Set<string>();
  #changedKeys = 0;
  #isMoving = false;
  #hasToldMove = true;
  /** The source that spoke last, and its endpoint's mirror. */
  #source: KvEventSource | undefined;
  #mirror: EndpointMirror | undefined;

  constructor(options: KvStreamOptions) {
    this.#options = options;
    const { keysMax, tellAgain } = options;
    const onLacking = () => void (this.#isOfferDue = true);
    this.#mirrors = new EndpointMirrors({ keysMax, tellAgain, onLacking });
  }

  /** See HoldingSink: of the account's slots. */
  // Hot path: kv-stream in bench/.
  held(slot: number, low: number, high: number, holding: Holding): void {
    const mirror = this.#mirrorAt(slot);
    if (mirror === undefined) return;
    const lackedKeys = mirror.lacksKeys;
    mirror.held(this.#source!.rank, low, high, holding);
    this.#mirrors.taken(this.#source!.endpoint!, mirror, lackedKeys);
    this.#noteChange();
  }

  /** The same of a block that is of no interest to the object. What it was told nevertheless stays true. */
  // Hot path: kv-stream in bench/.
  heldStill(slot: number, low: number, high: number, holding: Holding): void {
    const mirror = this.#mirrorAt(slot);
    if (mirror === undefined) return;
    mirror.heldStill(this.#source!.rank, low, high, holding);
    this.#noteChange();
  }

  /** What is kept of the endpoints, for the object. */
  get mirrors(): Pick<EndpointMirrors, "endpoints" | "get"> {
    return this.#mirrors;
  }

  /** See EndpointMirror. */
  adopt(endpoint: string, low: number, high: number, ranks: number): void {
    const mirror = this.#mirrors.of(endpoint);
    const lackedKeys = mirror.lacksKeys;
    mirror.adopt(low, high, ranks);
    this.#mirrors.taken(endpoint, mirror, lackedKeys);
  }

  /**
   * Other blocks are of interest to the object from now on. Until it has been told of them, which is after
   * `endMove` at the earliest, no endpoint is known wholly.
   */
  beginMove(): void {
    this.#isMoving = true;
    this.#hasToldMove = false;
    this.#offeredWhole.clear();
    this.#isOfferDue = true;
  }

  /** All blocks that are of interest are here. */
  endMove(): void {
    this.#isMoving = false;
    this.#isOfferDue = true;
  }

  /** Whether all that was here at `endMove` has been told, or nobody is told. */
  get hasToldMove(): boolean {
    return this.#hasToldMove;
  }

  get figures(): KvStreamFigures {
    return { open: this.#streams.size, ...this.#mirrors.figures };
  }

  /** These endpoints and no others. */
  follow(endpoints: readonly EndpointRecord[]): void {
    this.#ids = endpoints.map(({ id }) => id);
    this.#isListed = false;
    this.#offer = "";
    const ids = new Set(this.#ids);
    for (const id of this.#mirrors.endpoints) {
      if (ids.has(id)) continue;
      if (this.#mirror === this.#mirrors.get(id)) this.#mirror = undefined;
      this.#mirrors.delete(id);
      if (this.#streams.delete(id)) this.#withdrawn.add(id);
      this.#offeredWhole.delete(id);
    }
  }

  /** A new connection: nothing was said on it yet, and nothing asked for. */
  connected(): void {
    for (const { mirror } of this.#streams.values()) mirror.stop();
    this.#streams.clear();
    this.#isListed = false;
    this.#windowBytes = undefined;
    this.#underWay = [];
    this.#bytesUnderWay = 0;
    this.#offer = "";
    this.#offeredWhole.clear();
    this.#withdrawn.clear();
  }

  /** What the object takes; undefined where it takes nothing. */
  configured(windowBytes: number | undefined, saysEnds = false): void {
    this.#windowBytes = windowBytes;
    this.#saysEnds = saysEnds;
  }

  /** The object has the list of endpoints that was followed last, and offers can refer to it. */
  listed(): void {
    this.#isListed = true;
    this.#offer = "";
    this.#isOfferDue = true;
  }

  /** An endpoint is not known wholly any more: this is said before what comes of it from now on. */
  doubted(): void {
    this.#isOfferDue = true;
  }

  received(message: KvMessage): void {
    switch (message.t) {
      case "kv-send":
        for (const { endpoint, stream } of message.streams) this.#begin(endpoint, stream);
        break;
      case "kv-stop":
        for (const [id, { stream, mirror }] of this.#streams) {
          if (!message.streams.includes(stream)) continue;
          mirror.stop();
          this.#streams.delete(id);
        }
        break;
      case "kv-credit":
        this.#credit(message.seq);
        break;
    }
    this.#send();
  }

  /** Sends what is due, as far as the window allows. */
  flush(): void {
    this.#isOfferDue = true;
    this.#mirrors.refill();
    this.#send();
    if (!this.#isMoving) this.#hasToldMove ||= this.#isAllTold();
  }

  #isAllTold(): boolean {
    for (const { mirror } of this.#streams.values()) if (mirror.dueCount > 0) return false;
    return true;
  }

  #send(): void {
    this.#changedKeys = 0;
    const window = this.#windowBytes;
    if (window === undefined || !this.#isListed) return;
    if (this.#isOfferDue && !this.#sendOffer()) return;
    const keyBytes = KEY_BYTES + (this.#saysEnds ? END_BYTES : 0);
    const frameBytesMax = PROTOCOL_LIMITS.kvFrameKeysMax * keyBytes;
    const hasRoom = () =>
      this.#bytesUnderWay === 0 || this.#bytesUnderWay + frameBytesMax <= window;
    while (hasRoom() && this.#sendFrame());
  }

  #mirrorAt(slot: number): EndpointMirror | undefined {
    const source = this.#options.sourceAt(slot);
    if (source !== this.#source || this.#mirror === undefined) {
      if (source === undefined || source.endpoint === null) return undefined;
      this.#source = source;
      this.#mirror = this.#mirrors.of(source.endpoint);
    }
    return this.#mirror;
  }

  #noteChange(): void {
    this.#changedKeys++;
    // Not from here: whoever tells is in the middle of it.
    if (this.#changedKeys === KEYS_AT_ONCE) queueMicrotask(() => this.#send());
  }

  #begin(endpoint: string, stream: number): void {
    if (!this.#ids.includes(endpoint)) {
      // Gone, and perhaps back before the object hears of it: it must not wait for this stream.
      this.#withdrawn.add(endpoint);
      this.#isOfferDue = true;
      return;
    }
    const mirror = this.#mirrors.of(endpoint);
    mirror.begin();
    // Behind the others, if it is asked for again.
    this.#streams.delete(endpoint);
    this.#streams.set(endpoint, { stream, mirror, seq: 0 });
    this.#options.registry.inc(METRIC.kvStreamSnapshotsTotal, {});
  }

  #credit(seq: number): void {
    while (this.#underWay.length > 0 && this.#underWay[0]!.seq <= seq) {
      this.#bytesUnderWay -= this.#underWay.shift()!.bytes;
    }
  }

  /**
   * Says what is followed, if that is news. An endpoint becomes whole for the object behind what makes it
   * so, and is no longer before what it lacks. False where it could not be sent.
   */
  #sendOffer(): boolean {
    const known = this.#options.whole();
    const whole: number[] = [];
    const partial: number[] = [];
    this.#ids.forEach((id, index) => {
      const isKnown = known.get(id);
      if (isKnown === undefined || this.#withdrawn.has(id)) return;
      const isTold =
        this.#offeredWhole.has(id) || (this.#streams.get(id)?.mirror.dueCount ?? 0) === 0;
      const isHere = !this.#isMoving && this.#mirrors.get(id)?.lacksKeys !== true;
      const isWhole = isKnown && isTold && isHere;
      (isWhole ? whole : partial).push(index);
    });
    const payload = JSON.stringify({ whole, partial } satisfies KvOffer);
    if (payload === this.#offer) {
      this.#isOfferDue = false;
      return true;
    }
    const bytes = new TextEncoder().encode(payload);
    const isSent = this.#options.send((place) =>
      encodeFrame({ type: FRAME.kvOffer, ...place }, bytes),
    );
    if (!isSent) return false;
    this.#isOfferDue = false;
    this.#offer = payload;
    this.#withdrawn.clear();
    this.#offeredWhole.clear();
    for (const index of whole) this.#offeredWhole.add(this.#ids[index]!);
    return true;
  }

  /** False where nothing was sent. What is sent is taken from the mirrors only if it goes. */
  #sendFrame(): boolean {
    const due = [...this.#streams].filter(([, { mirror }]) => mirror.dueCount > 0);
    if (due.length === 0) return false;
    return this.#options.send((place) => {
      const sections = this.#sections(due);
      const frame = encodeKv(place, sections);
      this.#underWay.push({ seq: place.seq, bytes: frame.byteLength });
      this.#bytesUnderWay += frame.byteLength;
      return frame;
    });
  }

  #sections(due: readonly (readonly [string, Stream])[]): KvSection[] {
    const sections: KvSection[] = [];
    let keysLeft: number = PROTOCOL_LIMITS.kvFrameKeysMax;
    for (const [endpoint, stream] of due) {
      if (keysLeft === 0) break;
      this.#buffer.clear(keysLeft);
      const flags = stream.mirror.take(this.#buffer);
      keysLeft -= this.#buffer.keyCount;
      // Whoever has spoken goes behind the others.
      this.#streams.delete(endpoint);
      this.#streams.set(endpoint, stream);
      const isWorthIt =
        this.#buffer.keyCount > 0 || flags?.begins === true || flags?.completes === true;
      if (flags === undefined || !isWorthIt) continue;
      const keys = this.#buffer.keys(this.#saysEnds ? this.#endOf : undefined);
      sections.push({ stream: stream.stream, seq: stream.seq++, ...flags, ...keys });
    }
    const keys = PROTOCOL_LIMITS.kvFrameKeysMax - keysLeft;
    this.#options.registry.inc(METRIC.kvStreamKeysTotal, {}, keys);
    return sections;
  }

  readonly #endOf = (keys: Uint32Array, at: number): number => {
    const tokens = this.#options.tokensUpTo?.(keys[at]!, keys[at + 1]!);
    if (tokens === "even") return KV_END_EVEN;
    if (tokens === "hit-end") return KV_END_OF_HIT;
    const end = tokens === undefined ? KV_END_UNKNOWN : Math.floor(tokens / KV_TOKEN_UNIT);
    return end < KV_END_OF_HIT ? end : KV_END_UNKNOWN;
  };
}
