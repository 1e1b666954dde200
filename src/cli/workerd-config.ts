// The workerd configurations of `fairlead up`: what wrangler.toml says for Cloudflare, said to
// workerd. test/cli/workerd-config.test.ts keeps the two in agreement.
//
//   unsplit    http ─► Worker and objects
//   split      http ─► Worker ══ pools-0 ══► Pools entrypoint, objects      coordinator 0
//                         ╚═══ control ══╝► Control entrypoint
//                         ════ pools-1 ══► Pools entrypoint, objects        coordinator 1
//
// Coordinators call each other, too: the directory every `pools-…`, and pools' objects `control`.
//
// ══ is Cap'n Proto RPC over a unix socket (`capnpConnectHost`): calls, RPC targets and their disposal
// pass as between Workers. WebSocket upgrades pass over the same socket as HTTP.

import { OBJECT_RTT_BINDING, OBJECT_RTT_MS_MAX } from "../config/object-rtt.ts";
import { CONTROL_ORDINAL, COORDINATORS_MAX, POOLS_BINDING_NAMES } from "../config/coordinators.ts";

/** As in wrangler.toml. */
export const COMPATIBILITY_DATE = "2026-11-03";
export const COMPATIBILITY_FLAGS = [
  "enable_request_signal",
  "pipe_to_backward_propagation",
  "request_signal_passthrough",
  "no_nodejs_global_timers",
];

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

/** A `capnpConnectHost` names what is connected to. Each of our sockets leads to one entrypoint. */
const CONNECT_HOST = "fairlead";

/** Where the coordinators listen. Who can open these sockets can do anything to the objects. */
export interface CoordinatorSockets {
  /** At `i`: coordinator `i`. */
  readonly pools: readonly string[];
  /** Of the coordinator that holds directory and settings. */
  readonly control: string;
  /** Ordinals of pools that do not go where their hash says. It decides where their data lies. */
  readonly places?: Readonly<Record<string, number>>;
}

export interface UnsplitOptions {
  /** Where the front finds workerd. */
  readonly socketPath: string;
  /** The bundle's path relative to the configuration's folder. */
  readonly bundleFile: string;
  /** Absolute folder of the objects' SQLite files. It must belong to one process only. */
  readonly storageDir: string;
  /** See config/object-rtt.ts. */
  readonly objectRttMs?: number;
}

/** One process with everything. */
export function workerdConfig(options: UnsplitOptions): string {
  const bindings = [
    ...OBJECTS.map(namespaceBinding),
    serviceBinding("POOLS", self("Pools")),
    serviceBinding("CONTROL", self("Control")),
    ADMIN_KEY_BINDING,
    ...rttBinding(options.objectRttMs),
  ];
  return render({
    bundleFile: options.bundleFile,
    services: [INTERNET, storage(options.storageDir)],
    sockets: [httpSocket(options.socketPath)],
    bindings,
    objects: OBJECTS,
  });
}

export interface EdgeOptions {
  readonly socketPath: string;
  readonly bundleFile: string;
  readonly coordinators: CoordinatorSockets;
  /** See config/object-rtt.ts. */
  readonly objectRttMs?: number;
}

/** The Worker without objects. It holds nothing, so it can be restarted, or run more than once. */
export function edgeConfig(options: EdgeOptions): string {
  const { coordinators } = options;
  const remote = remotePools(coordinators);
  return render({
    bundleFile: options.bundleFile,
    services: [INTERNET, ...remote.services, external("control", coordinators.control)],
    sockets: [httpSocket(options.socketPath)],
    bindings: [
      ...remote.bindings,
      serviceBinding("CONTROL", text("control")),
      ADMIN_KEY_BINDING,
      ...rttBinding(options.objectRttMs),
    ],
    objects: [],
  });
}

export interface CoordinatorOptions {
  readonly ordinal: number;
  readonly bundleFile: string;
  /** Absolute folder of this coordinator's SQLite files; no other process has it. */
  readonly storageDir: string;
  readonly coordinators: CoordinatorSockets;
}

/** Objects without the Worker's HTTP. The first coordinator also holds directory and settings. */
export function coordinatorConfig(options: CoordinatorOptions): string {
  const { ordinal, coordinators } = options;
  const hasControl = ordinal === CONTROL_ORDINAL;
  const objects = hasControl ? OBJECTS : OBJECTS.filter(({ binding }) => binding === "POOL");
  // The directory tells all pools what to do, and they tell it how they are, wherever they are; objects of
  // one pool tell each other.
  const remote = remotePools(coordinators, ordinal);
  const controlServices = hasControl ? [] : [external("control", coordinators.control)];
  const control = serviceBinding("CONTROL", hasControl ? self("Control") : text("control"));
  const sockets = [rpcSocket("pools", coordinators.pools[ordinal]!, "Pools")];
  if (hasControl) sockets.push(rpcSocket("control", coordinators.control, "Control"));
  return render({
    bundleFile: options.bundleFile,
    // Objects fetch nothing, so there is no way out.
    services: [NO_INTERNET, storage(options.storageDir), ...remote.services, ...controlServices],
    sockets,
    bindings: [...objects.map(namespaceBinding), ...remote.bindings, control],
    objects,
  });
}

/** The bindings of all `Pools` entrypoints; that of `ownOrdinal` is in the same process. */
function remotePools(
  coordinators: CoordinatorSockets,
  ownOrdinal?: number,
): { readonly services: readonly string[]; readonly bindings: readonly string[] } {
  const { pools, places } = coordinators;
  if (pools.length < 1 || pools.length > COORDINATORS_MAX)
    throw new RangeError(`${pools.length} coordinators; 1 to ${COORDINATORS_MAX} are allowed`);
  return {
    services: pools.flatMap((path, i) => (i === ownOrdinal ? [] : [external(`pools-${i}`, path)])),
    bindings: [
      ...pools.map((_, i) =>
        serviceBinding(
          POOLS_BINDING_NAMES[i]!,
          i === ownOrdinal ? self("Pools") : text(`pools-${i}`),
        ),
      ),
      ...(places === undefined ? [] : [placesBinding(places, pools.length)]),
    ],
  };
}

function placesBinding(places: Readonly<Record<string, number>>, count: number): string {
  const wrong = Object.entries(places).find(
    ([, at]) => !(Number.isInteger(at) && at >= 0 && at < count),
  );
  if (wrong !== undefined)
    throw new RangeError(`pool ${wrong[0]} at coordinator ${wrong[1]} of ${count}`);
  return `(name = "POOL_PLACES", json = ${text(JSON.stringify(places))})`;
}

/** None where nothing is added. */
function rttBinding(rttMs = 0): string[] {
  if (!Number.isInteger(rttMs) || rttMs < 0 || rttMs > OBJECT_RTT_MS_MAX)
    throw new RangeError(`${rttMs} ms to the objects; 0 to ${OBJECT_RTT_MS_MAX} are allowed`);
  return rttMs === 0 ? [] : [`(name = ${text(OBJECT_RTT_BINDING)}, json = ${text(String(rttMs))})`];
}

// Relays have private addresses or run on this machine. The Worker fetches nothing but them.
const INTERNET = `(name = "internet", network = (
      allow = ["public", "private", "local"],
      tlsOptions = (trustBrowserCas = true),
    ))`;
const NO_INTERNET = `(name = "internet", network = (allow = []))`;
const ADMIN_KEY_BINDING = `(name = ${text(ADMIN_KEY_VARIABLE)}, fromEnvironment = ${text(ADMIN_KEY_VARIABLE)})`;

function storage(dir: string): string {
  return `(name = "storage", disk = (path = ${text(dir)}, writable = true))`;
}

function external(name: string, path: string): string {
  return `(name = ${text(name)}, external = (address = ${unix(path)}, http = (capnpConnectHost = ${text(CONNECT_HOST)})))`;
}

function httpSocket(path: string): string {
  return `(name = "http", address = ${unix(path)}, http = (), service = "fairlead")`;
}

function rpcSocket(name: string, path: string, entrypoint: string): string {
  return `(name = ${text(name)}, address = ${unix(path)}, http = (capnpConnectHost = ${text(CONNECT_HOST)}), service = ${self(entrypoint)})`;
}

function self(entrypoint: string): string {
  return `(name = "fairlead", entrypoint = ${text(entrypoint)})`;
}

function serviceBinding(name: string, service: string): string {
  return `(name = ${text(name)}, service = ${service})`;
}

function namespaceBinding({ binding, className }: (typeof OBJECTS)[number]): string {
  return `(name = ${text(binding)}, durableObjectNamespace = ${text(className)})`;
}

interface Parts {
  readonly bundleFile: string;
  readonly services: readonly string[];
  readonly sockets: readonly string[];
  readonly bindings: readonly string[];
  readonly objects: readonly (typeof OBJECTS)[number][];
}

/** The configuration in Cap'n Proto's text form. */
function render(parts: Parts): string {
  // uniqueKey names the folder of a class's objects and seeds their ids: it must never change.
  // preventEviction: an evicted pool would forget what its engines hold in cache.
  const namespaces = parts.objects.map(
    ({ className }) =>
      `(className = ${text(className)}, uniqueKey = ${text(`fairlead-${className}`)}, ` +
      "enableSql = true, preventEviction = true)",
  );
  const objects =
    namespaces.length === 0
      ? ""
      : `  durableObjectNamespaces = [${list(namespaces)}],
  durableObjectStorage = (localDisk = "storage"),
`;
  return `# Written by \`fairlead up\`. Changes are lost at the next start.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [${list([`(name = "fairlead", worker = .fairlead)`, ...parts.services])}],
  sockets = [${list(parts.sockets)}],
);

const fairlead :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed ${text(parts.bundleFile)})],
  compatibilityDate = ${text(COMPATIBILITY_DATE)},
  compatibilityFlags = [${COMPATIBILITY_FLAGS.map(text).join(", ")}],
  bindings = [${list(parts.bindings)}],
${objects});
`;
}

function list(items: readonly string[]): string {
  return items.length === 0 ? "" : `\n${items.map((item) => `    ${item},\n`).join("")}  `;
}

function unix(path: string): string {
  if (path.length > SOCKET_PATH_CHARS_MAX)
    throw new RangeError(`the socket path is longer than ${SOCKET_PATH_CHARS_MAX} characters`);
  return text(`unix:${path}`);
}

/** A Cap'n Proto string literal: for text without control characters its escapes are JSON's. */
function text(value: string): string {
  if (/\p{Cc}/u.test(value)) throw new RangeError("a path must not hold control characters");
  return JSON.stringify(value);
}
