export { listenersCollide } from './address.ts';
export { formatProblem, loadConfig } from './load.ts';
export { configSchema } from './schema.ts';
export type {
  ClientSslProfile,
  Config,
  ConfigProblem,
  ListenAddress,
  LoadResult,
  PoolConfig,
  PoolMember,
  RuleRef,
  ServerSslProfile,
  TcpProfile,
  TlsIdentity,
  TlsVersion,
  VirtualServerConfig,
} from './types.ts';
export { type FileWatcher, watchFiles } from './watch.ts';
