// An authority and certificates of it, for a test that needs TLS: `ca.crt`, and NAME.crt and NAME.key.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** `names`: the subjectAltName of each certificate, by its name. */
export function createCertificates(
  directory: string,
  names: Readonly<Record<string, string>>,
): void {
  const openssl = (...args: string[]) =>
    execFileSync("openssl", args, { cwd: directory, stdio: "ignore" });
  const authority = ["-keyout", "ca.key", "-out", "ca.crt", "-days", "1", "-subj", "/CN=ca"];
  openssl("req", "-x509", ...CURVE, ...authority);
  for (const [name, subjectAltName] of Object.entries(names)) {
    writeFileSync(join(directory, `${name}.ext`), `subjectAltName=${subjectAltName}`);
    const request = ["-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`];
    openssl("req", ...CURVE, ...request);
    const signer = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1"];
    const files = ["-in", `${name}.csr`, "-extfile", `${name}.ext`, "-out", `${name}.crt`];
    openssl("x509", "-req", ...signer, ...files);
  }
}
