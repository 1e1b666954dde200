// This version's collector at an object that sends no specification: it reads the plain fields and says
// nothing that such an object would refuse.

import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { startCollector } from "../../../src/agents/collector/collector.ts";
import {
  decodeHeader,
  decodeMetrics,
  FRAME,
  framePayload,
} from "../../../src/agents/protocol/codec.ts";
import { type Configure, fromObjectSchema } from "../../../src/agents/protocol/messages.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import recorded from "../../fixtures/protocol-v2.json" with { type: "json" };
import { VLLM } from "../support/engine-texts.ts";
import { captureLogs } from "../support/logs.ts";
import { FakePoolObject } from "../support/pool-object.ts";

const frameOf = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));

it("a collector lists and measures as a collector of that release did", async () => {
  const object = await FakePoolObject.start();
  object.configure = fromObjectSchema.parse(JSON.parse(recorded.object.configure)) as Configure;
  // Also what that release did not read: adapters, and the start of the process.
  const engine = createServer((_request, response) =>
    response.end(
      VLLM.replace(" 7.0", " 3")
        .replace(" 3.0", " 2")
        .replace(" 0.25", " 0.5")
        .replace("27407", "4000"),
    ),
  ).listen(0, "127.0.0.1");
  await once(engine, "listening");
  const { port } = engine.address() as AddressInfo;
  const directory = mkdtempSync(join(tmpdir(), "fairlead-version-2-"));
  const endpointsPath = join(directory, "endpoints.yaml");
  writeFileSync(
    endpointsPath,
    `endpoints:
  - { name: vllm-0, address: 127.0.0.1, port: ${port}, labels: { zone: a } }
  - { name: vllm-1, address: 127.0.0.1, port: 1 }
`,
  );
  const collector = await startCollector({
    endpointsPath,
    pool: "eu-1",
    agent: "collector-0",
    connect: object.url,
    token: "t",
    logger: captureLogs().logger,
    registry: new MetricRegistry(),
  });
  const [membership, metrics] = recorded.agent.collector.frames;
  const listed = Buffer.from(framePayload(frameOf(membership!))).toString();
  const rows = decodeMetrics(framePayload(frameOf(metrics!)));
  if (!rows.ok) throw new Error(rows.error);
  await vi.waitFor(() => expect(object.rows.length).toBeGreaterThan(4), 15_000);
  expect(object.frames[0]).toMatchObject({
    kind: "membership",
    ...(JSON.parse(
      listed.replace(recorded.agent.collector.engineAddress, `127.0.0.1:${port}`),
    ) as object),
  });
  const ageMs = expect.any(Number) as number;
  for (const row of rows.value) expect(object.rows).toContainEqual({ ...row, ageMs });
  for (const frame of object.frames) expect(["membership", "metrics"]).toContain(frame.kind);
  await collector.close();
  await object.close();
  engine.closeAllConnections();
  engine.close();
  rmSync(directory, { recursive: true });
});

it("every recorded frame is still read", () => {
  const { collector, relay } = recorded.agent;
  const types = [...collector.frames, ...relay.frames].map((hex) => {
    const header = decodeHeader(frameOf(hex));
    expect(header).toMatchObject({ ok: true, value: { version: 2 } });
    return header.ok ? header.value.type : 0;
  });
  expect(new Set(types)).toEqual(new Set([FRAME.membership, FRAME.metrics, FRAME.tickets]));
});
