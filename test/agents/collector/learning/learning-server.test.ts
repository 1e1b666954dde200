import { connect } from "node:net";
import { once } from "node:events";
import { expect, it, onTestFinished } from "vitest";
import {
  KEYS_PER_SECOND_MAX,
  startLearningServer,
} from "../../../../src/agents/collector/learning/learning-server.ts";
import {
  encodeLearned,
  LEARNED_LIMITS,
  LEARNED_PATH,
  type LearnedContent,
} from "../../../../src/agents/learning/learned-message.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";

const TOKEN = "agent-token-0123456789";

async function start() {
  const learned: LearnedContent[] = [];
  const registry = new MetricRegistry();
  let nowMs = 0;
  const server = await startLearningServer({
    listen: { host: "127.0.0.1", port: 0 },
    token: TOKEN,
    account: { epoch: "life-1", learn: (content) => void learned.push(content) },
    registry,
    clock: () => nowMs,
  });
  onTestFinished(() => server.close());
  const send = (init: RequestInit = {}, path: string = LEARNED_PATH, token = TOKEN) =>
    fetch(`http://127.0.0.1:${server.port}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${token}` },
    });
  const post = (body: Uint8Array) => send({ method: "POST", body: Uint8Array.from(body) });
  return { server, learned, registry, send, post, pass: (ms: number) => (nowMs += ms) };
}

const CONTENT: LearnedContent = {
  tokensPerKey: 16,
  contentKeys: Uint32Array.of(1, 2),
  tokenKeys: Uint32Array.of(3, 4),
  tokenCounts: Uint32Array.of(20),
};

it("hears what was learned, and tells which life it is", async () => {
  const { learned, registry, send, post } = await start();
  expect(await (await send()).json()).toEqual({ epoch: "life-1" });
  expect(await (await post(encodeLearned(CONTENT))).json()).toEqual({ epoch: "life-1" });
  expect(learned).toEqual([CONTENT]);
  expect(registry.render()).toContain('learning_messages_total{outcome="learned"} 1');
});

it.for(["", "agent-token", `${TOKEN}x`])("believes nobody with the token %j", async (token) => {
  const { learned, send } = await start();
  const body = Uint8Array.from(encodeLearned(CONTENT));
  expect((await send({ method: "POST", body }, LEARNED_PATH, token)).status).toBe(401);
  expect((await send({}, LEARNED_PATH, token)).status).toBe(401);
  expect(learned).toEqual([]);
});

it("refuses what it does not know, and what is not well formed", async () => {
  const { learned, send, post } = await start();
  expect((await send({}, "/v1/else")).status).toBe(404);
  expect((await send({ method: "PUT", body: "x" })).status).toBe(405);
  const malformed = await post(Buffer.from('{"v":1,"secret":"x"}'));
  expect(malformed.status).toBe(400);
  expect(await malformed.text()).not.toContain('secret":');
  expect(learned).toEqual([]);
});

it("reads no more than the largest message", async () => {
  const { server, learned, post } = await start();
  const largest = Buffer.concat([encodeLearned(CONTENT)]);
  const padding = Buffer.alloc(LEARNED_LIMITS.bodyBytesMax - largest.byteLength, " ");
  expect((await post(Buffer.concat([largest, padding]))).status).toBe(200);
  expect(learned).toHaveLength(1);
  // Without a length, on and on: it is refused while it still comes.
  const socket = connect(server.port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => undefined);
  const head = `POST ${LEARNED_PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\n`;
  socket.write(`${head}transfer-encoding: chunked\r\n\r\n`);
  const chunk = Buffer.alloc(65_536, " ");
  for (let sent = 0; sent <= LEARNED_LIMITS.bodyBytesMax; sent += chunk.byteLength) {
    socket.write(`${chunk.byteLength.toString(16)}\r\n`);
    socket.write(chunk);
    socket.write("\r\n");
  }
  const [answer] = (await once(socket, "data")) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 413 /);
  expect(learned).toHaveLength(1);
});

it("takes so many keys a second, and more a second later", async () => {
  const { learned, post, pass } = await start();
  const keys = LEARNED_LIMITS.tokenKeysMax;
  const large = encodeLearned({ ...CONTENT, tokenKeys: new Uint32Array(keys * 2) });
  const fitting = Math.floor(KEYS_PER_SECOND_MAX / (keys + 1));
  for (let i = 0; i < fitting; i++) expect((await post(large)).status).toBe(200);
  expect((await post(large)).status).toBe(429);
  expect(learned).toHaveLength(fitting);
  pass(100);
  expect((await post(large)).status).toBe(200);
});
