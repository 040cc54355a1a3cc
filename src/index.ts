/** The public API of Portreeve. Rule tests are in `portreeve/testing`. */
export type { Logger } from './core/logger.ts';
export {
  checkFile,
  Engine,
  type EngineOptions,
  EngineStartError,
  type Findings,
  type ListenerInfo,
  type Problem,
} from './engine/index.ts';
