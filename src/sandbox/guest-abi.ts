import { GuestFault, GuestMemory } from './guest-memory.ts';
import { loadQuickJs, type QuickJs, type QuickJsCallbacks } from './quickjs-wasm.ts';
import {
  isWide,
  readText,
  SERIAL_HEAD,
  writeBinary,
  writeText,
  writeUint8Array,
} from './serial.ts';

/** The address of a value that the guest's memory holds. 0 is none. */
export type Handle = number;

/** The size of a value. Arguments of a call stand side by side. */
export const VALUE_BYTES = 8;

/** Tags of values, as they stand in the upper word. Numbers outside these are floating point. */
export const Tag = {
  first: -9,
  string: -7,
  rope: -6,
  object: -1,
  int: 0,
  bool: 1,
  undefined: 3,
  exception: 6,
  lastNonFloat: 7,
} as const;

/** States of a promise. A value that is no promise has another one. */
export const PromiseState = { pending: 0, fulfilled: 1, rejected: 2 } as const;

export type ErrorKind = 'Error' | 'TypeError' | 'RangeError';

/** Where things are in the guest's heap objects. The self-test verifies it. */
const STRING_LENGTH = 4;
const STRING_DATA = 16;
const WIDE = 0x80000000;
const OBJECT_CLASS = 4;
const UINT8_ARRAY_CLASS = 23;
const TYPED_ARRAY_DATA = 36;
const TYPED_ARRAY_LENGTH = 40;

/** Where a context counts down to its next call of the interrupt handler. */
const POLL_COUNTER = 232;
/** From where it counts down. */
export const POLLS_BY_DEFAULT = 10_000;

/** Values up to this size are handed in through a buffer that is kept. */
const SCRATCH_BYTES = 64 * 1024;
const EVAL_MODULE = 1;

/**
 * All contact with one guest: its values and its calls. Nothing read from the guest is trusted.
 * When a method that runs guest code throws anything but a `GuestFault` of reason `memory`, the
 * guest must not be entered again.
 */
export class GuestAbi {
  readonly undefined: Handle;
  /** False: strings leave in serialized form, which is slower. Set by the self-test. */
  readsStringsDirectly = true;
  /** False: `pollsLeft` is not what it should be, and must not be written. Set by the self-test. */
  countsPolls = true;

  private readonly memory: GuestMemory;
  private readonly runtime: number;
  private readonly context: number;
  private readonly argument: number;
  private readonly pair: number;
  private readonly scratch: number;
  private readonly scratchBuffer: Handle;
  private readonly errorTypes: Record<ErrorKind, Handle>;

  static async create(memoryPages: number): Promise<GuestAbi> {
    return new GuestAbi(await loadQuickJs(memoryPages));
  }

  private constructor(private readonly quickJs: QuickJs) {
    this.memory = new GuestMemory(quickJs);
    this.runtime = quickJs._QTS_NewRuntime();
    this.context = quickJs._QTS_NewContext(this.runtime, 0);
    quickJs._QTS_RuntimeEnableInterruptHandler(this.runtime);
    quickJs._QTS_RuntimeEnableModuleLoader(this.runtime, 1);
    this.undefined = quickJs._QTS_GetUndefined();
    this.argument = this.memory.allocate(4);
    this.pair = this.memory.allocate(8);
    this.scratch = this.memory.allocate(SCRATCH_BYTES);
    this.scratchBuffer = this.bufferOver(this.scratch, SCRATCH_BYTES);
    this.errorTypes = {
      Error: this.evaluate('Error', '<host>', 'script'),
      TypeError: this.evaluate('TypeError', '<host>', 'script'),
      RangeError: this.evaluate('RangeError', '<host>', 'script'),
    };
  }

  set callbacks(callbacks: QuickJsCallbacks) {
    this.quickJs.callbacks = callbacks;
  }

  /** Bytes of the guest's memory. It never shrinks. */
  get memoryBytes(): number {
    return this.memory.heap.length;
  }

  /** To be called when a callback begins. */
  sync(): void {
    this.memory.sync();
  }

  setStack(bytes: number): void {
    this.quickJs._QTS_RuntimeSetMaxStackSize(this.runtime, bytes);
  }

  /** Runs source text. The result may be an exception. */
  evaluate(code: string, file: string, kind: 'script' | 'module'): Handle {
    const source = this.memory.cString(code);
    const name = this.memory.cString(file);
    const flags = kind === 'module' ? EVAL_MODULE : 0;
    const length = Buffer.byteLength(code);
    const result = this.quickJs._QTS_Eval(this.context, source, length, name, 0, flags);
    this.memory.free(source);
    this.memory.free(name);
    return this.returned(result);
  }

  /** Calls a function of the guest with one argument. The result may be an exception. */
  call(fn: Handle, argument: Handle): Handle {
    this.memory.setWord(this.argument, argument);
    return this.returned(
      this.quickJs._QTS_Call(this.context, fn, this.undefined, 1, this.argument),
    );
  }

  /** A function of the guest that calls `callFunction` with this id. */
  newFunction(name: string, id: number): Handle {
    const text = this.memory.cString(name);
    const fn = this.quickJs._QTS_NewFunction(this.context, text, 0, 0, id);
    this.memory.free(text);
    return this.returned(fn);
  }

  newObject(): Handle {
    const object = this.returned(this.quickJs._QTS_NewObject(this.context));
    if (this.tag(object) !== Tag.object) throw new GuestFault('memory', 'out of memory');
    return object;
  }

  duplicate(value: Handle): Handle {
    return this.returned(this.quickJs._QTS_DupValuePointer(this.context, value));
  }

  element(array: Handle, index: number): Handle {
    return this.returned(this.quickJs._QTS_GetPropNumber(this.context, array, index));
  }

  free(value: Handle): void {
    this.quickJs._QTS_FreeValuePointer(this.context, value);
  }

  /** Frees a value with a known tag; cheaper for those that own nothing. */
  freeTagged(value: Handle, tag: number): void {
    if (tag >= Tag.int) this.quickJs._free(value);
    else this.quickJs._QTS_FreeValuePointer(this.context, value);
  }

  tag(value: Handle): number {
    return this.memory.int(value + 4);
  }

  /** The lower word of a value: the number of an int, 0 or 1 of a bool. */
  int(value: Handle): number {
    return this.memory.int(value);
  }

  /** How many loop turns and calls are left until `shouldInterrupt` is called. */
  get pollsLeft(): number {
    return this.memory.int(this.context + POLL_COUNTER);
  }

  set pollsLeft(polls: number) {
    this.memory.setWord(this.context + POLL_COUNTER, polls);
  }

  isUndefined(value: Handle): boolean {
    return this.tag(value) === Tag.undefined;
  }

  /** A number without coercion; undefined for anything else. */
  readNumber(value: Handle): number | undefined {
    const tag = this.tag(value);
    if (tag === Tag.int) return this.int(value);
    if (tag >= Tag.first && tag <= Tag.lastNonFloat) return undefined;
    return this.quickJs._QTS_GetFloat64(this.context, value);
  }

  /** The text of a string; undefined for anything else. */
  readText(value: Handle): string | undefined {
    const tag = this.tag(value);
    if (tag === Tag.rope) return this.readSerializedText(value);
    if (tag !== Tag.string) return undefined;
    if (!this.readsStringsDirectly) return this.readSerializedText(value);
    const at = this.memory.word(value);
    const head = this.memory.word(at + STRING_LENGTH);
    return this.memory.text(at + STRING_DATA, head % WIDE, head >= WIDE);
  }

  /**
   * A copy of the bytes of a Uint8Array, or of a string of one character a byte. `wide`: the string
   * has a character above 0xFF. Undefined for anything else.
   */
  readBinary(value: Handle): Uint8Array | 'wide' | undefined {
    const tag = this.tag(value);
    if (tag === Tag.object) return this.readUint8Array(value);
    if (tag === Tag.string && this.readsStringsDirectly) {
      const at = this.memory.word(value);
      const length = this.memory.word(at + STRING_LENGTH);
      if (length < WIDE) return this.memory.copy(at + STRING_DATA, length);
    }
    const text = this.readText(value);
    if (text === undefined) return undefined;
    return isWide(text) ? 'wide' : Buffer.from(text, 'latin1');
  }

  newNumber(value: number): Handle {
    if ((value | 0) === value) return this.newTagged(value, Tag.int);
    return this.returned(this.quickJs._QTS_NewFloat64(this.context, value));
  }

  newBool(value: boolean): Handle {
    return this.newTagged(value ? 1 : 0, Tag.bool);
  }

  newText(text: string): Handle {
    const wide = isWide(text);
    return this.deserialized(wide ? text.length * 2 : text.length, (at) =>
      writeText(this.memory, at, text, wide),
    );
  }

  /** A string of one character for each byte. */
  newBinary(bytes: Uint8Array): Handle {
    if (bytes.length + SERIAL_HEAD <= SCRATCH_BYTES) {
      writeBinary(this.memory, this.scratch, bytes);
      return this.decoded(this.scratchBuffer);
    }
    return this.deserialized(bytes.length, (at) => writeBinary(this.memory, at, bytes));
  }

  newUint8Array(bytes: Uint8Array): Handle {
    return this.deserialized(bytes.length, (at) => writeUint8Array(this.memory, at, bytes));
  }

  /** Throws in the guest; the result is for a callback to return. Runs only native code. */
  throwError(kind: ErrorKind, message: string): Handle {
    const error = this.newError(kind, message);
    const thrown = this.quickJs._QTS_Throw(this.context, error);
    this.free(error);
    return this.returned(thrown);
  }

  /** An error with the stack of this moment. Runs only native code. */
  newError(kind: ErrorKind, message: string): Handle {
    const text = this.newText(message);
    const error = this.call(this.errorTypes[kind], text);
    this.free(text);
    return error;
  }

  setMessage(error: Handle, message: string): void {
    const name = this.newText('message');
    const text = this.newText(message);
    const none = this.undefined;
    this.quickJs._QTS_DefineProp(this.context, error, name, text, none, none, 1, 0, 1);
    this.free(name);
    this.free(text);
  }

  /** The thrown value behind an exception, which is freed. */
  takeException(exception: Handle): Handle {
    const error = this.quickJs._QTS_ResolveException(this.context, exception);
    this.memory.free(exception);
    return this.returned(error);
  }

  newPromise(): { promise: Handle; resolve: Handle; reject: Handle } {
    const promise = this.returned(this.quickJs._QTS_NewPromiseCapability(this.context, this.pair));
    return {
      promise,
      resolve: this.returned(this.memory.word(this.pair)),
      reject: this.returned(this.memory.word(this.pair + 4)),
    };
  }

  promiseState(value: Handle): number {
    return this.quickJs._QTS_PromiseState(this.context, value);
  }

  promiseResult(promise: Handle): Handle {
    return this.returned(this.quickJs._QTS_PromiseResult(this.context, promise));
  }

  hasJobs(): boolean {
    return this.quickJs._QTS_IsJobPending(this.runtime) !== 0;
  }

  /** Runs up to `max` promise jobs. */
  runJobs(max: number): void {
    this.free(this.returned(this.quickJs._QTS_ExecutePendingJob(this.runtime, max, this.argument)));
  }

  /** A C string for a callback to return. */
  cString(text: string): number {
    return this.memory.cString(text);
  }

  private returned(value: Handle): Handle {
    this.memory.sync();
    if (value === 0) throw new GuestFault('sandbox', 'the guest answered a null pointer');
    return value;
  }

  private newTagged(word: number, tag: number): Handle {
    const at = this.memory.allocate(8);
    this.memory.setWord(at, word);
    this.memory.setWord(at + 4, tag);
    return at;
  }

  private bufferOver(at: number, bytes: number): Handle {
    const buffer = this.returned(this.quickJs._QTS_NewArrayBuffer(this.context, at, bytes));
    if (this.tag(buffer) !== Tag.object) throw new GuestFault('memory', 'out of memory');
    return buffer;
  }

  private readUint8Array(value: Handle): Uint8Array | undefined {
    const at = this.memory.word(value);
    if (this.memory.word(at + OBJECT_CLASS) >>> 16 !== UINT8_ARRAY_CLASS) return undefined;
    return this.memory.copy(
      this.memory.word(at + TYPED_ARRAY_DATA),
      this.memory.word(at + TYPED_ARRAY_LENGTH),
    );
  }

  private readSerializedText(value: Handle): string {
    const buffer = this.returned(this.quickJs._QTS_bjson_encode(this.context, value));
    if (this.tag(buffer) !== Tag.object) throw new GuestFault('memory', 'out of memory');
    const at = this.quickJs._QTS_GetArrayBuffer(this.context, buffer);
    this.free(buffer);
    this.memory.sync();
    if (at === 0) throw new GuestFault('memory', 'out of memory');
    const text = readText(this.memory, at);
    this.memory.free(at);
    return text;
  }

  /** Has the guest read a value that `write` puts down in serialized form. */
  private deserialized(bytes: number, write: (at: number) => void): Handle {
    const total = bytes + SERIAL_HEAD;
    const kept = total <= SCRATCH_BYTES;
    const at = kept ? this.scratch : this.memory.allocate(total);
    write(at);
    const buffer = kept ? this.scratchBuffer : this.bufferOver(at, total);
    const value = this.decoded(buffer);
    if (!kept) this.free(buffer);
    return value;
  }

  private decoded(buffer: Handle): Handle {
    const value = this.returned(this.quickJs._QTS_bjson_decode(this.context, buffer));
    if (this.tag(value) === Tag.exception) throw new GuestFault('memory', 'out of memory');
    return value;
  }
}
