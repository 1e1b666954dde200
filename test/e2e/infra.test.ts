// The manifests in infra/kubernetes: their arguments start the agents, and they refer to each other.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { afterAll, describe, expect, it } from "vitest";
import { kubeconfig } from "../agents/support/kubeconfig.ts";
import { FakeKubernetesApi, pod } from "../agents/support/kubernetes-api.ts";

const DIR = fileURLToPath(new URL("../../infra/kubernetes", import.meta.url));
const AGENTS = fileURLToPath(new URL("../../src/agents/main.ts", import.meta.url));

const probe = z.object({
  httpGet: z.object({ path: z.string(), port: z.string() }).optional(),
  tcpSocket: z.object({ port: z.string() }).optional(),
});
const deploymentSchema = z.object({
  kind: z.literal("Deployment"),
  spec: z.object({
    selector: z.object({ matchLabels: z.record(z.string(), z.string()) }),
    template: z.object({
      metadata: z.object({ labels: z.record(z.string(), z.string()) }),
      spec: z.object({
        containers: z.tuple([
          z.object({
            args: z.array(z.string()),
            env: z.array(
              z.object({
                name: z.string(),
                valueFrom: z.object({ secretKeyRef: z.object({ name: z.string() }).optional() }),
              }),
            ),
            ports: z.array(z.object({ name: z.string(), containerPort: z.number() })),
            readinessProbe: probe,
            livenessProbe: probe,
          }),
        ]),
      }),
    }),
  }),
});

const roleSchema = z.object({
  rules: z.array(
    z.object({
      apiGroups: z.array(z.string()),
      resources: z.array(z.string()),
      verbs: z.array(z.string()),
    }),
  ),
});

const documents = readdirSync(DIR)
  .filter((name) => name.endsWith(".yaml"))
  .flatMap((name) =>
    parseAllDocuments(readFileSync(join(DIR, name), "utf8")).map((document) => {
      if (document.errors.length > 0) throw document.errors[0]!;
      return document.toJS() as { kind: string };
    }),
  );
const ofKind = (kind: string) => documents.filter((document) => document.kind === kind);
const nameOf = (document: { kind: string; metadata?: { name?: string } }) =>
  document.metadata?.name;
const deployments = ofKind("Deployment").map((document) => deploymentSchema.parse(document));

/** The flags that open the containers' ports, by port name. */
const LISTEN_FLAGS: Readonly<Record<string, string>> = {
  http: "--listen",
  admin: "--admin-listen",
  learning: "--learn-listen",
};

const dir = mkdtempSync(join(tmpdir(), "fairlead-infra-"));
const children: ChildProcess[] = [];
const apis: FakeKubernetesApi[] = [];
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  for (const api of apis) await api.close();
  rmSync(dir, { recursive: true });
});

/** The arguments as the kubelet would give them, on free ports of this machine. */
function localArgs(args: readonly string[]): string[] {
  return args.map((arg) =>
    arg
      .replace("$(POD_NAME)", "pod-0")
      .replace(/^(--(?:admin-|learn-)?listen)=.*/, "$1=127.0.0.1:0")
      .replace(/^--connect=.*/, "--connect=http://127.0.0.1:1"),
  );
}

const ALPHA_RESOURCES = ["inferenceobjectives", "inferencemodelrewrites"];

/** What the Role lets an account ask in the namespace, as the API server here writes requests down. */
function allowedRequests(): string[] {
  const [role] = ofKind("Role");
  const { rules } = roleSchema.parse(role);
  return rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) =>
        verbs.map((verb) => {
          const version = ALPHA_RESOURCES.includes(resource) ? "v1alpha2" : "v1";
          const root = group === "" ? "/api/v1" : `/apis/${group}/${version}`;
          return `${verb} ${root}/namespaces/default/${resource}`;
        }),
      ),
    ),
  );
}

describe("infra/kubernetes", () => {
  it("has a collector and a relay, whose labels and ports fit together", () => {
    const roles = deployments.map(({ spec }) => spec.template.spec.containers[0].args[0]);
    expect(roles).toEqual(["collector", "relay"]);
    for (const { spec } of deployments) {
      expect(spec.template.metadata.labels).toMatchObject(spec.selector.matchLabels);
      const [container] = spec.template.spec.containers;
      const ports = container.ports.map((port) => port.name);
      expect(ports).toContain(container.readinessProbe.httpGet?.port);
      expect(ports).toContain(container.livenessProbe.tcpSocket?.port);
      for (const { name, containerPort } of container.ports) {
        const flag = LISTEN_FLAGS[name];
        expect(container.args).toContain(`${flag}=0.0.0.0:${containerPort}`);
      }
    }
  });

  it("lets relays tell collectors what they learn, and collectors hear the engines", () => {
    const [collector, relay] = deployments.map(({ spec }) => spec.template.spec.containers[0]);
    const service = z
      .object({
        metadata: z.object({ name: z.string() }),
        spec: z.object({
          clusterIP: z.literal("None"),
          ports: z.tuple([z.object({ port: z.number(), targetPort: z.string() })]),
        }),
      })
      .parse(ofKind("Service").find((document) => nameOf(document) === "fairlead-collector"));
    const [{ port, targetPort }] = service.spec.ports;
    expect(relay!.args).toContain(`--learn-to=http://${service.metadata.name}:${port}`);
    const listening = collector!.ports.find(({ name }) => name === targetPort)!.containerPort;
    expect(collector!.args).toContain(`--learn-listen=0.0.0.0:${listening}`);
    const policies = JSON.stringify(ofKind("NetworkPolicy"));
    for (const flag of ["--kv-events-port", "--kv-replay-port"]) {
      const number = collector!.args.find((arg) => arg.startsWith(`${flag}=`))!.split("=")[1];
      expect(policies).toContain(`"port":${number}}`);
    }
    expect(policies).toContain(`"port":${listening}}`);
  });

  it.for(deployments.map(({ spec }) => spec.template.spec.containers[0]))(
    "starts $args.0 with its arguments, and answers the probe",
    async ({ args, env, readinessProbe }) => {
      const api = await FakeKubernetesApi.start();
      apis.push(api);
      const group = "inference.networking.k8s.io";
      api.put(`/apis/${group}/v1/namespaces/default/inferencepools`, {
        metadata: { name: "vllm", namespace: "default" },
        spec: { selector: { matchLabels: { app: "vllm" } }, targetPorts: [{ number: 8000 }] },
      });
      for (const name of ["vllm-0", "vllm-1"]) {
        api.putPod(pod(name, `10.0.0.${name.at(-1)}`, { namespace: "default" }));
      }
      const config = `--kubeconfig=${kubeconfig(dir, `http://127.0.0.1:${api.port}`)}`;
      const secrets = env.filter(({ valueFrom }) => valueFrom.secretKeyRef !== undefined);
      const given = secrets.map(({ name }) => [name, "k1:a-secret-of-at-least-16"]);
      const child = spawn(process.execPath, [AGENTS, ...localArgs(args), config], {
        stdio: ["ignore", "pipe", "ignore"],
        env: { ...process.env, ...(Object.fromEntries(given) as Record<string, string>) },
      });
      children.push(child);
      const line = await new Promise<string>((resolve, reject) => {
        child.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString()));
        child.once("exit", (code) => reject(new Error(`${args[0]} ended with status ${code}`)));
      });
      const { adminPort } = JSON.parse(line) as { adminPort: number };
      const { path } = readinessProbe.httpGet!;
      const response = await fetch(`http://127.0.0.1:${adminPort}${path}`);
      expect(await response.json()).toMatchObject({ endpoints: 2 });
      await expect.poll(() => api.watchCount, { timeout: 15_000 }).toBe(2);
      for (const request of api.requests)
        expect(allowedRequests()).toContain(request.split("?")[0]);
    },
  );

  it("gives its agents an account, and the account a Role", () => {
    const [account] = ofKind("ServiceAccount");
    const name = nameOf(account!);
    const pods = ofKind("Deployment").map((document) => JSON.stringify(document));
    for (const text of pods) {
      expect(text).toContain(`"serviceAccountName":"${name}","automountServiceAccountToken":true`);
    }
    const [binding] = ofKind("RoleBinding") as unknown as [
      { roleRef: { name: string }; subjects: { kind: string; name: string }[] },
    ];
    expect(binding.roleRef.name).toBe(nameOf(ofKind("Role")[0]!));
    expect(binding.subjects[0]).toMatchObject({ kind: "ServiceAccount", name });
  });
});
