import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ByteReader,
  ByteWriter,
  MalformedError,
  MethodId,
  methodName,
  PropertyScan,
  readMethod,
  readProperties,
  readTable,
  sameTable,
  writeMethod,
  writeProperties,
  writeTable,
  type BasicProperties,
  type FieldTable,
  type FieldValue,
  type Method,
} from "../../src/wire/index.ts";

const shortstr = fc
  .string({ unit: "grapheme", maxLength: 40 })
  .filter((text) => Buffer.byteLength(text) <= 255);
const bytes = fc.uint8Array({ maxLength: 40 });

const { value: fieldValue } = fc.letrec<{ value: FieldValue; table: FieldTable }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.record({ type: fc.constant("bool" as const), value: fc.boolean() }),
    fc.record({ type: fc.constant("byte" as const), value: fc.integer({ min: -128, max: 127 }) }),
    fc.record({ type: fc.constant("unsignedbyte" as const), value: fc.integer({ min: 0, max: 255 }) }),
    fc.record({ type: fc.constant("short" as const), value: fc.integer({ min: -32_768, max: 32_767 }) }),
    fc.record({ type: fc.constant("unsignedshort" as const), value: fc.integer({ min: 0, max: 65_535 }) }),
    fc.record({ type: fc.constant("signedint" as const), value: fc.integer() }),
    fc.record({ type: fc.constant("unsignedint" as const), value: fc.integer({ min: 0, max: 0xffff_ffff }) }),
    fc.record({
      type: fc.constant("long" as const),
      value: fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
    }),
    fc.record({
      type: fc.constant("timestamp" as const),
      value: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    }),
    fc.record({ type: fc.constant("float" as const), value: fc.float({ noNaN: true }) }),
    fc.record({ type: fc.constant("double" as const), value: fc.double({ noNaN: true }) }),
    fc.record({
      type: fc.constant("decimal" as const),
      scale: fc.integer({ min: 0, max: 255 }),
      value: fc.integer({ min: 0, max: 0xffff_ffff }),
    }),
    fc.record({ type: fc.constant("longstr" as const), value: fc.string({ unit: "grapheme" }) }),
    fc.record({ type: fc.constant("binary" as const), value: bytes }),
    fc.record({ type: fc.constant("void" as const) }),
    fc.record({ type: fc.constant("array" as const), value: fc.array(tie("value"), { maxLength: 4 }) }),
    fc.record({ type: fc.constant("table" as const), value: tie("table") }),
  ),
  table: fc.array(fc.tuple(shortstr, tie("value")), { maxLength: 5 }).map((entries) => new Map(entries)),
}));
const fieldTable: fc.Arbitrary<FieldTable> = fc
  .array(fc.tuple(shortstr, fieldValue), { maxLength: 6 })
  .map((entries) => new Map(entries));

/** One arbitrary per domain, by the type that a decoded method has for it. */
const longstr = bytes as fc.Arbitrary<Uint8Array>;
const methods: fc.Arbitrary<Method> = fc.oneof(
  fc.record({
    id: fc.constant(MethodId.ConnectionStart),
    versionMajor: fc.nat(255),
    versionMinor: fc.nat(255),
    serverProperties: fieldTable,
    mechanisms: longstr,
    locales: longstr,
  }),
  fc.record({
    id: fc.constant(MethodId.ConnectionTune),
    channelMax: fc.nat(65_535),
    frameMax: fc.nat(0xffff_ffff),
    heartbeat: fc.nat(65_535),
  }),
  fc.record({
    id: fc.constant(MethodId.ConnectionClose),
    replyCode: fc.nat(65_535),
    replyText: shortstr,
    classId: fc.nat(65_535),
    methodId: fc.nat(65_535),
  }),
  fc.record({ id: fc.constant(MethodId.ConnectionUpdateSecret), newSecret: longstr, reason: shortstr }),
  fc.record({
    id: fc.constant(MethodId.QueueDeclare),
    queue: shortstr,
    passive: fc.boolean(),
    durable: fc.boolean(),
    exclusive: fc.boolean(),
    autoDelete: fc.boolean(),
    noWait: fc.boolean(),
    arguments: fieldTable,
  }),
  fc.record({
    id: fc.constant(MethodId.BasicDeliver),
    consumerTag: shortstr,
    deliveryTag: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    redelivered: fc.boolean(),
    exchange: shortstr,
    routingKey: shortstr,
  }),
  fc.record({
    id: fc.constant(MethodId.BasicNack),
    deliveryTag: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    multiple: fc.boolean(),
    requeue: fc.boolean(),
  }),
  fc.record({
    id: fc.constant(MethodId.AccessRequest),
    realm: shortstr,
    exclusive: fc.boolean(),
    passive: fc.boolean(),
    active: fc.boolean(),
    write: fc.boolean(),
    read: fc.boolean(),
  }),
  fc.record({ id: fc.constant(MethodId.TxCommit) }),
);

const properties: fc.Arbitrary<BasicProperties> = fc.record(
  {
    contentType: shortstr,
    contentEncoding: shortstr,
    headers: fieldTable,
    deliveryMode: fc.nat(255),
    priority: fc.nat(255),
    correlationId: shortstr,
    replyTo: shortstr,
    expiration: shortstr,
    messageId: shortstr,
    timestamp: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    type: shortstr,
    userId: shortstr,
    appId: shortstr,
    clusterId: shortstr,
  },
  { requiredKeys: [] },
);

function written(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter(8);
  write(writer);
  return writer.written().slice();
}

function scanned(payload: Uint8Array): PropertyScan {
  const scan = new PropertyScan();
  scan.scan(payload, new DataView(payload.buffer, payload.byteOffset, payload.length), 0, payload.length);
  return scan;
}

describe("field tables", () => {
  it("come back as they were written", () => {
    fc.assert(
      fc.property(fieldTable, (table) => {
        const read = readTable(new ByteReader(written((writer) => writeTable(writer, table))));
        expect(read).toEqual(table);
        expect(sameTable(read, table)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it("cut anywhere are malformed, never read past their end", () => {
    fc.assert(
      fc.property(fieldTable, fc.nat(), (table, at) => {
        const whole = written((writer) => writeTable(writer, table));
        const cut = whole.subarray(0, at % whole.length);
        expect(() => readTable(new ByteReader(cut))).toThrow(MalformedError);
      }),
    );
  });

  it("refuse nesting that would exhaust the stack", () => {
    let table: FieldTable = new Map();
    for (let depth = 0; depth < 70; depth++) table = new Map([["k", { type: "table", value: table }]]);
    const bytesOfTable = written((writer) => writeTable(writer, table));
    expect(() => readTable(new ByteReader(bytesOfTable))).toThrow(/nested/);
  });

  it("keep a string that is not UTF-8 as bytes", () => {
    const value = Uint8Array.of(0xff, 0xfe);
    const raw = written((writer) => writeTable(writer, new Map([["k", { type: "longstr", value }]])));
    expect(readTable(new ByteReader(raw)).get("k")).toEqual({ type: "longstr", value });
  });
});

describe("methods", () => {
  it("come back as they were written, with nothing left over", () => {
    fc.assert(
      fc.property(methods, (method) => {
        const reader = new ByteReader(written((writer) => writeMethod(writer, method)));
        expect(readMethod(reader.long(), reader)).toEqual(method);
        expect(reader.remaining).toBe(0);
      }),
      { numRuns: 1000 },
    );
  });

  it.each(Object.entries(MethodId))("%s reads what an all-zero payload says, and has a name", (_name, id) => {
    const method = readMethod(id, new ByteReader(new Uint8Array(64)));
    expect(method?.id).toBe(id);
    expect(methodName(id)).toMatch(/^[a-z]+\.[a-z-]+$/);
    const again = new ByteReader(written((writer) => writeMethod(writer, method!)));
    expect(readMethod(again.long(), again)).toEqual(method);
  });

  it("that the protocol does not know are not read", () => {
    expect(readMethod(0x0032_0063, new ByteReader(new Uint8Array(64)))).toBeUndefined();
  });

  it("refuse a short string of more than 255 bytes", () => {
    expect(() => written((writer) => writer.shortstr("é".repeat(128)))).toThrow(/255 bytes/);
  });
});

describe("properties", () => {
  it("come back as they were written", () => {
    fc.assert(
      fc.property(properties, (given) => {
        const payload = written((writer) => writeProperties(writer, given));
        expect(readProperties(new ByteReader(payload))).toEqual(given);
      }),
      { numRuns: 500 },
    );
  });

  it("are scanned to the same values as they are decoded to", () => {
    fc.assert(
      fc.property(properties, (given) => {
        const scan = scanned(written((writer) => writeProperties(writer, given)));
        expect(scan.deliveryMode).toBe(given.deliveryMode ?? 0);
        expect(scan.priority).toBe(given.priority ?? -1);
        expect(scan.headersAt >= 0).toBe(given.headers !== undefined);
        expect(scan.expirationAt >= 0).toBe(given.expiration !== undefined);
        expect(scan.userIdAt >= 0).toBe(given.userId !== undefined);
      }),
    );
  });

  it("that do not fill their frame exactly are refused by the scan", () => {
    fc.assert(
      fc.property(properties, fc.nat(), (given, at) => {
        const payload = written((writer) => writeProperties(writer, given));
        expect(() => scanned(payload.slice(0, at % payload.length))).toThrow(MalformedError);
        expect(() => scanned(Uint8Array.of(...payload, 0))).toThrow(MalformedError);
      }),
    );
  });
});
