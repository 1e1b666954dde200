// A relay connects to nobody but endpoints it has discovered, whatever a request says, and only for whoever
// holds its key. Raw sockets where clients would not let us write such requests.

import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RELAY_ERROR_HEADER, STAGE_HEADERS } from "../../../../src/agents/protocol/headers.ts";
import { PROTOCOL_LIMITS } from "../../../../src/agents/protocol/limits.ts";
import { sign } from "../../support/signing.ts";
import {
  CHAT,
  runSplitRelay,
  startScriptedEngine,
  type ScriptedEngine,
  type SplitRelay,
} from "../../support/split-relay.ts";

const PATH = "/v1/chat/completions";
const [PREFILL] = STAGE_HEADERS;

let stack = new AsyncDisposableStack();
let engine: ScriptedEngine;
let relay: SplitRelay;
/** Counts connections; is no endpoint of the relay's. */
let stranger: { readonly address: string; connections: number };

beforeEach(async () => {
  engine = stack.use(
    await startScriptedEngine((response) => response.writeHead(200).end('{"usage":null}')),
  );
  relay = stack.use(await runSplitRelay([engine]));
  const server = createServer((socket) => {
    stranger.connections += 1;
    socket.destroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => void server.close());
  stranger = { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, connections: 0 };
});
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

/** Writes a request as it is, and reads until the relay closes. */
async function raw(text: string): Promise<string> {
  const socket = connect({ port: relay.relay.port, host: "127.0.0.1" });
  socket.on("error", () => undefined);
  socket.write(text);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "close");
  return Buffer.concat(chunks).toString();
}

function request(
  target: string,
  headers: Iterable<readonly [string, string]>,
  body = CHAT,
): string {
  const lines = [...headers].map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const length = Buffer.byteLength(body);
  return `POST ${target} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: ${length}\r\n${lines}\r\n${body}`;
}
const signed = (stages: readonly string[] = ["", "", "", ""]) =>
  Object.entries(sign(engine.address, CHAT, { stages }));
const codeOf = (answer: string) => new RegExp(`${RELAY_ERROR_HEADER}: ([a-z-]+)`).exec(answer)?.[1];
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 ([0-9]+)/.exec(answer)?.[1]);

describe("stage addresses that nobody discovered are never connected to", () => {
  const sameHost = () => stranger.address;

  it.for(STAGE_HEADERS.map((name, index) => [name, index] as const))(
    "%s, though it is signed and the host is an endpoint's",
    async ([, index]) => {
      const stages = ["", "", "", ""];
      stages[index] = sameHost();
      const answer = await raw(request(PATH, signed(stages)));
      expect(statusOf(answer)).toBe(200);
      expect(engine.legs.map(({ text }) => text)).toEqual([CHAT]);
      expect(stranger.connections).toBe(0);
      expect(relay.registry.render()).toMatch(
        /fairlead_relay_stage_off_list_total\{stage="[a-z-]+"\} 1/,
      );
    },
  );

  it("and the prefill is told of as off-list", async () => {
    await raw(request(PATH, signed([stranger.address, "", "", ""])));
    await vi.waitFor(() => expect(relay.closed()).toHaveLength(1));
    expect(relay.closed()[0]).toMatchObject({
      stages: { outcome: "off-list", prefill: null, isDecodeOnly: true },
    });
  });

  it("in whatever form they are written", async () => {
    const [, port] = stranger.address.split(":");
    const forms = [
      `http://${stranger.address}`,
      `https://${stranger.address}/`,
      `user@${stranger.address}`,
      `localhost:${port}`,
      `[::ffff:127.0.0.1]:${port}`,
      "127.0.0.1",
      `${engine.address}/../../`,
      `${engine.address}#`,
    ];
    for (const form of forms) {
      expect(statusOf(await raw(request(PATH, signed([form, "", "", ""]))))).toBe(200);
    }
    expect(stranger.connections).toBe(0);
    expect(engine.legs.every(({ text }) => text === CHAT)).toBe(true);
  });

  it.for([
    ["prefillers", 0, PROTOCOL_LIMITS.destinationsMax],
    ["encoders", 1, PROTOCOL_LIMITS.encodersMax],
    ["ranks", 2, 1],
    ["sources", 3, 1],
  ] as const)("and at most so many %s are read", async ([, index, max]) => {
    const listed = (count: number) => {
      const stages = ["", "", "", ""];
      stages[index] = Array.from({ length: count }, (_, i) => `10.0.0.1:${i + 1}`).join(",");
      return stages;
    };
    expect(statusOf(await raw(request(PATH, signed(listed(max)))))).toBe(200);
    expect(codeOf(await raw(request(PATH, signed(listed(max + 1)))))).toBe("off-list");
  });
});

describe("stage headers count only as they were signed", () => {
  it.for(STAGE_HEADERS)("%s without a signature is refused", async (name) => {
    const answer = await raw(request(PATH, [...signed(), [name, engine.address]]));
    expect([statusOf(answer), codeOf(answer)]).toEqual([401, "bad-signature"]);
    expect(engine.legs).toHaveLength(0);
  });

  it("so is a signed one that stands twice, is spelt otherwise, or is missing", async () => {
    const headers = signed([engine.address, "", "", ""]);
    const others = headers.filter(([name]) => name !== PREFILL);
    const smuggled = [
      [...headers, [PREFILL, stranger.address]],
      [[PREFILL, stranger.address], ...headers],
      [...headers, [PREFILL.toUpperCase(), stranger.address]],
      [...others, [PREFILL, ` ${stranger.address}`]],
      others,
    ] as [string, string][][];
    for (const each of smuggled) {
      expect(codeOf(await raw(request(PATH, each)))).toBe("bad-signature");
    }
    const underscored: [string, string][] = [
      ...others,
      [PREFILL.replaceAll("-", "_"), engine.address],
    ];
    expect(codeOf(await raw(request(PATH, underscored)))).toBe("bad-signature");
    expect([engine.legs.length, stranger.connections]).toEqual([0, 0]);
  });
});

describe("a request that is not the Worker's", () => {
  it.for([
    ["is not signed", "unsigned", () => [] as [string, string][]],
    [
      "has expired",
      "expired",
      () => Object.entries(sign(engine.address, CHAT, { expiresAtMs: Date.now() - 60_000 })),
    ],
    ["is signed for a stranger", "off-list", () => Object.entries(sign(stranger.address, CHAT))],
    ["has another body", "body-changed", () => Object.entries(sign(engine.address, `${CHAT} `))],
  ] as const)("%s: %s", async ([, code, headers]) => {
    expect(codeOf(await raw(request(PATH, headers())))).toBe(code);
    expect([engine.legs.length, stranger.connections]).toEqual([0, 0]);
  });

  it("is a copy of one: replayed", async () => {
    const headers = signed();
    expect(statusOf(await raw(request(PATH, headers)))).toBe(200);
    expect(codeOf(await raw(request(PATH, headers)))).toBe("replayed");
    expect(engine.legs).toHaveLength(1);
  });
});

describe("a relay is no forward proxy", () => {
  it.for([
    "http://127.0.0.1:1/v1/chat/completions",
    "http://h/v1/chat/completions",
    "//h/v1/chat/completions",
    "/v1/chat/completions/../../metrics",
    "/v1/chat/completions?x=1",
    "/v1/chat/completions%2f",
    "*",
  ])("for the target %s", async (target) => {
    expect(codeOf(await raw(request(target, signed())))).toBe("bad-path");
    const path = { path: target };
    const ofIt = Object.entries(sign(engine.address, CHAT, path));
    expect(codeOf(await raw(request(target, ofIt)))).toBe("bad-path");
    expect([engine.legs.length, stranger.connections]).toEqual([0, 0]);
  });

  it("for CONNECT", async () => {
    const answer = await raw(`CONNECT ${stranger.address} HTTP/1.1\r\nhost: h\r\n\r\n`);
    expect(answer).not.toMatch(/^HTTP\/1\.1 2/);
    expect(stranger.connections).toBe(0);
  });

  it("for an upgrade: it is served as the request it is, or not at all", async () => {
    const upgrade = [...signed(), ["upgrade", "websocket"], ["connection", "upgrade"]];
    const answer = await raw(request(PATH, upgrade as [string, string][]));
    expect(answer).not.toMatch(/^HTTP\/1\.1 101/);
    const get = `GET /v1/chat/completions HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n`;
    expect(await raw(get)).not.toMatch(/^HTTP\/1\.1 101/);
    for (const { headers } of engine.legs) expect(headers).not.toHaveProperty("upgrade");
  });

  it("for two lengths, or a length beside chunks", async () => {
    const length = Buffer.byteLength(CHAT);
    const twice = request(PATH, [...signed(), ["content-length", String(length + 1)]]);
    expect(statusOf(await raw(twice))).toBe(400);
    const both = request(PATH, [...signed(), ["transfer-encoding", "chunked"]]);
    expect(statusOf(await raw(both))).toBe(400);
    expect(engine.legs).toHaveLength(0);
  });
});
