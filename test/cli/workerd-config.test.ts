import { unstable_readConfig } from "wrangler";
import { describe, expect, it } from "vitest";
import {
  ADMIN_KEY_VARIABLE,
  COMPATIBILITY_DATE,
  COMPATIBILITY_FLAGS,
  coordinatorConfig,
  edgeConfig,
  OBJECTS,
  SOCKET_PATH_CHARS_MAX,
  workerdConfig,
} from "../../src/cli/workerd-config.ts";
import { COORDINATORS_MAX, POOLS_BINDING_NAMES } from "../../src/config/coordinators.ts";

const options = {
  socketPath: "/tmp/fairlead-x/workerd.sock",
  bundleFile: "worker.js",
  storageDir: '/home/a "b"/storage',
};

describe("workerdConfig", () => {
  it("agrees with wrangler.toml", () => {
    const wrangler = unstable_readConfig({ config: "wrangler.toml" });
    expect(COMPATIBILITY_DATE).toBe(wrangler.compatibility_date);
    expect(COMPATIBILITY_FLAGS).toEqual(wrangler.compatibility_flags);
    expect(OBJECTS).toEqual(
      wrangler.durable_objects.bindings.map((binding: { name: string; class_name: string }) => ({
        binding: binding.name,
        className: binding.class_name,
      })),
    );
    expect(
      wrangler.migrations.flatMap(
        (migration: { new_sqlite_classes?: string[] }) => migration.new_sqlite_classes,
      ),
    ).toEqual(OBJECTS.map(({ className }) => className));
    expect(wrangler.services).toMatchObject([
      { binding: "POOLS", entrypoint: "Pools" },
      { binding: "CONTROL", entrypoint: "Control" },
    ]);
    expect(wrangler.secrets?.required).toEqual([ADMIN_KEY_VARIABLE]);
  });

  it("binds every object, keeps it in memory and names its folder after the class", () => {
    const config = workerdConfig(options);
    for (const { binding, className } of OBJECTS) {
      expect(config).toContain(`(name = "${binding}", durableObjectNamespace = "${className}")`);
      expect(config).toContain(
        `className = "${className}", uniqueKey = "fairlead-${className}", enableSql = true, preventEviction = true`,
      );
    }
  });

  it("lengthens the way to the objects only where it is told to", () => {
    expect(workerdConfig(options)).not.toContain("OBJECT_RTT_MS");
    expect(workerdConfig({ ...options, objectRttMs: 0 })).not.toContain("OBJECT_RTT_MS");
    expect(workerdConfig({ ...options, objectRttMs: 40 })).toContain(
      '(name = "OBJECT_RTT_MS", json = "40")',
    );
    expect(() => workerdConfig({ ...options, objectRttMs: 1_001 })).toThrow("0 to 1000");
    expect(() => workerdConfig({ ...options, objectRttMs: 0.5 })).toThrow(RangeError);
  });

  it("quotes paths and holds no secret", () => {
    const config = workerdConfig(options);
    expect(config).toContain(String.raw`path = "/home/a \"b\"/storage"`);
    expect(config).toContain(
      '(name = "FAIRLEAD_ADMIN_KEY", fromEnvironment = "FAIRLEAD_ADMIN_KEY")',
    );
  });

  it("refuses a socket path that the system would cut off, and control characters", () => {
    const longest = `/${"x".repeat(SOCKET_PATH_CHARS_MAX - 1)}`;
    expect(workerdConfig({ ...options, socketPath: longest })).toContain(longest);
    expect(() => workerdConfig({ ...options, socketPath: `${longest}x` })).toThrow(RangeError);
    expect(() => workerdConfig({ ...options, storageDir: "/a\nb" })).toThrow(RangeError);
  });
});

// That these configurations work is for test/e2e/split.test.ts, with real processes.
describe("edgeConfig and coordinatorConfig", () => {
  const paths = (count: number) =>
    Array.from({ length: count }, (_, i) => `/tmp/f/pools-${i}.sock`);
  const sockets = (count: number) => ({ pools: paths(count), control: "/tmp/f/control.sock" });
  const edge = (count: number) =>
    edgeConfig({
      socketPath: "/tmp/f/w.sock",
      bundleFile: "worker.js",
      coordinators: sockets(count),
    });
  const coordinator = (ordinal: number, count: number) =>
    coordinatorConfig({
      ordinal,
      bundleFile: "worker.js",
      storageDir: `/state/storage-${ordinal}`,
      coordinators: sockets(count),
    });

  it.for([1, 2, COORDINATORS_MAX])(
    "binds the Pools entrypoint of each of %i coordinators",
    (count) => {
      const config = edge(count);
      for (const [i, path] of paths(count).entries()) {
        expect(config).toContain(`(name = "${POOLS_BINDING_NAMES[i]}", service = "pools-${i}")`);
        expect(config).toContain(
          `(name = "pools-${i}", external = (address = "unix:${path}", http = (capnpConnectHost = `,
        );
        expect(coordinator(i, count)).toContain(
          `(name = "pools", address = "unix:${path}", http = (capnpConnectHost = `,
        );
      }
      expect(config).not.toContain(`pools-${count}`);
    },
  );

  it("gives objects to coordinators only, and directory and settings to the first", () => {
    expect(edge(2)).not.toContain("durableObject");
    for (const { className } of OBJECTS) expect(coordinator(0, 2)).toContain(className);
    expect(coordinator(1, 2)).toContain("PoolObject");
    expect(coordinator(1, 2)).not.toMatch(
      /DirectoryObject|SettingsObject|name = "control", address = /,
    );
  });

  it("lets directory and pools reach every pool and pools the directory, and neither anything else", () => {
    const first = coordinator(0, 2);
    expect(first).toContain(
      '(name = "POOLS", service = (name = "fairlead", entrypoint = "Pools"))',
    );
    expect(first).toContain('(name = "POOLS_1", service = "pools-1")');
    expect(first).toContain(
      '(name = "CONTROL", service = (name = "fairlead", entrypoint = "Control"))',
    );
    const second = coordinator(1, 2);
    expect(second).toContain('(name = "CONTROL", service = "control")');
    expect(second).toContain('(name = "control", external = (address = "unix:/tmp/f/control.sock"');
    expect(second).toContain('(name = "POOLS", service = "pools-0")');
    expect(second).toContain(
      '(name = "POOLS_1", service = (name = "fairlead", entrypoint = "Pools"))',
    );
    for (const config of [first, coordinator(1, 2)]) {
      expect(config).toContain("allow = []");
      expect(config).not.toContain(ADMIN_KEY_VARIABLE);
      expect(config).not.toContain("http = ()");
    }
  });

  it("tells whoever reaches pools where some of them were put", () => {
    const placed = { ...sockets(2), places: { "cluster-1": 1 } };
    const binding = String.raw`(name = "POOL_PLACES", json = "{\"cluster-1\":1}")`;
    const { socketPath, bundleFile, storageDir } = options;
    expect(edgeConfig({ socketPath, bundleFile, coordinators: placed })).toContain(binding);
    const rest = { bundleFile, storageDir, coordinators: placed };
    expect(coordinatorConfig({ ...rest, ordinal: 0 })).toContain(binding);
    const nowhere = { ...sockets(2), places: { "cluster-1": 2 } };
    expect(() => edgeConfig({ socketPath, bundleFile, coordinators: nowhere })).toThrow(
      "pool cluster-1 at coordinator 2 of 2",
    );
  });

  it("refuses more coordinators than there are bindings for, and none", () => {
    expect(() => edge(0)).toThrow(RangeError);
    expect(() => edge(COORDINATORS_MAX + 1)).toThrow(RangeError);
  });
});
