/** How the log is cut into pieces; see FORMAT.md. A data directory keeps the geometry that it was made with. */
export interface Geometry {
  /** Size of a segment file. */
  readonly segmentBytes: number;
  /** Unit of memory and of reading; batches and records do not cross its boundaries. A power of two. */
  readonly chunkBytes: number;
  readonly chunkShift: number;
  /** The longest record that is kept in one piece; a longer one goes in fragments, a chunk each. */
  readonly mostRecordBytes: number;
}

/**
 * 16 MiB: large enough that a backlog of gigabytes is a few hundred files, small enough that an idle broker takes little.
 * 256 KiB: reading a chunk back takes some 35 µs from the page cache, and 128 of them fit into the memory kept for them.
 */
export const defaultGeometry: Geometry = geometry(16 << 20, 256 << 10);

/** @throws RangeError unless chunks are a power of two, at least 4 KiB, and at least 4 of them fill a segment exactly. */
export function geometry(segmentBytes: number, chunkBytes: number): Geometry {
  const chunkShift = 31 - Math.clz32(chunkBytes);
  if (1 << chunkShift !== chunkBytes || chunkBytes < 4096) {
    throw new RangeError(`chunks of ${chunkBytes} bytes: give a power of two from 4096`);
  }
  if (segmentBytes % chunkBytes !== 0 || segmentBytes < 4 * chunkBytes || segmentBytes > 1 << 30) {
    throw new RangeError(
      `segments of ${segmentBytes} bytes: give a multiple of the chunk, at least 4 of them`,
    );
  }
  return { segmentBytes, chunkBytes, chunkShift, mostRecordBytes: chunkBytes >> 1 };
}

/**
 * What copying a record elsewhere would take at most. A long one begins a chunk, and so does what follows it: if that were
 * not counted, the cleaner would copy long messages for ever to gain what it cannot.
 */
export function footprint({ mostRecordBytes, chunkBytes }: Geometry, recordBytes: number): number {
  if (recordBytes <= mostRecordBytes) return recordBytes;
  return (Math.ceil(recordBytes / (chunkBytes - 256)) + 1) * chunkBytes;
}
