import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { DEFAULT_SETTINGS } from "../../src/config/settings.ts";
import { createDeployment, RELAY_SECRET } from "./deployments.ts";

afterEach(() => reset());

describe("Control", () => {
  it("puts a configuration in force, gives it, and shows its versions without secrets", async () => {
    expect(await env.CONTROL.readConfig(-1)).toMatchObject({ version: 0 });
    const deployment = createDeployment();
    expect(await env.CONTROL.putConfig(deployment, 0)).toMatchObject({ ok: true, version: 1 });
    expect(await env.CONTROL.putConfig(deployment, 0)).toMatchObject({ reason: "conflict" });
    expect(await env.CONTROL.readConfig(1)).toEqual({ version: 1, unchanged: true });
    expect(JSON.stringify(await env.CONTROL.readConfig(0))).toContain(RELAY_SECRET);
    expect(await env.CONTROL.configVersions()).toMatchObject([{ version: 1 }]);
    const shown = await env.CONTROL.configVersion(1);
    expect(shown?.pools[0]?.name).toBe(deployment.pools[0]!.name);
    expect(JSON.stringify(shown)).not.toContain(RELAY_SECRET);
    expect(await env.CONTROL.configVersion(2)).toBeNull();
  });

  it("configures the pools' objects through their entrypoint, and retires them", async () => {
    const deployment = createDeployment();
    const { name } = deployment.pools[0]!;
    await env.CONTROL.putConfig(deployment);
    expect(await env.POOLS.state(name)).toMatchObject({ isConfigured: true, configVersion: 1 });
    await env.CONTROL.putConfig({ ...deployment, pools: [] });
    expect(await env.POOLS.state(name)).toMatchObject({ isConfigured: false, configVersion: 2 });
  });

  it("gives and changes the switches", async () => {
    expect(await env.CONTROL.settings()).toEqual(DEFAULT_SETTINGS);
    const settings = { ...DEFAULT_SETTINGS, acceptRequests: false };
    expect(await env.CONTROL.updateSettings({ acceptRequests: false })).toEqual({
      ok: true,
      settings,
    });
    expect(await env.CONTROL.settings()).toEqual(settings);
  });

  it("serves nothing over HTTP", async () => {
    expect((await env.CONTROL.fetch("https://control.invalid/")).status).toBe(404);
  });
});
