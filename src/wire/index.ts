export { ByteReader, ByteWriter, MalformedError } from "./bytes.ts";
export { copyBytes, sameBytes } from "./copy.ts";
export { decodeText } from "./lenient-text.ts";
export { spliceProperties, type PropertyChanges } from "./splice-properties.ts";
export {
  emptyTable,
  fieldText,
  readTable,
  writeTable,
  type FieldTable,
  type FieldValue,
} from "./field-table.ts";
export { sameTable, sameValue } from "./field-equality.ts";
export { PropertyScan } from "./property-scan.ts";
export * from "./spec.ts";
