// Labels of endpoints, as Kubernetes has them.

export type Labels = Readonly<Record<string, string>>;

/**
 * The value of label `key`; undefined where there is none. The only way to look one up by a name that
 * somebody else chose: `constructor` is not a label of every endpoint.
 */
export function labelOf(labels: Labels | undefined, key: string): string | undefined {
  return labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
}
