import { connect } from "node:net";
import { once } from "node:events";
import { Client } from "undici";
import { expect, it, onTestFinished } from "vitest";
import {
  KEYS_PER_SECOND_MAX,
  startLearningServer,
} from "../../../../src/agents/collector/learning/learning-server.ts";
import {
  CAUGHT_UP_HEADER,
  encodeLearned,
  joinLearned,
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
    account: { epoch: "life-1", isReady: true, learn: (content) => void learned.push(content) },
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
  /** On a connection that stays, as a relay's does. */
  const tell = (client: Client, epoch: string, body: Buffer | null = null) =>
    client.request({
      path: LEARNED_PATH,
      method: body === null ? "GET" : "POST",
      body,
      headers: { authorization: `Bearer ${TOKEN}`, [CAUGHT_UP_HEADER]: epoch },
    });
  return { server, learned, registry, send, post, tell, pass: (ms: number) => (nowMs += ms) };
}

const CONTENT: LearnedContent = {
  tokensPerKey: 16,
  contentKeys: Uint32Array.of(1, 2),
  tokenKeys: Uint32Array.of(3, 4),
  tokenCounts: Uint32Array.of(20),
};

it("hears what was learned, and tells which life it is", async () => {
  const { learned, registry, send, post } = await start();
  const heard = { epoch: "life-1", promptsMax: LEARNED_LIMITS.promptsMax, isReady: true };
  expect(await (await send()).json()).toEqual(heard);
  expect(await (await post(encodeLearned(CONTENT))).json()).toEqual(heard);
  expect(learned).toEqual([CONTENT]);
  expect(registry.render()).toContain('learning_messages_total{outcome="learned"} 1');
});

it("hears several prompts at once, up to its bound", async () => {
  const { learned, post } = await start();
  const { promptsMax } = LEARNED_LIMITS;
  const many = (count: number) => joinLearned(Array(count).fill(encodeLearned(CONTENT)));
  expect((await post(many(promptsMax))).status).toBe(200);
  expect(learned).toEqual(Array(promptsMax).fill(CONTENT));
  expect((await post(many(promptsMax + 1))).status).toBe(400);
  expect((await post(Buffer.from("[]"))).status).toBe(400);
  expect(learned).toHaveLength(promptsMax);
});

it("knows that it is being told again until every relay has said that it was", async () => {
  const { server, send, tell } = await start();
  const origin = `http://127.0.0.1:${server.port}`;
  const [a, b] = [new Client(origin), new Client(origin)];
  onTestFinished(async () => void (await Promise.all([a.destroy(), b.destroy()])));
  // An older relay does not say.
  await send();
  expect(server.isBeingToldAgain).toBe(false);
  await (await tell(a, "")).body.dump();
  await (await tell(b, "an earlier life")).body.dump();
  expect(server.isBeingToldAgain).toBe(true);
  await (await tell(a, "life-1")).body.dump();
  expect(server.isBeingToldAgain).toBe(true);
  await (await tell(b, "life-1")).body.dump();
  expect(server.isBeingToldAgain).toBe(false);
});

it("waits for relays that it refuses, on the connections that they have", async () => {
  const { server, post, tell } = await start();
  const client = new Client(`http://127.0.0.1:${server.port}`);
  onTestFinished(() => client.destroy());
  // Somebody else has used up what is taken in a second.
  const keys = LEARNED_LIMITS.tokenKeysMax;
  const large = encodeLearned({ ...CONTENT, tokenKeys: new Uint32Array(keys * 2) });
  while ((await post(large)).status === 200);
  for (const [body, status] of [
    [large, 429],
    [Buffer.from("{}"), 400],
  ] as const) {
    const { statusCode, headers, body: answer } = await tell(client, "", body);
    await answer.dump();
    expect([statusCode, headers["connection"]]).toEqual([status, "keep-alive"]);
    expect(server.isBeingToldAgain).toBe(true);
  }
  // What was not taken was not told, whatever it would have been.
  const last = await tell(client, "life-1", large);
  await last.body.dump();
  expect(last.statusCode).toBe(429);
  expect(server.isBeingToldAgain).toBe(true);
  await (await tell(client, "life-1")).body.dump();
  expect(server.isBeingToldAgain).toBe(false);
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
