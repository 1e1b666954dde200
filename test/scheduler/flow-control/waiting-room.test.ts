import { describe, expect, it } from "vitest";
import { Bands } from "../../../src/scheduler/flow-control/bands.ts";
import { UNLIMITED } from "../../../src/scheduler/flow-control/capacity.ts";
import { QueueEntry } from "../../../src/scheduler/flow-control/queue-entry.ts";
import {
  DISPLACED_MAX,
  WAITING_MAX,
  WaitingRoom,
} from "../../../src/scheduler/flow-control/waiting-room.ts";
import { bandSettings, NOW_MS, queued } from "../support/flow-control.ts";

class Scene {
  readonly bands: Bands;
  readonly room: WaitingRoom;
  #sequence = 0;

  constructor(limits = UNLIMITED) {
    const settings = bandSettings({ ttlMs: 1_000 });
    const bands = new Map();
    this.bands = new Bands({ bands, defaultBand: settings, defaultNegativeBand: settings }, NOW_MS);
    this.room = new WaitingRoom(limits, NOW_MS);
    this.room.setHasEndpoints(true, -Infinity);
  }

  add(facts: Parameters<typeof queued>[0]): QueueEntry {
    const request = queued(facts);
    const flow = this.bands.flowOf(this.bands.bandOf(request.priority, NOW_MS), "a");
    const entry = new QueueEntry(flow, request, { nowMs: NOW_MS, sequence: ++this.#sequence });
    this.room.add(entry, NOW_MS);
    return entry;
  }

  roomFor(facts: Parameters<typeof queued>[0]): QueueEntry[] | undefined {
    const request = queued(facts);
    const band = this.bands.bandOf(request.priority, NOW_MS);
    return this.room.roomFor(request, band, this.bands);
  }
}

describe("WaitingRoom", () => {
  it("has a bound where the configuration has none", () => {
    expect(new Scene().room.limits.requests).toBe(WAITING_MAX);
  });

  it("sends no more away for one than it may", () => {
    const bytes = 100 * (DISPLACED_MAX + 10);
    const scene = new Scene({ ...UNLIMITED, bytes });
    for (let i = 0; i < DISPLACED_MAX + 10; i++) scene.add({ priority: -1, bytes: 100 });
    expect(scene.roomFor({ bytes: 100 * DISPLACED_MAX })).toHaveLength(DISPLACED_MAX);
    expect(scene.roomFor({ bytes: 100 * DISPLACED_MAX + 1 })).toBeUndefined();
  });

  it("sends nobody away for one that would not fit an empty queue", () => {
    const scene = new Scene({ ...UNLIMITED, bytes: 1_000 });
    scene.add({ priority: -1, bytes: 100 });
    expect(scene.roomFor({ priority: 5, bytes: 1_001 })).toBeUndefined();
    expect(scene.roomFor({ priority: 5, bytes: 1_000 })).toHaveLength(1);
    expect(scene.roomFor({ priority: -1, bytes: 1_000 })).toBeUndefined();
    expect(scene.roomFor({ priority: -1, bytes: 900 })).toEqual([]);
  });

  it("starts nobody's time again who has left", () => {
    const scene = new Scene();
    const [leaves, stays] = [scene.add({}), scene.add({})];
    scene.room.remove(leaves, NOW_MS);
    scene.room.setHasEndpoints(false, NOW_MS + 500);
    expect(scene.room.expired(NOW_MS + 1_400)).toEqual([]);
    expect(scene.room.expired(NOW_MS + 1_600)).toEqual([stays]);
    expect(scene.room.get(stays.key)).toBe(stays);
    scene.room.remove(stays, NOW_MS);
    expect(scene.room.load).toMatchObject({ requests: 0, bytes: 0, tokens: 0 });
    expect(scene.room.earliestMs).toBe(Infinity);
  });
});
