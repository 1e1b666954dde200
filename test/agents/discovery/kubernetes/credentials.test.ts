// How the API server is reached: kubeconfigs and a pod's own account, over TLS with certificates that are
// made here.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ClusterApi } from "../../../../src/agents/discovery/kubernetes/cluster-api.ts";
import { createCertificates } from "../../support/certificates.ts";
import { kubeconfig } from "../../support/kubeconfig.ts";
import { FakeKubernetesApi } from "../../support/kubernetes-api.ts";
import { PODS } from "./harness.ts";

let directory: string;
let api: FakeKubernetesApi;
const file = (name: string) => join(directory, name);
const { KUBERNETES_SERVICE_HOST: HOST, KUBERNETES_SERVICE_PORT: PORT } = process.env;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "fairlead-credentials-"));
  createCertificates(directory, { server: "IP:127.0.0.1" });
  const pem = (name: string) => readFileSync(file(name), "utf8");
  api = await FakeKubernetesApi.start({ cert: pem("server.crt"), key: pem("server.key") });
  api.put(PODS, { metadata: { name: "a", namespace: "llm" } });
  api.token = "first-token";
});
afterEach(async () => {
  await api.close();
  rmSync(directory, { recursive: true });
  restore("KUBERNETES_SERVICE_HOST", HOST);
  restore("KUBERNETES_SERVICE_PORT", PORT);
});

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

/** "ok", or what the answer says is wrong. */
async function ask(cluster: ClusterApi): Promise<string> {
  const answer = await cluster.get(PODS, { limit: "1" }, AbortSignal.timeout(5_000));
  if (!answer.ok) return answer.problem;
  answer.end();
  return "ok";
}

const open = (user: object, cluster: object = { "certificate-authority": file("ca.crt") }) =>
  ClusterApi.open(
    kubeconfig(directory, `https://127.0.0.1:${api.port}/`, { ...user }, { ...cluster }),
  );

describe("a kubeconfig", () => {
  it("gives authority and token", async () => {
    expect(await ask(open({ token: "first-token" }))).toBe("ok");
    expect(await ask(open({ token: "wrong" }))).toMatch(/^HTTP 401: /);
  });

  it("may name a program that gives the token", async () => {
    const credential = {
      apiVersion: "client.authentication.k8s.io/v1",
      kind: "ExecCredential",
      status: { token: "first-token" },
    };
    const exec = {
      apiVersion: credential.apiVersion,
      command: process.execPath,
      args: ["-e", `console.log(${JSON.stringify(JSON.stringify(credential))})`],
    };
    expect(await ask(open({ exec }))).toBe("ok");
    expect(await ask(open({ exec: { ...exec, command: file("missing") } }))).not.toBe("ok");
  });

  it("does not reach a server of another authority", async () => {
    expect(await ask(open({ token: "first-token" }, {}))).toMatch(/certificate|self[- ]signed/);
  });

  it("is refused, with its path, when it is missing or names no cluster", () => {
    expect(() => ClusterApi.open(file("missing"))).toThrow(/ENOENT.*missing/);
    writeFileSync(file("empty"), "apiVersion: v1\nkind: Config\n");
    expect(() => ClusterApi.open(file("empty"))).toThrow(/empty/);
  });
});

describe("a pod's own account", () => {
  const root = "var/run/secrets/kubernetes.io/serviceaccount";

  it("is read from where the kubelet puts it", async () => {
    mkdirSync(file(root), { recursive: true });
    writeFileSync(file(`${root}/token`), "first-token");
    writeFileSync(file(`${root}/ca.crt`), readFileSync(file("ca.crt")));
    process.env["KUBERNETES_SERVICE_HOST"] = "127.0.0.1";
    process.env["KUBERNETES_SERVICE_PORT"] = String(api.port);
    const cluster = ClusterApi.open(null, directory);
    expect(await ask(cluster)).toBe("ok");
    api.token = "second-token";
    expect(await ask(cluster)).toMatch(/^HTTP 401/);
  });

  it("is missing outside a cluster, and that is said", () => {
    delete process.env["KUBERNETES_SERVICE_HOST"];
    expect(() => ClusterApi.open(null)).toThrow(
      "KUBERNETES_SERVICE_HOST is not set: outside a cluster, give --kubeconfig",
    );
  });
});
