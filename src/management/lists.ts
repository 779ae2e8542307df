import { badRequest, HttpError } from "./http-error.ts";
import { matchingNames } from "./name-filter.ts";

/** Something to be listed: what it is sorted by is known before it is formatted, which costs more. */
export interface Row {
  /** By which RabbitMQ sorts when nothing else is asked for. */
  readonly vhost?: string;
  readonly name: string;
  /** The value at a path into the formatted object, if it is known without it. */
  readonly known?: (path: string) => number | string | boolean | undefined;
  readonly format: () => object;
}

type Query = Readonly<Record<string, string>>;

const defaultPageSize = 100;
const mostPageSize = 500;

/** A list, or a page of it where one is asked for: sorted, filtered by name, with the columns asked for. @throws HttpError 400 */
export function listed(rows: readonly Row[], query: Query): unknown {
  const page = pageOf(query);
  const sorted = sortedRows(rows, query);
  if (!page) return sorted.map((row) => columnsOf(row.format(), query));
  const filtered = filteredRows(sorted, query);
  const from = (page.number - 1) * page.size;
  if (from > filtered.length) {
    const reason = `Page out of range, page: ${page.number} page size: ${page.size}, len: ${filtered.length}`;
    throw new HttpError(400, { error: "page_out_of_range", reason });
  }
  const items = filtered.slice(from, from + page.size);
  return {
    filtered_count: filtered.length,
    item_count: items.length,
    items: items.map((row) => columnsOf(row.format(), query)),
    page: page.number,
    page_count: Math.ceil(filtered.length / page.size),
    page_size: page.size,
    total_count: rows.length,
  };
}

/** A list that RabbitMQ does not page. */
export function listedWhole(rows: readonly Row[], query: Query): unknown {
  return sortedRows(rows, query).map((row) => columnsOf(row.format(), query));
}

/** One object, with the columns asked for: `columns=name,message_stats.publish_details.rate`. */
export function columnsOf(object: object, { columns }: Query): object {
  if (columns === undefined) return object;
  const chosen = chosenColumns(
    object,
    columns.split(",").map((column) => column.split(".")),
  );
  // RabbitMQ's way to show an empty object.
  return Object.keys(chosen).length > 0 ? chosen : [];
}

function chosenColumns(object: object, columns: readonly (readonly string[])[]): object {
  const entries = Object.entries(object).flatMap(([name, value]): [string, unknown][] => {
    const wanted = columns.filter(([first]) => first === name);
    if (wanted.length === 0) return [];
    const deeper = wanted.filter((path) => path.length > 1).map(([, ...rest]) => rest);
    return [[name, deeper.length < wanted.length ? value : deeperColumns(value, deeper)]];
  });
  return Object.fromEntries(entries);
}

function deeperColumns(value: unknown, columns: readonly (readonly string[])[]): unknown {
  if (Array.isArray(value)) return value.map((item) => deeperColumns(item, columns));
  return typeof value === "object" && value !== null ? chosenColumns(value, columns) : value;
}

/** @throws HttpError 400 */
function pageOf(query: Query): { number: number; size: number } | undefined {
  const { page, page_size: pageSize = String(defaultPageSize) } = query;
  if (page === undefined) return undefined;
  if (!/^-?\d+$/.test(page) || !/^-?\d+$/.test(pageSize))
    throw badRequest("Pagination parameters are invalid");
  const [number, size] = [Number(page), Number(pageSize)];
  if (number >= 1 && number <= Number.MAX_SAFE_INTEGER / mostPageSize && size >= 1 && size <= mostPageSize)
    return { number, size };
  const reason = `Invalid pagination parameters: page number ${page}, page size ${query["page_size"]}`;
  throw new HttpError(400, { error: "invalid_pagination_parameters", reason });
}

/** @throws HttpError 400 */
function filteredRows(rows: readonly Row[], query: Query): readonly Row[] {
  const { name, use_regex: usesRegex } = query;
  if (name === undefined || name === "") return rows;
  if (usesRegex !== "true") {
    const part = name.toLowerCase();
    return rows.filter((row) => row.name.toLowerCase().includes(part));
  }
  const matching = matchingNames(
    name,
    rows.map((row) => row.name),
  );
  if (!matching) throw badRequest("Pagination parameters are invalid");
  return rows.filter((_, index) => matching[index]);
}

function sortedRows(rows: readonly Row[], query: Query): readonly Row[] {
  const { sort, sort_reverse: isReversed } = query;
  const keyed = rows.map((row) => ({ row, key: sort === undefined || sort === "" ? 0 : sortKey(row, sort) }));
  keyed.sort((a, b) => compareKeys(a.key, b.key) || compareNames(a.row, b.row));
  const sorted = keyed.map(({ row }) => row);
  return isReversed === "true" ? sorted.toReversed() : sorted;
}

function compareNames(a: Row, b: Row): number {
  return compareKeys(a.vhost ?? "", b.vhost ?? "") || compareKeys(a.name, b.name);
}

function sortKey(row: Row, path: string): unknown {
  const known = row.known?.(path);
  if (known !== undefined) return known;
  let value: unknown = row.format();
  for (const name of path.split(".")) {
    if (typeof value !== "object" || value === null) return 0;
    value = (value as Record<string, unknown>)[name];
  }
  // What is not there is 0, as in RabbitMQ.
  return value ?? 0;
}

/** Erlang's order: numbers, then words, then texts. */
function compareKeys(a: unknown, b: unknown): number {
  const rank = rankOf(a) - rankOf(b);
  if (rank !== 0) return rank;
  const [left, right] = typeof a === "number" ? [a, b as number] : [String(a), String(b)];
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

function rankOf(key: unknown): number {
  if (typeof key === "number") return 0;
  return typeof key === "string" ? 2 : 1;
}
