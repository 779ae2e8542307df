export interface BrokerOptions { port?: number; host?: string; }
export interface Broker { readonly port: number; readonly url: string; stop(): Promise<void>; }
export function startBroker(_options: BrokerOptions = {}): Promise<Broker> { throw new Error("being written"); }
