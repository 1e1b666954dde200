// The workerd configuration of `fairlead up`: what wrangler.toml says for Cloudflare, said to
// workerd. test/cli/workerd-config.test.ts keeps the two in agreement.

/** As in wrangler.toml. */
export const COMPATIBILITY_DATE = "2026-11-03";
export const COMPATIBILITY_FLAGS = ["enable_request_signal", "pipe_to_backward_propagation"];

/** Durable Object bindings and their classes, as in wrangler.toml. */
export const OBJECTS = [
  { binding: "POOL", className: "PoolObject" },
  { binding: "DIRECTORY", className: "DirectoryObject" },
  { binding: "SETTINGS", className: "SettingsObject" },
] as const;

/** workerd reads it from its environment, so that it is in no file and on no command line. */
export const ADMIN_KEY_VARIABLE = "FAIRLEAD_ADMIN_KEY";

/** The longest path a unix socket can have; Linux allows 107 characters, macOS 103. */
export const SOCKET_PATH_CHARS_MAX = 103;

export interface WorkerdConfigOptions {
  /** Where the front finds workerd. */
  readonly socketPath: string;
  /** The bundle's path relative to the configuration's folder. */
  readonly bundleFile: string;
  /** Absolute folder of the objects' SQLite files. It must belong to one process only. */
  readonly storageDir: string;
}

/** The configuration in Cap'n Proto's text form. */
export function workerdConfig(options: WorkerdConfigOptions): string {
  if (options.socketPath.length > SOCKET_PATH_CHARS_MAX)
    throw new RangeError(`the socket path is longer than ${SOCKET_PATH_CHARS_MAX} characters`);
  const bindings = OBJECTS.map(
    ({ binding, className }) =>
      `    (name = ${text(binding)}, durableObjectNamespace = ${text(className)}),`,
  );
  // uniqueKey names the folder of a class's objects and seeds their ids: it must never change.
  // preventEviction: an evicted pool would forget what its engines hold in cache.
  const namespaces = OBJECTS.map(
    ({ className }) =>
      `    (className = ${text(className)}, uniqueKey = ${text(`fairlead-${className}`)}, ` +
      "enableSql = true, preventEviction = true),",
  );
  return `# Written by \`fairlead up\`. Changes are lost at the next start.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "fairlead", worker = .fairlead),
    # Relays have private addresses or run on this machine. The Worker fetches nothing but them.
    (name = "internet", network = (
      allow = ["public", "private", "local"],
      tlsOptions = (trustBrowserCas = true),
    )),
    (name = "storage", disk = (path = ${text(options.storageDir)}, writable = true)),
  ],
  sockets = [
    (name = "http", address = ${text(`unix:${options.socketPath}`)}, http = (), service = "fairlead"),
  ],
);

const fairlead :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed ${text(options.bundleFile)})],
  compatibilityDate = ${text(COMPATIBILITY_DATE)},
  compatibilityFlags = [${COMPATIBILITY_FLAGS.map(text).join(", ")}],
  bindings = [
${bindings.join("\n")}
    (name = "POOLS", service = (name = "fairlead", entrypoint = "Pools")),
    (name = "CONTROL", service = (name = "fairlead", entrypoint = "Control")),
    (name = ${text(ADMIN_KEY_VARIABLE)}, fromEnvironment = ${text(ADMIN_KEY_VARIABLE)}),
  ],
  durableObjectNamespaces = [
${namespaces.join("\n")}
  ],
  durableObjectStorage = (localDisk = "storage"),
);
`;
}

/** A Cap'n Proto string literal: for text without control characters its escapes are JSON's. */
function text(value: string): string {
  if (/\p{Cc}/u.test(value)) throw new RangeError("a path must not hold control characters");
  return JSON.stringify(value);
}
