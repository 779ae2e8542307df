export { type Channel, type Publication, type ReceivedMessage } from "./channel.ts";
export { Connection, placesText, type ConnectionOptions } from "./connection.ts";
export { InterruptedError, RefusedError } from "./errors.ts";
export { fromTable, toTable, type Headers } from "./headers.ts";
export { Link, type Place } from "./link.ts";
