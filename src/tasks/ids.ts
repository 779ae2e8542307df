import { createHash, randomFillSync } from "node:crypto";

/** An id that is the same whenever it is made of the same parts, in the form of a UUID (RFC 9562, version 8). */
export function derivedId(...parts: readonly string[]): string {
  return uuid(createHash("sha256").update(JSON.stringify(parts)).digest(), 8);
}

/** A new id. They grow with time, so that what is written together stands together in the state's indexes (version 7). */
export function newId(nowMs: number): string {
  const time = Math.max(0, Math.floor(nowMs)).toString(16).padStart(12, "0");
  const random = randomHex(10);
  // The first of these characters has two random bits and says that this is a UUID of RFC 9562.
  const variant = "89ab"[random.charCodeAt(3) & 3];
  return `${time.slice(0, 8)}-${time.slice(8, 12)}-7${random.slice(0, 3)}-${variant}${random.slice(4, 7)}-${random.slice(7, 19)}`;
}

const randomPool = Buffer.alloc(4096);
let randomAt = randomPool.length;

/** Fresh random bytes as twice as many characters. Drawn from the system many at a time: each call costs 1 µs or more. */
export function randomHex(bytes: number): string {
  if (randomAt + bytes > randomPool.length) {
    randomFillSync(randomPool);
    randomAt = 0;
  }
  return randomPool.toString("hex", randomAt, (randomAt += bytes));
}

function uuid(bytes: Buffer, version: number): string {
  bytes[6] = (bytes[6] & 0x0f) | (version << 4);
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = bytes.toString("hex", 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
