export { Expectation, encodeText } from './expect.ts';
export { combine } from './health.ts';
export { type Probe, probe } from './probe.ts';
export { MonitorSet, type StatusListener, type Watch } from './scheduler.ts';
export type {
  Expected,
  HttpMonitor,
  Login,
  LoginMonitor,
  MonitorSettings,
  MonitorState,
  MonitorStatus,
  MonitorTiming,
  SendExpectMonitor,
  TcpHalfOpenMonitor,
  TcpMonitor,
  TlsMonitor,
  TlsRequirements,
  Verdict,
} from './types.ts';
