/** The bytes of the log, as FORMAT.md draws them. All numbers are little-endian. */
import { crc32 } from "node:zlib";
import type { Geometry } from "./geometry.ts";

export const formatVersion = 1;
/** At the start of each segment file. Written once, when the file is made. */
export const fileHeaderBytes = 64;
/** Before each batch. */
export const batchHeaderBytes = 64;
/** Type, length, and the number of pairs behind the pairs. */
export const messageOverhead = 12;
export const pairBytes = 12;
/** A pair with the time and the note that its queue gave the message. */
export const notedPairBytes = 24;
/** In the number of pairs that stands behind the pairs: they are such ones. */
export const notedFlag = 0x8000_0000;
export const settleRecordBytes = 20;
export const deliveriesRecordBytes = 20;
/** Before the part of a long message's record that a chunk holds. */
export const fragmentHeaderBytes = 20;

export const RecordType = {
  /** A message and the pairs of queue and sequence that it is in. */
  Message: 1,
  /** A run of sequences of one queue is done with. */
  Settle: 2,
  /** A message in a queue has been returned to it so many times. */
  Deliveries: 3,
  /** A part of a message record that is longer than a chunk takes. */
  Fragment: 4,
  /** A message of which a queue has noted something: a time, or a number. */
  NotedMessage: 5,
} as const;

/** How long a pair is in a message record of this type. */
export function pairBytesOf(recordType: number): number {
  return recordType === RecordType.NotedMessage ? notedPairBytes : pairBytes;
}

const fileMagic = 0x474f_4c57; // "WLOG"
const batchMagic = 0x4854_4257; // "WBTH"

export function encodeFileHeader(nonce: bigint, { segmentBytes, chunkBytes }: Geometry): Uint8Array {
  const bytes = new Uint8Array(fileHeaderBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, fileMagic, true);
  view.setUint32(4, formatVersion, true);
  view.setUint32(8, segmentBytes, true);
  view.setUint32(12, chunkBytes, true);
  view.setBigUint64(16, nonce, true);
  view.setUint32(24, crc32(bytes.subarray(0, 24)), true);
  return bytes;
}

interface FileHeader {
  readonly version: number;
  readonly segmentBytes: number;
  readonly chunkBytes: number;
  /** Drawn when the data directory is made: neither a foreign file nor a message's body passes for ours. */
  readonly nonce: bigint;
}

/** Reads a segment's header. "blank": nothing was ever written there, as a crash leaves a file that was being made. */
export function decodeFileHeader(bytes: Uint8Array): FileHeader | "blank" | "damaged" {
  if (bytes.length < fileHeaderBytes || bytes.every((octet) => octet === 0)) return "blank";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== fileMagic) return "damaged";
  if (view.getUint32(24, true) !== crc32(bytes.subarray(0, 24))) return "damaged";
  return {
    version: view.getUint32(4, true),
    segmentBytes: view.getUint32(8, true),
    chunkBytes: view.getUint32(12, true),
    nonce: view.getBigUint64(16, true),
  };
}

export interface BatchHeader {
  /** Of the records, without the header. */
  payloadBytes: number;
  /** The segment's. A recycled file's old batches have an older one. */
  generation: number;
  /** Commits are numbered without a gap. */
  commit: number;
  /** A commit may need several batches, numbered from 0. */
  part: number;
  isLast: boolean;
  /** Generations before this one are not part of the log any more. */
  logStart: number;
  /** Entries of the definitions log that were durable before this. */
  definitions: number;
}

/** Writes the header at `at`, before the payload that follows it there or, if given, in `apart`. */
export function encodeBatchHeader(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  header: BatchHeader,
  nonce: bigint,
  apart?: Uint8Array,
): void {
  view.setUint32(at, batchMagic, true);
  view.setUint32(at + 4, header.payloadBytes, true);
  view.setUint32(at + 12, header.isLast ? 1 : 0, true);
  view.setBigUint64(at + 16, nonce, true);
  setSafeInteger(view, at + 24, header.generation);
  setSafeInteger(view, at + 32, header.commit);
  view.setUint32(at + 40, header.part, true);
  view.setUint32(at + 44, 0, true);
  setSafeInteger(view, at + 48, header.logStart);
  setSafeInteger(view, at + 56, header.definitions);
  view.setUint32(at + 8, checksum(bytes, at, header.payloadBytes, apart), true);
}

/** Reads the batch at `at`; undefined unless it is one of ours and whole. */
export function decodeBatch(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  nonce: bigint,
): BatchHeader | undefined {
  if (at + batchHeaderBytes > bytes.length || view.getUint32(at, true) !== batchMagic) return undefined;
  const payloadBytes = view.getUint32(at + 4, true);
  if (payloadBytes > bytes.length - at - batchHeaderBytes) return undefined;
  if (view.getBigUint64(at + 16, true) !== nonce) return undefined;
  if (view.getUint32(at + 8, true) !== checksum(bytes, at, payloadBytes)) return undefined;
  return {
    payloadBytes,
    generation: getSafeInteger(view, at + 24),
    commit: getSafeInteger(view, at + 32),
    part: view.getUint32(at + 40, true),
    isLast: view.getUint32(at + 12, true) === 1,
    logStart: getSafeInteger(view, at + 48),
    definitions: getSafeInteger(view, at + 56),
  };
}

/** Whether a batch of this segment was begun at `at`, whole or not. */
export function looksLikeBatch(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  nonce: bigint,
  generation: number,
): boolean {
  return (
    at + batchHeaderBytes <= bytes.length &&
    view.getUint32(at, true) === batchMagic &&
    view.getBigUint64(at + 16, true) === nonce &&
    getSafeInteger(view, at + 24) === generation
  );
}

/** Of all of the batch but its magic number, its length and the checksum itself; a wrong length misses the checksum too. */
function checksum(bytes: Uint8Array, at: number, payloadBytes: number, apart?: Uint8Array): number {
  if (apart === undefined)
    return crc32(bytes.subarray(at + 12, at + batchHeaderBytes + payloadBytes), payloadBytes);
  const inHeader = payloadBytes - apart.length;
  return crc32(apart, crc32(bytes.subarray(at + 12, at + batchHeaderBytes + inHeader), payloadBytes));
}

/** A 64-bit number of which only 53 bits are ever used. */
export function setSafeInteger(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, (value / 0x1_0000_0000) >>> 0, true);
}

export function getSafeInteger(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
}
