import { describe, expect, it } from "vitest";
import { z } from "zod";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";
import { specOf } from "../../../src/scheduler/config/resolve.ts";
import { type AnyPluginDefinition, PLUGINS } from "../../../src/scheduler/registry.ts";

const OPTIONS = { allowExperimentalPlugins: true };

interface Schema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
}

/** Values of a schema in which one text each is `secret`, and nothing else is given. */
function withSecret(schema: Schema, secret: string): unknown[] {
  const { properties = {}, additionalProperties, items, anyOf = [], allOf = [] } = schema;
  const own = schema.type === "string" ? [secret] : [];
  const inFields = Object.entries(properties).flatMap(([name, field]) =>
    withSecret(field, secret).map((value) => ({ [name]: value })),
  );
  const inRecord =
    typeof additionalProperties === "object"
      ? withSecret(additionalProperties, secret).map((value) => ({ key: value }))
      : [];
  const inList = items === undefined ? [] : withSecret(items, secret).map((value) => [value]);
  const others = [...anyOf, ...allOf].flatMap((each) => withSecret(each, secret));
  return [...own, ...inFields, ...inRecord, ...inList, ...others];
}

/** Texts that are wrong in most places. */
const SECRETS = [
  "hunter2",
  "9hunter2",
  "token: hunter2",
  "hunter2{a=hunter2",
  "m{a=hunter2}hunter2",
  "m{hunter2!=hunter2}",
  "m{hunter2}",
  "m{a=b,a=hunter2,hunter2=hunter2,hunter2=hunter2}",
  "hunter2/hunter2",
  "app in (hunter2",
  "hunter2\nhunter2",
  "hunter2".repeat(200),
];

/** The one thing that is shown of a parameter: the name of another plugin, which is in the document. */
const NAMES_A_PLUGIN = /^missing data producer: |references undefined plugin /;

describe("a mistake in parameters", () => {
  const all = PLUGINS as readonly unknown[] as readonly AnyPluginDefinition[];

  it("never shows a text that they hold, in any plugin", () => {
    let tried = 0;
    let told = 0;
    for (const { type, params } of all) {
      const schema = z.toJSONSchema(params, { io: "input", unrepresentable: "any" }) as Schema;
      for (const secret of SECRETS) {
        for (const parameters of withSecret(schema, secret)) {
          tried++;
          const { issues } = loadSchedulerConfig({ plugins: [{ type, parameters }] }, OPTIONS);
          const shown = issues.filter(({ message }) => !NAMES_A_PLUGIN.test(message));
          told += shown.length;
          expect(JSON.stringify(shown), `${type} ${JSON.stringify(parameters)}`).not.toContain(
            "hunter2",
          );
        }
      }
    }
    expect(tried).toBeGreaterThan(500);
    expect(told).toBeGreaterThan(300);
  });
});

describe("parameters", () => {
  it("that are null are absent, as in Go", () => {
    const plugins = [
      { type: "load-aware-scorer", parameters: { threshold: null } },
      {
        type: "endpoint-attribute-scorer",
        parameters: {
          attributeKey: "x",
          producer: null,
          algorithm: { type: "linear_lower_is_better", normalization: { fixedRange: null } },
        },
      },
    ];
    const { config, issues } = loadSchedulerConfig({ plugins }, OPTIONS);
    expect(issues).toEqual([]);
    expect(specOf(config!, "load-aware-scorer").parameters).toEqual(
      specOf(
        loadSchedulerConfig({ plugins: [{ type: "load-aware-scorer" }] }).config!,
        "load-aware-scorer",
      ).parameters,
    );
  });

  it("that are required are missing where they are null", () => {
    const plugins = [{ type: "by-label", parameters: { label: null } }];
    expect(loadSchedulerConfig({ plugins }, OPTIONS).issues[0]!.message).toContain("missing");
  });
});
