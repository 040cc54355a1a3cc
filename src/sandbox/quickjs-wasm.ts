import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

/**
 * What the sandbox uses of the QuickJS build. Pointers are addresses in the guest's memory; a
 * function that returns one returns 0 when memory has run out.
 */
export interface QuickJs {
  readonly HEAPU8: Uint8Array;
  callbacks: QuickJsCallbacks;
  _malloc(size: number): number;
  _free(pointer: number): void;
  _QTS_NewRuntime(): number;
  _QTS_RuntimeSetMaxStackSize(runtime: number, bytes: number): void;
  _QTS_RuntimeEnableInterruptHandler(runtime: number): void;
  _QTS_RuntimeEnableModuleLoader(runtime: number, normalizes: number): void;
  _QTS_NewContext(runtime: number, intrinsics: number): number;
  _QTS_GetUndefined(): number;
  _QTS_FreeValuePointer(context: number, value: number): void;
  _QTS_DupValuePointer(context: number, value: number): number;
  _QTS_NewObject(context: number): number;
  _QTS_NewFloat64(context: number, value: number): number;
  _QTS_GetFloat64(context: number, value: number): number;
  _QTS_NewArrayBuffer(context: number, data: number, length: number): number;
  _QTS_GetArrayBuffer(context: number, value: number): number;
  _QTS_GetArrayBufferLength(context: number, value: number): number;
  _QTS_NewFunction(
    context: number,
    name: number,
    length: number,
    isConstructor: number,
    id: number,
  ): number;
  _QTS_GetPropNumber(context: number, object: number, index: number): number;
  _QTS_DefineProp(
    context: number,
    object: number,
    name: number,
    value: number,
    get: number,
    set: number,
    configurable: number,
    enumerable: number,
    hasValue: number,
  ): void;
  _QTS_Call(context: number, fn: number, self: number, argc: number, argv: number): number;
  _QTS_Throw(context: number, error: number): number;
  _QTS_ResolveException(context: number, value: number): number;
  _QTS_Eval(
    context: number,
    code: number,
    length: number,
    file: number,
    detectModule: number,
    flags: number,
  ): number;
  _QTS_IsJobPending(runtime: number): number;
  _QTS_ExecutePendingJob(runtime: number, max: number, lastContext: number): number;
  _QTS_NewPromiseCapability(context: number, resolvers: number): number;
  _QTS_PromiseState(context: number, value: number): number;
  _QTS_PromiseResult(context: number, value: number): number;
  _QTS_bjson_encode(context: number, value: number): number;
  _QTS_bjson_decode(context: number, data: number): number;
}

/** What QuickJS calls. None may throw: an exception through its frames leaves it inconsistent. */
export interface QuickJsCallbacks {
  /** A host function was called. Returns a value, which the guest frees, or 0 for undefined. */
  callFunction(
    asyncify: undefined,
    context: number,
    self: number,
    argc: number,
    argv: number,
    id: number,
  ): number;
  shouldInterrupt(asyncify: undefined, runtime: number): 0 | 1;
  /** Returns the source as a C string, which the guest frees, or 0 with an exception thrown. */
  loadModuleSource(asyncify: undefined, runtime: number, context: number, name: string): number;
  /** Returns the module's name as a C string, which the guest frees. */
  normalizeModule(
    asyncify: undefined,
    runtime: number,
    context: number,
    base: string,
    name: string,
  ): number;
  freeHostRef(asyncify: undefined, runtime: number, id: number): void;
}

type Loader = (options: {
  wasmMemory: WebAssembly.Memory;
  instantiateWasm(
    imports: WebAssembly.Imports,
    onSuccess: (instance: WebAssembly.Instance) => void,
  ): WebAssembly.Exports;
}) => Promise<QuickJs>;

/** The build declares this much as its least memory. */
const MINIMUM_PAGES = 256;

let compiled: Promise<WebAssembly.Module> | undefined;

/**
 * The QuickJS program, compiled once for all instances of the process.
 *
 * The interrupt handler is polled by loops and calls of the guest's own code and by its regular
 * expressions, so those are always cut. It is not polled by built-ins while they run, and some of
 * them can run for very long or for ever, holding up the whole process: array methods on huge
 * array-likes (`[].indexOf.call({ length: 2 ** 53 - 1 })`), `new Array(2 ** 32 - 1).join()`,
 * `indexOf` of a long needle in a long string; and, for some hundred milliseconds, `sort` without
 * a comparator, `JSON.parse`, `repeat` and BigInt arithmetic on what fits into the memory.
 *
 * To bound those too, this function has to provide a program whose loops are metered, and the
 * meter has to be set for each entry (`Budget.renew`). Nothing else has to change: a trap in the
 * program already ends the instance.
 */
export function quickJsProgram(): Promise<WebAssembly.Module> {
  compiled ??= readFile(
    createRequire(import.meta.url).resolve('@jitl/quickjs-wasmfile-release-sync/wasm'),
  ).then((bytes) => WebAssembly.compile(bytes));
  return compiled;
}

const idleCallbacks: QuickJsCallbacks = {
  callFunction: () => 0,
  shouldInterrupt: () => 0,
  loadModuleSource: () => 0,
  normalizeModule: () => 0,
  freeHostRef: () => {},
};

/** A fresh QuickJS with a memory of its own that cannot grow beyond `memoryPages`. */
export async function loadQuickJs(memoryPages: number): Promise<QuickJs> {
  const program = await quickJsProgram();
  const { default: load } = (await import(
    '@jitl/quickjs-wasmfile-release-sync/emscripten-module'
  )) as unknown as { default: Loader };
  const quickJs = await load({
    wasmMemory: new WebAssembly.Memory({ initial: MINIMUM_PAGES, maximum: memoryPages }),
    instantiateWasm(imports, onSuccess) {
      const instance = new WebAssembly.Instance(program, imports);
      onSuccess(instance);
      return instance.exports;
    },
  });
  quickJs.callbacks = idleCallbacks;
  return quickJs;
}
