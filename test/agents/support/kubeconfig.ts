import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";

/** Writes a kubeconfig for the server; gives its path. */
export function kubeconfig(
  directory: string,
  server: string,
  user: Readonly<Record<string, unknown>> = {},
  cluster: Readonly<Record<string, unknown>> = { "insecure-skip-tls-verify": true },
): string {
  const path = join(directory, "kubeconfig");
  const content = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
    clusters: [{ name: "c", cluster: { server, ...cluster } }],
    users: [{ name: "u", user }],
  };
  writeFileSync(path, stringify(content));
  return path;
}
