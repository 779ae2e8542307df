export { startManagement, type Management, type ManagementOptions } from "./server.ts";
