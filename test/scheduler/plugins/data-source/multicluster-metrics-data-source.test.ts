import { expect, it } from "vitest";
import { multiclusterMetricsDataSource } from "../../../../src/scheduler/plugins/data-source/multicluster-metrics-data-source.ts";
import { mistakesOf, sourceOf } from "../../support/data-layer.ts";

it("asks where the cluster's labels say, by https, and looks at the certificate", () => {
  expect(sourceOf(multiclusterMetricsDataSource)).toMatchObject({
    payload: "prometheus",
    target: { scheme: "https", path: "/metrics", host: "metrics", tls: { isVerified: true } },
  });
});

it("takes a private authority, or none", () => {
  expect(sourceOf(multiclusterMetricsDataSource, { caCertPath: "/ca.pem" }).target!.tls).toEqual({
    isVerified: true,
    caCertPath: "/ca.pem",
    clientCertPath: null,
    clientKeyPath: null,
  });
  expect(mistakesOf(multiclusterMetricsDataSource, { clientKeyPath: "/k" })).toHaveLength(1);
});
