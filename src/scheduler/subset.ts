// The endpoints that a trusted hop limits a request to (llm-d's subset hint).
//
//   10.0.0.1          every port of the host: all of its data-parallel ranks
//   10.0.0.1:8000     that one
//   fd00::1           IPv6 without a port; [fd00::1] is the same
//   [fd00::1]:8000    IPv6 with one
//
// llm-d compares hosts only and takes a plain string for an absent list, so that the whole pool is
// open. Here ports count, a string is a comma-separated list, and what cannot be read names nobody: a
// mistake narrows the choice and never widens it.
//
// Source: llm-d-router pkg/epp/requestcontrol/candidates.go; the forms of gateway-api-inference-extension
// pkg/lwepp/handlers/request.go.

/** Values looked at; later ones name nobody. As many as a pool has endpoints. */
export const SUBSET_VALUES_MAX = 1_024;
/** The longest host name, brackets and a port. */
const VALUE_CHARS_MAX = 264;

interface Addressed {
  readonly address: string;
}

/** Whether an endpoint may be chosen. */
export type Subset = (endpoint: Addressed) => boolean;

interface Address {
  readonly host: string;
  /** null: any. */
  readonly port: number | null;
}

/** A test for the endpoints that `values` name: an empty list names none. */
export function createSubset(values: readonly string[] | string): Subset {
  const list = typeof values === "string" ? values.split(",", SUBSET_VALUES_MAX) : values;
  const hosts = new Set<string>();
  const addresses = new Set<string>();
  for (const value of list.slice(0, SUBSET_VALUES_MAX)) {
    const address = parseAddress(value);
    if (address === undefined) continue;
    if (address.port === null) hosts.add(address.host);
    else addresses.add(keyOf(address));
  }
  return (endpoint) => {
    const names = namesOf(endpoint);
    return hosts.has(names.host) || addresses.has(names.address);
  };
}

/** What values may call an endpoint; "", which no value comes to, where its address cannot be read. */
interface Names {
  readonly host: string;
  readonly address: string;
}

const UNREADABLE: Names = { host: "", address: "" };

/** By endpoint: reading each one's address again would cost every decision. A new address is a new object. */
const namesByEndpoint = new WeakMap<Addressed, Names>();

function namesOf(endpoint: Addressed): Names {
  let names = namesByEndpoint.get(endpoint);
  if (names === undefined) {
    const address = parseAddress(endpoint.address);
    names = address === undefined ? UNREADABLE : { host: address.host, address: keyOf(address) };
    namesByEndpoint.set(endpoint, names);
  }
  return names;
}

function keyOf({ host, port }: Address): string {
  return `${host} ${port}`;
}

/** Undefined for what is neither a host nor a host and a port. */
function parseAddress(value: string): Address | undefined {
  const text = value.trim().toLowerCase();
  if (text === "" || text.length > VALUE_CHARS_MAX) return undefined;
  const bracketed = /^\[([0-9a-f:.]+)\](?::([0-9]{1,5}))?$/.exec(text);
  if (bracketed !== null) return addressOf(canonicalIpv6(bracketed[1]!), bracketed[2]);
  // Without brackets a second colon is part of an IPv6 address, never the beginning of a port.
  if (text.indexOf(":") !== text.lastIndexOf(":")) return addressOf(canonicalIpv6(text), undefined);
  const named = /^([a-z0-9._-]+)(?::([0-9]{1,5}))?$/.exec(text);
  return named === null ? undefined : addressOf(named[1], named[2]);
}

function addressOf(host: string | undefined, digits: string | undefined): Address | undefined {
  if (host === undefined) return undefined;
  return { host, port: digits === undefined ? null : Number(digits) };
}

const IPV6_GROUPS = 8;

/** Eight groups without leading zeros: one spelling for each address. Undefined if it is none. */
function canonicalIpv6(text: string): string | undefined {
  const [head = "", tail, ...more] = text.split("::");
  if (more.length > 0) return undefined;
  const before = groupsOf(head);
  const after = tail === undefined ? [] : groupsOf(tail);
  if (before === undefined || after === undefined) return undefined;
  const missing = IPV6_GROUPS - before.length - after.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  return [...before, ...Array<number>(missing).fill(0), ...after]
    .map((group) => group.toString(16))
    .join(":");
}

/** The groups of one side of `::`; an IPv4 address at the end counts as two. */
function groupsOf(text: string): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  for (const part of text.split(":")) {
    const ipv4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(part);
    if (ipv4 !== null && text.endsWith(part)) {
      const [a, b, c, d] = ipv4.slice(1).map(Number) as [number, number, number, number];
      if (Math.max(a, b, c, d) > 255) return undefined;
      groups.push(a * 256 + b, c * 256 + d);
    } else if (/^[0-9a-f]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}
