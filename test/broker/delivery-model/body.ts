/** Message bodies that carry their number and length, so that a byte too many, too few or from elsewhere shows. */
import { randomBytes } from "node:crypto";

export const smallestBodyBytes = 8;
export const largestBodyBytes = 3_000_000;

/** Bodies of different numbers start at different places of it. */
const shifts = 1021;
const noise = randomBytes(largestBodyBytes + shifts);

export function writeBody(number: number, sizeBytes: number): Buffer {
  const body = Buffer.from(expectedNoise(number, sizeBytes));
  body.writeUInt32BE(number, 0);
  body.writeUInt32BE(sizeBytes, 4);
  return body;
}

/** The number of the message, or undefined when these are not the bytes that were published. */
export function readBody(body: Buffer): number | undefined {
  if (body.length < smallestBodyBytes || body.readUInt32BE(4) !== body.length) return undefined;
  const number = body.readUInt32BE(0);
  const expected = expectedNoise(number, body.length);
  const sameNoise = body.subarray(smallestBodyBytes).equals(expected.subarray(smallestBodyBytes));
  return sameNoise ? number : undefined;
}

function expectedNoise(number: number, sizeBytes: number): Buffer {
  const from = number % shifts;
  return noise.subarray(from, from + sizeBytes);
}
