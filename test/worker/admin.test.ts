import { createExecutionContext, evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { serveRequest } from "../../src/worker/router.ts";
import { POOL, until } from "../durable/pool-client.ts";
import {
  adminSend,
  AGENT_TOKEN,
  chat,
  chatBody,
  configuration,
  deploy,
  MODEL,
  send,
  TENANT_KEY,
} from "./support/deployment.ts";
import { RELAY_KEY } from "./support/relay-key.ts";

const SECRETS = [TENANT_KEY, AGENT_TOKEN, RELAY_KEY.secret, "acme-salt-0123456789"];

interface Stored {
  readonly version: number;
  readonly config: ReturnType<typeof configuration>;
}

beforeEach(async () => {
  await deploy();
});

async function current(): Promise<Stored> {
  const response = await adminSend("/admin/v1/config");
  const text = await response.text();
  for (const secret of SECRETS) expect(text).not.toContain(secret);
  const stored = JSON.parse(text) as Stored;
  expect(response.headers.get("etag")).toBe(`"${stored.version}"`);
  return stored;
}

const put = (config: unknown, headers: Readonly<Record<string, string>> = {}) =>
  adminSend("/admin/v1/config", {
    method: "PUT",
    body: typeof config === "string" ? config : JSON.stringify(config),
    headers,
  });

async function errorOf(response: Response) {
  const text = await response.text();
  for (const secret of SECRETS) expect(text).not.toContain(secret);
  const { error } = JSON.parse(text) as { error: Record<string, unknown> };
  return { status: response.status, ...error };
}

describe("the admin key", () => {
  const PATHS = [
    "/metrics",
    "/metrics/pools/eu-1",
    "/admin/v1/config",
    "/admin/v1/config/versions",
    "/admin/v1/config/versions/1",
    "/admin/v1/settings",
    "/admin/v1/explain/x",
    "/metrics/directory",
    "/admin/v1/pools",
    "/admin/v1/pools/eu-1",
    "/admin/v1/pools/eu-1/drain",
    "/admin/v1/pools/eu-1/undrain",
    "/admin/v1/pools/eu-1/queue",
  ].map((path) => ({ path, method: path.endsWith("drain") ? "POST" : "GET" }));

  it.for(PATHS)("is wanted for $method $path", async ({ path, method }) => {
    for (const authorization of ["", `Bearer ${TENANT_KEY}`, `Bearer ${AGENT_TOKEN}`]) {
      const error = await errorOf(await send(path, { method, headers: { authorization } }));
      expect(error).toMatchObject({ status: 401, code: "invalid_admin_key" });
    }
  });

  it("opens nothing while the deployment has none", async () => {
    for (const FAIRLEAD_ADMIN_KEY of ["", undefined]) {
      const context = createExecutionContext();
      const request = new Request("https://fairlead.test/metrics", {
        headers: { authorization: "Bearer " },
      });
      const bindings = { ...env, FAIRLEAD_ADMIN_KEY } as Env;
      const response = await serveRequest(request, bindings, context);
      const error = await errorOf(response);
      expect(error).toMatchObject({ status: 503, code: "admin_key_not_configured" });
    }
  });

  it("is no tenant's key", async () => {
    const response = await adminSend("/v1/models");
    expect(response.status).toBe(401);
  });
});

describe("the configuration", () => {
  it("names the pools whose stored scheduling cannot be read", async () => {
    expect(await current()).not.toHaveProperty("repaired");
    const directory = env.DIRECTORY.getByName("directory");
    await runInDurableObject(directory, (_, { storage }) => {
      const { version, json } = storage.sql
        .exec<{ version: number; json: string }>(
          "SELECT version, json FROM versions ORDER BY version DESC LIMIT 1",
        )
        .one();
      const { pools, ...rest } = JSON.parse(json) as Stored["config"];
      const scheduler = { plugins: [{ type: "scorer-of-tomorrow" }] };
      const [first, ...others] = pools;
      const changed = JSON.stringify({ ...rest, pools: [{ ...first, scheduler }, ...others] });
      storage.sql.exec("UPDATE versions SET json = ? WHERE version = ?", changed, version);
    });
    await evictDurableObject(directory);
    expect(await current()).toMatchObject({ repaired: [POOL], config: { pools: [{}, {}, {}] } });
  });

  it("is shown without secrets, and can be put back as it is shown", async () => {
    const { version, config } = await current();
    const response = await put(config);
    expect(await response.json()).toEqual({ version: version + 1, pending: [] });
    const answer = await chat(chatBody());
    expect(answer.status).toBe(200);
    await answer.body?.cancel();
  });

  it("takes effect at once here, and a removed key stops at once", async () => {
    const config = configuration();
    const added = { ...config.tenants[0], id: "new", keys: ["new-tenant-key-01234"] };
    const asNew = () => chat(chatBody(), { authorization: "Bearer new-tenant-key-01234" });
    expect((await asNew()).status).toBe(401);
    await put({ ...config, tenants: [...config.tenants, added] });
    expect((await asNew()).status).toBe(200);
    await put(config);
    expect((await asNew()).status).toBe(401);
  });

  it("is not overwritten by who has not seen the newest version", async () => {
    const { version } = await current();
    const conflict = await put(configuration(), { "if-match": `"${version - 1}"` });
    expect(await errorOf(conflict)).toMatchObject({ status: 412, code: "version_conflict" });
    const good = await put(configuration(), { "if-match": `"${version}"` });
    expect(good.headers.get("etag")).toBe(`"${version + 1}"`);
    const any = await put(configuration(), { "if-match": "*" });
    expect(any.status).toBe(200);
    const malformed = await put(configuration(), { "if-match": "newest" });
    expect(await errorOf(malformed)).toMatchObject({ status: 400, param: "if-match" });
  });

  it("reports every mistake at once, and keeps what was", async () => {
    const { version } = await current();
    const config = configuration();
    const response = await put({
      ...config,
      typo: true,
      pools: [{ ...config.pools[0], name: "Bad Name", relays: [] }],
    });
    const error = await errorOf(response);
    expect(error).toMatchObject({ status: 400, code: "invalid_configuration" });
    const paths = (error as unknown as { issues: { path: string }[] }).issues.map((i) => i.path);
    expect(paths).toEqual(expect.arrayContaining(["pools[0].name", "pools[0].relays", ""]));
    expect((await current()).version).toBe(version);
  });

  it.for([
    { name: "not JSON", body: "version: 1", status: 400, code: "invalid_json" },
    {
      name: "too large",
      body: `{"x":"${"x".repeat(1 << 20)}"}`,
      status: 413,
      code: "request_too_large",
    },
  ])("refuses what is $name", async ({ body, status, code }) => {
    expect(await errorOf(await put(body))).toMatchObject({ status, code });
  });

  it("keeps its versions, and shows them without secrets", async () => {
    const { version } = await current();
    const list = await adminSend("/admin/v1/config/versions");
    const { versions } = await list.json<{ versions: { version: number }[] }>();
    expect(versions[0]).toMatchObject({ version });
    const shown = await adminSend(`/admin/v1/config/versions/${version}`);
    const text = await shown.text();
    for (const secret of SECRETS) expect(text).not.toContain(secret);
    expect((JSON.parse(text) as Stored).config.pools).toHaveLength(3);
    for (const missing of ["99999", "x", "-1"]) {
      const response = await adminSend(`/admin/v1/config/versions/${missing}`);
      expect(await errorOf(response)).toMatchObject({ status: 404, code: "not_found" });
    }
  });
});

describe("switches", () => {
  it.for([
    { body: '{"acceptRequests":"no"}', status: 400, code: "invalid_value" },
    { body: '{"unknown":true}', status: 400, code: "invalid_value" },
    { body: "[]", status: 400, code: "invalid_json" },
  ])("refuse $body", async ({ body, status, code }) => {
    const response = await adminSend("/admin/v1/settings", { method: "PATCH", body });
    expect(await errorOf(response)).toMatchObject({ status, code });
  });

  it("are changed one by one", async () => {
    const patch = (body: string) => adminSend("/admin/v1/settings", { method: "PATCH", body });
    await patch('{"requestLog":"off"}');
    await patch('{"exposeEndpointHeader":false}');
    const expected = { acceptRequests: true, exposeEndpointHeader: false, requestLog: "off" };
    expect(await (await adminSend("/admin/v1/settings")).json()).toEqual(expected);
    await patch('{"requestLog":"errors","exposeEndpointHeader":true}');
  });
});

describe("questions", () => {
  it("explains a request by its id", async () => {
    const response = await chat(chatBody());
    await response.body?.cancel();
    const id = response.headers.get("x-fairlead-request-id")!;
    const explained = await adminSend(`/admin/v1/explain/${id}`);
    expect(explained.status).toBe(200);
    const text = await explained.text();
    expect(text).toContain(id);
    expect(text).toContain("10.0.0.1:8000");
    expect(text).not.toContain("Hi");
  });

  it.for([
    { id: "mine-1", status: 400, code: "invalid_value" },
    { id: `fl-4ac9b395-00-${"0".repeat(32)}`, status: 404, code: "not_found" },
    { id: `fl-00000000-00-${"0".repeat(32)}`, status: 404, code: "not_found" },
  ])("cannot explain $id", async ({ id, status, code }) => {
    expect(await errorOf(await adminSend(`/admin/v1/explain/${id}`))).toMatchObject({
      status,
      code,
    });
  });

  it("shows a pool's state, and creates no object for another name", async () => {
    const state = await adminSend("/admin/v1/pools/eu-1");
    expect(await state.json()).toMatchObject({ pool: "eu-1", isConfigured: true });
    const unknown = await adminSend("/admin/v1/pools/no-such-pool");
    expect(await errorOf(unknown)).toMatchObject({ status: 404, code: "not_found" });
  });

  it("says of a pool without flow control that nothing waits there, and how it would", async () => {
    const answer = await adminSend("/admin/v1/pools/eu-1/queue");
    expect([answer.status, answer.headers.get("cache-control")]).toEqual([200, "no-store"]);
    expect(await answer.json()).toMatchObject({
      pool: "eu-1",
      queue: null,
      note: expect.stringContaining("featureGates: [flowControl]"),
    });
    const unknown = await adminSend("/admin/v1/pools/no-such-pool/queue");
    expect(await errorOf(unknown)).toMatchObject({ status: 404, code: "not_found" });
  });

  it("shows metrics of this isolate and of a pool, without prompts or secrets", async () => {
    await (await chat(chatBody())).body?.cancel();
    await (await chat("{")).text();
    const isolate = await (await adminSend("/metrics")).text();
    expect(isolate).toContain(
      `llm_d_epp_request_total{model_name="${MODEL}",target_model_name="${MODEL}",fairness_id="acme",priority="3"}`,
    );
    expect(isolate).toContain('error_code="invalid_json"');
    expect(isolate).toContain("fairlead_directory_age_seconds");
    const pool = await until(async () => {
      const text = await (await adminSend("/metrics/pools/eu-1")).text();
      return text.includes("llm_d_epp_ready_endpoints") ? text : undefined;
    });
    for (const secret of SECRETS) expect(isolate + pool).not.toContain(secret);
  });
});
