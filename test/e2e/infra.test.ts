// The manifests in infra/kubernetes: their arguments start the agents, and they refer to each other.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { afterAll, describe, expect, it } from "vitest";

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
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(dir, { recursive: true });
});

/** The arguments as the kubelet would give them, on this machine's files and free ports. */
function localArgs(args: readonly string[], endpointsFile: string): string[] {
  return args.map((arg) =>
    arg
      .replace("$(POD_NAME)", "pod-0")
      .replace("/etc/fairlead/endpoints.yaml", endpointsFile)
      .replace(/^(--(?:admin-|learn-)?listen)=.*/, "$1=127.0.0.1:0")
      .replace(/^--connect=.*/, "--connect=http://127.0.0.1:1"),
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
      const [configMap] = ofKind("ConfigMap") as unknown as [{ data: Record<string, string> }];
      const file = join(dir, "endpoints.yaml");
      writeFileSync(file, configMap.data["endpoints.yaml"]!);
      const secrets = env.filter(({ valueFrom }) => valueFrom.secretKeyRef !== undefined);
      const given = secrets.map(({ name }) => [name, "k1:a-secret-of-at-least-16"]);
      const child = spawn(process.execPath, [AGENTS, ...localArgs(args, file)], {
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
    },
  );
});
