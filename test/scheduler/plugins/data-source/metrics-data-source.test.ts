import { describe, expect, it } from "vitest";
import { metricsDataSource } from "../../../../src/scheduler/plugins/data-source/metrics-data-source.ts";
import { mistakesOf, sourceOf } from "../../support/data-layer.ts";

const targetOf = (parameters?: object) => sourceOf(metricsDataSource, parameters).target;

describe("metrics-data-source", () => {
  it("asks the endpoint itself, where its engine is known to answer", () => {
    expect(targetOf()).toEqual({
      scheme: "http",
      path: null,
      port: null,
      host: "endpoint",
      intervalMs: null,
      tls: { isVerified: false, caCertPath: null, clientCertPath: null, clientKeyPath: null },
    });
  });

  it("asks where and as often as it is told", () => {
    const told = {
      scheme: "https",
      path: "/internal/metrics",
      port: 9_090,
      insecureSkipVerify: false,
      caCertPath: "/ca.pem",
      clientCertPath: "/c.pem",
      clientKeyPath: "/k.pem",
      interval: "1s",
    };
    expect(targetOf(told)).toEqual({
      scheme: "https",
      path: "/internal/metrics",
      port: 9_090,
      host: "endpoint",
      intervalMs: 1_000,
      tls: {
        isVerified: true,
        caCertPath: "/ca.pem",
        clientCertPath: "/c.pem",
        clientKeyPath: "/k.pem",
      },
    });
    expect(targetOf({ interval: "1ms" })!.intervalMs).toBe(50);
  });

  it.for([
    [{ scheme: "ftp" }, "scheme", /http/],
    [{ port: 65_536 }, "port", /65535/],
    [{ port: -1 }, "port", /0/],
    [{ path: "metrics" }, "path", /begins with \//],
    [{ interval: "soon" }, "interval", /expected a duration/],
    [{ interval: "0s" }, "interval", /above 0/],
    [{ interval: "2h" }, "interval", /up to 1h/],
    [{ clientCertPath: "/c.pem" }, "clientKeyPath", /together/],
    [{ url: "x" }, "", /url/],
  ] as const)("refuses %o", ([parameters, path, message]) => {
    expect(mistakesOf(metricsDataSource, parameters)).toEqual([
      [path, expect.stringMatching(message)],
    ]);
  });

  it("reads what it parsed again", () => {
    const once = metricsDataSource.params.parse({ interval: "1s" });
    expect(metricsDataSource.params.parse(once)).toEqual(once);
  });
});
