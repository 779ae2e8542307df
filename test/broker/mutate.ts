/** Changes sessions at random: whole frames, then single bytes. */
import type { Random } from "../support/random.ts";
import { loginParts, sessionName, sessions } from "./sessions.ts";

const interestingBytes = [0, 1, 0x7f, 0x80, 0xce, 0xfe, 0xff];
const interestingLengths = [
  0, 1, 4, 4087, 4088, 4089, 131_064, 131_065, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
];
const changedInsideLogin = 0.1;

/** The bytes of a session that is wrong somewhere, with this name in it. */
export function mutated(random: Random, name: string): Uint8Array {
  const parts = [...random.pick(sessions)];
  const first = random.chance(changedInsideLogin) ? 0 : loginParts;
  for (let count = random.below(3); count > 0; count--) changeFrames(random, parts, first);
  const bytes = Buffer.concat(parts);
  rename(bytes, name);
  const spared = first === 0 ? 0 : parts.slice(0, loginParts).reduce((sum, part) => sum + part.length, 0);
  const starts = frameStarts(parts).filter((at) => at >= spared);
  let changed: Buffer = bytes;
  for (let count = random.below(3) + 1; count > 0; count--)
    changed = changeBytes(random, changed, spared, starts);
  return changed;
}

function changeFrames(random: Random, parts: Uint8Array[], first: number): void {
  const at = first + random.below(parts.length - first);
  switch (random.below(4)) {
    case 0:
      parts.splice(at, 1 + random.below(3));
      return;
    case 1:
      parts.splice(at, 0, ...parts.slice(at, at + 1 + random.below(5)));
      return;
    case 2: {
      const [moved] = parts.splice(at, 1);
      parts.splice(first + random.below(parts.length - first + 1), 0, moved);
      return;
    }
    default: {
      const other = random.pick(sessions);
      const from = loginParts + random.below(other.length - loginParts);
      parts.splice(at, random.below(4), ...other.slice(from, from + random.below(8)));
    }
  }
}

function changeBytes(random: Random, bytes: Buffer, spared: number, starts: readonly number[]): Buffer {
  if (bytes.length <= spared) return bytes;
  const at = spared + random.below(bytes.length - spared);
  switch (random.below(8)) {
    case 0:
      bytes[at] ^= 1 << random.below(8);
      return bytes;
    case 1:
      bytes[at] = random.pick(interestingBytes);
      return bytes;
    case 2:
      bytes.fill(random.pick(interestingBytes), at, Math.min(bytes.length, at + 1 + random.below(8)));
      return bytes;
    case 3:
      return bytes.subarray(0, at);
    case 4:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(64))]);
    case 5:
      return Buffer.concat([bytes.subarray(0, at + random.below(64)), bytes.subarray(at)]);
    case 6:
      return changeFrame(random, bytes, starts);
    default:
      return changePayload(random, bytes, starts);
  }
}

/** Changes the type, channel or length of a frame. */
function changeFrame(random: Random, bytes: Buffer, starts: readonly number[]): Buffer {
  const at = random.pick(starts) ?? 0;
  if (at + 7 > bytes.length) return bytes;
  switch (random.below(4)) {
    case 0:
      bytes[at] = random.below(10);
      break;
    case 1:
      bytes.writeUInt16BE(random.below(4), at + 1);
      break;
    default:
      bytes.writeUInt32BE(random.pick(interestingLengths), at + 3);
  }
  return bytes;
}

/** Changes one of the first bytes of a frame's payload, where methods and sizes stand, and leaves the frame whole. */
function changePayload(random: Random, bytes: Buffer, starts: readonly number[]): Buffer {
  const at = (random.pick(starts) ?? 0) + 7 + random.below(24);
  if (at < bytes.length) bytes[at] = random.chance(0.5) ? random.below(256) : random.pick(interestingBytes);
  return bytes;
}

function rename(bytes: Buffer, name: string): void {
  for (let at = bytes.indexOf(sessionName); at >= 0; at = bytes.indexOf(sessionName, at + 1)) {
    bytes.write(name, at, "latin1");
  }
}

function frameStarts(parts: readonly Uint8Array[]): number[] {
  let at = 0;
  return parts.map((part) => {
    const start = at;
    at += part.length;
    return start;
  });
}
