import { unstable_readConfig } from "wrangler";
import { describe, expect, it } from "vitest";
import {
  ADMIN_KEY_VARIABLE,
  COMPATIBILITY_DATE,
  COMPATIBILITY_FLAGS,
  OBJECTS,
  SOCKET_PATH_CHARS_MAX,
  workerdConfig,
} from "../../src/cli/workerd-config.ts";

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
