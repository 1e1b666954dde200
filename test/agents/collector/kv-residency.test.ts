// From engines' events to offers, over real sockets.

import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it, vi } from "vitest";
import { Publisher } from "zeromq";
import { KvResidency } from "../../../src/agents/collector/kv-residency.ts";
import { decodeHeader, FRAME, framePayload } from "../../../src/agents/protocol/codec.ts";
import type { EndpointRecord } from "../../../src/agents/protocol/messages.ts";
import { ROW_FIELDS } from "../../../src/agents/protocol/metrics-specification.ts";
import { PROTOCOL_VERSION } from "../../../src/agents/protocol/version.ts";
import { ADAPTERS_MAX } from "../../../src/scheduler/kv/residency/adapter-indexes.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "../support/logs.ts";
import { packBatch } from "./kv-events/support/batches.ts";
import { sequence } from "./kv-events/support/publisher.ts";

const E: EndpointRecord = { id: "ns/e", address: "10.0.0.7:8000", engine: "vllm", labels: {} };

/** How often it is looked whether enough is known. */
const JUDGE_MS = 200;

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const part of open.splice(0)) await part.close();
});

/** An endpoint whose publisher dials, and what the object was offered last. */
async function start() {
  let offer = "";
  const registry = new MetricRegistry();
  const residency = await KvResidency.start({
    mode: { type: "bind", url: "tcp://127.0.0.1:*" },
    keys: "tokens",
    learnListen: null,
    token: "token",
    logger: captureLogs().logger,
    registry,
    send: (encode) => {
      const frame = encode({ version: PROTOCOL_VERSION, seq: 1 });
      const header = decodeHeader(frame);
      if (header.ok && header.value.type === FRAME.kvOffer) {
        offer = Buffer.from(framePayload(frame)).toString();
      }
      return true;
    },
  });
  open.push(residency);
  residency.follow([E]);
  residency.connected();
  residency.configured({ kvWindowBytes: 50_000 } as Parameters<KvResidency["configured"]>[0]);
  residency.listed();
  const socket = new Publisher({ linger: 0 });
  open.push(socket);
  socket.connect(residency.boundUrl!);
  // Whatever is sent before the subscription has reached the publisher is lost.
  await vi.waitFor(
    async () => {
      await socket.send(["kv@other@m", sequence(0), packBatch([])]);
      expect(registry.render()).toContain("fairlead_kv_events_foreign_total");
    },
    { timeout: 8_000, interval: 20 },
  );
  return {
    residency,
    send: (seq: number, payload: Uint8Array) =>
      socket.send(["kv@10.0.0.7:8000@m", sequence(seq), payload]),
    heard: (blocks: number) =>
      vi.waitFor(() => expect(registry.render()).toContain(`event="stored"} ${blocks}\n`), {
        timeout: 8_000,
        interval: 5,
      }),
    /** Flushes until the endpoint is offered so. */
    offered: (how: "whole" | "partial") =>
      vi.waitFor(
        () => {
          residency.flush();
          const lists: unknown = JSON.parse(offer);
          expect(lists).toEqual({ whole: [], partial: [], [how]: [0] });
          return how;
        },
        { timeout: 8_000, interval: 20 },
      ),
  };
}

function read(values: Partial<Record<(typeof ROW_FIELDS)[number], number>>, isNewProcess = false) {
  return {
    status: 0 as const,
    values: ROW_FIELDS.map((field) => values[field]),
    isPartial: false,
    isNewProcess,
  };
}

const store = (from: number, count: number, parent: number | null, rank = 0) => {
  const hashes = Array.from({ length: count }, (_, i) => from + i);
  return packBatch([["BlockStored", hashes, parent, hashes, 1, null, "GPU", null]], rank, 50.5);
};

it("knows an endpoint wholly again once its cache was filled anew, and not while little of it is known", async () => {
  const { residency, send, heard, offered } = await start();
  residency.engineRead(E.id, read({ "kv-blocks": 8 }));
  // The first that is heard is not the first that was said; and whatever hangs behind it is not known.
  await send(7, store(1, 1, null));
  await send(8, store(100, 20, 99));
  await heard(21);
  await sleep(2 * JUDGE_MS);
  await offered("partial");
  await send(9, store(200, 2, null));
  expect(await offered("whole")).toBe("whole");
});

it("knows nothing of an engine that is another process until it is heard from its beginning", async () => {
  const { residency, send, offered } = await start();
  await send(0, store(1, 1, null));
  await offered("whole");
  residency.engineRead(E.id, read({ "process-start": 60 }));
  expect(await offered("whole")).toBe("whole");
  residency.engineRead(E.id, read({ "process-start": 60 }, true));
  expect(await offered("partial")).toBe("partial");
});

it("knows an endpoint of several ranks in part: nobody knows which of them a request meets", async () => {
  const { send, offered } = await start();
  await send(0, store(1, 1, null));
  await offered("whole");
  await send(0, store(2, 1, null, 1));
  expect(await offered("partial")).toBe("partial");
});

it("knows an endpoint in part that holds blocks there is no room for", async () => {
  const { send, offered } = await start();
  const adapters = (from: number, count: number) =>
    packBatch(
      Array.from({ length: count }, (_, i) => {
        const hashes = [from + i];
        return ["BlockStored", hashes, null, hashes, 1, null, "GPU", `lora-${from + i}`];
      }),
      0,
      50.5,
    );
  await send(0, adapters(1, ADAPTERS_MAX));
  await offered("whole");
  await send(1, adapters(1 + ADAPTERS_MAX, 1));
  expect(await offered("partial")).toBe("partial");
  await send(2, packBatch([["AllBlocksCleared"]]));
  expect(await offered("whole")).toBe("whole");
});
