export { checkFile, type Findings } from './check.ts';
export { Engine, type EngineOptions, type ListenerInfo } from './engine.ts';
export { EngineStartError, type Problem } from './problem.ts';
