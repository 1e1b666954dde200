// A relay that is asked what a prompt's tokens are: on real sockets, with a stub in place of an engine.

import { randomBytes } from "node:crypto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ANY_DESTINATION, RELAY_ERROR_HEADER } from "../../../../src/agents/protocol/headers.ts";
import { PROTOCOL_LIMITS } from "../../../../src/agents/protocol/limits.ts";
import { RENDER_LIMITS } from "../../../../src/agents/relay/render/renderer.ts";
import {
  answerOk,
  answerStatus,
  resetConnection,
  runRelay,
  type RunningRelay,
  startStubEngine,
  type StubEngine,
} from "../../support/running-relay.ts";
import { sign, type SigningOverrides } from "../../support/signing.ts";

const PATH = "/v1/chat/completions/render";
const PROMPT = "a prompt that nobody else may read";
const BODY = JSON.stringify({ model: "m", messages: [{ role: "user", content: PROMPT }] });
const LIFETIME_MS = PROTOCOL_LIMITS.renderSignatureLifetimeMsMax;
/** Reserved: nobody listens there. */
const DEAD = "127.0.0.1:1";

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

async function start(behaviour: StubEngine["behaviour"] = answerOk, addresses: string[] = []) {
  const engine = await startStubEngine(behaviour);
  const relay = await runRelay([...addresses, engine.address]);
  open.push(engine, relay);
  return { engine, relay };
}

function render(
  { relay }: RunningRelay,
  {
    body = BODY,
    path = PATH,
    to = ANY_DESTINATION,
    ...overrides
  }: SigningOverrides & {
    readonly body?: string;
    readonly to?: string;
  } = {},
): Promise<Response> {
  return fetch(`http://127.0.0.1:${relay.port}${path}`, {
    method: "POST",
    headers: sign(to, body, { path, expiresAtMs: Date.now() + LIFETIME_MS, ...overrides }),
    body,
  });
}

/** As vLLM says it. */
const NO_MODEL = JSON.stringify({
  error: { message: `The model ${PROMPT} does not exist.`, type: "NotFoundError", code: 404 },
});
const WRAPPED = '{"error":{"message":"Not Found","type":"NotFoundError","code":404}}';
const says =
  (status: number, text: string): StubEngine["behaviour"] =>
  (response) =>
    response.writeHead(status, { "content-type": "application/json" }).end(text);
const codeOf = (response: Response) => response.headers.get(RELAY_ERROR_HEADER);
const outcomes = (relay: RunningRelay, outcome: string) =>
  relay.metric(`fairlead_relay_renders_total{outcome="${outcome}"}`);

it("passes on what an engine answers, opens no ticket and reports nothing", async () => {
  const { relay } = await start((response) => response.end('{"token_ids":[1,2,3]}'));
  const response = await render(relay);
  expect(await response.json()).toEqual({ token_ids: [1, 2, 3] });
  expect(outcomes(relay, "rendered")).toBe(1);
  expect(relay.metric("fairlead_relay_outbox_reports")).toBe(0);
  expect(relay.registry.render()).not.toContain("fairlead_relay_requests_total{");
});

it("asks another endpoint where one cannot be reached", async () => {
  const { relay } = await start(answerOk, [DEAD]);
  for (let i = 0; i < 6; i++) expect((await render(relay)).status).toBe(200);
});

describe("refuses", () => {
  it.for([
    { name: "what names an endpoint", of: { to: "127.0.0.1:1" }, code: "off-list" },
    { name: "a stranger", of: { secret: "of-somebody-else-0123" }, code: "bad-signature" },
    { name: "another body", of: { bodySha256: "0".repeat(64) }, code: "body-changed" },
    { name: "what has expired", of: { expiresAtMs: Date.now() - 60_000 }, code: "expired" },
    // Longer than its ticket is remembered.
    { name: "what is signed for long", of: { expiresAtMs: Date.now() + 60_000 }, code: "expired" },
    {
      name: "more than its bytes",
      of: { body: "x".repeat(RENDER_LIMITS.bodyBytesMax + 1) },
      code: "too-large",
    },
  ])("$name", async ({ of, code }) => {
    const { relay, engine } = await start();
    const response = await render(relay, of);
    expect(codeOf(response)).toBe(code);
    expect(await response.text()).not.toContain(PROMPT);
    expect(engine.requestCount).toBe(0);
  });

  it("a second use of the same signature", async () => {
    const { relay } = await start();
    expect((await render(relay, { ticket: "once" })).status).toBe(200);
    expect(codeOf(await render(relay, { ticket: "once" }))).toBe("replayed");
  });

  it("to serve a request that was signed to be rendered, or the other way round", async () => {
    const { relay } = await start();
    const served = await render(relay, { path: "/v1/chat/completions" });
    expect(codeOf(served)).toBe("off-list");
    const other = await fetch(`http://127.0.0.1:${relay.relay.port}${PATH}`, {
      method: "POST",
      headers: sign(ANY_DESTINATION, BODY, { path: "/v1/chat/completions" }),
      body: BODY,
    });
    expect(codeOf(other)).toBe("bad-signature");
  });
});

describe("says why there is no rendering", () => {
  it.for([
    { name: "no such path", behaviour: says(404, '{"detail":"Not Found"}'), code: "no-renderer" },
    { name: "no such path, wrapped", behaviour: says(404, WRAPPED), code: "no-renderer" },
    { name: "no such method", behaviour: answerStatus(405), code: "no-renderer" },
    { name: "no such model", behaviour: says(404, NO_MODEL), code: "not-rendered" },
    { name: "a 404 in other words", behaviour: says(404, "<html>"), code: "not-rendered" },
    { name: "a long 404", behaviour: says(404, `"${"x".repeat(70_000)}"`), code: "not-rendered" },
    { name: "not what the engine takes", behaviour: answerStatus(400), code: "not-rendered" },
    { name: "not in order", behaviour: answerStatus(422), code: "not-rendered" },
    { name: "the engine does not know the relay", behaviour: answerStatus(401), code: "exhausted" },
    { name: "the engine has no room", behaviour: answerStatus(429), code: "exhausted" },
    { name: "the engine fails", behaviour: answerStatus(500), code: "exhausted" },
    { name: "the engine breaks off", behaviour: resetConnection, code: "exhausted" },
  ])("$name", async ({ behaviour, code }) => {
    const { relay } = await start(behaviour);
    const response = await render(relay);
    expect(codeOf(response)).toBe(code);
    expect(outcomes(relay, code)).toBe(1);
  });

  it("breaks off an answer past its bytes", async () => {
    const { relay } = await start((response) => {
      response.end(randomBytes(RENDER_LIMITS.answerBytesMax + 1));
    });
    const text = render(relay).then((response) => response.text());
    await expect(text).rejects.toThrow("terminated");
    await vi.waitFor(() => expect(outcomes(relay, "broken-off")).toBe(1));
  });
});

it("takes no room of requests to be served", async () => {
  const { engine } = await start();
  // Less than a body.
  const relay = await runRelay([engine.address], { heldBodyBytesMax: 1 });
  open.push(relay);
  expect((await render(relay)).status).toBe(200);
});

it("renders so many at once", async () => {
  const held: (() => void)[] = [];
  const { relay } = await start((response) => void held.push(() => answerOk(response)));
  const under = Array.from({ length: RENDER_LIMITS.rendersMax + 1 }, () => render(relay));
  const first = await Promise.race(under);
  expect(codeOf(first)).toBe("busy");
  const release = setInterval(() => held.splice(0).forEach((answer) => answer()), 5);
  const answers = await Promise.all(under);
  clearInterval(release);
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(RENDER_LIMITS.rendersMax);
});
