export * from "./bytes.ts";
export * from "./field-table.ts";
export * from "./spec.ts";
