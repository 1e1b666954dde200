import type { EndpointRecord, FromObject, Hello, TicketReport } from "../../src/agents/protocol/messages.ts";
import type { PickGrant, PickRequest } from "../../src/durable/contract.ts";
export declare const POOL = "eu-1";
export declare const poolStub: () => DurableObjectStub<import("../../src/durable/pool.ts").PoolObject>;
export declare function configurePool(version?: number, scrapeIntervalMs?: number): Promise<void>;
export declare function endpoint(n: number): EndpointRecord;
/** Distinct keys for distinct `from`; `blocks` of them. */
export declare function contentKeys(from: number, blocks?: number): Uint32Array;
export declare function pickRequest(requestId: string, shape?: Partial<PickRequest["request"]>): {
    request: {
        requestId: string;
        model: string;
        tenant: string;
        priority: number;
        keys: Uint32Array<ArrayBufferLike>;
        promptTokens: number;
        outputTokensMax: number | null;
        bodyBytes: number;
    };
    attempt: number;
    exclude: never[];
};
/** Repeats `probe` until it gives something; a real object answers in its own time. */
export declare function until<T>(probe: () => T | Promise<T>, withinMs?: number): Promise<NonNullable<T>>;
/** One agent's end of its WebSocket. */
export declare class TestAgent {
    #private;
    readonly messages: FromObject[];
    closed: {
        code: number;
        reason: string;
    } | undefined;
    private constructor();
    static connect(hello?: Partial<Hello>): Promise<TestAgent>;
    /** Connected and welcomed. */
    static greeted(hello?: Partial<Hello>): Promise<TestAgent>;
    hello(): void;
    send(data: string | Uint8Array<ArrayBuffer>): void;
    close(): void;
    /** Leaves numbers out, as a lost frame would. */
    skip(frames: number): void;
    membership(endpoints: readonly EndpointRecord[]): void;
    reports(reports: readonly TicketReport[]): void;
    /** Fields in the order waiting, running, kv-usage, kv-block-size, kv-blocks; absent: unchanged. */
    metrics(rows: readonly {
        endpoint: number;
        fields?: readonly number[];
        ageMs?: number;
    }[]): void;
    /** The first message of the kind, also if it came before; `count` for later ones. */
    received<T extends FromObject["t"]>(t: T, count?: number): Promise<Extract<FromObject, {
        t: T;
    }>>;
}
/** A configured pool with `count` idle endpoints, as its collector tells it. */
export declare function poolWithEndpoints(count: number): Promise<TestAgent>;
export declare function opened(grant: PickGrant, address?: string): TicketReport;
export declare function closed(grant: PickGrant, address?: string): TicketReport;
