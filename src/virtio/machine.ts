/** What the virtio core asks of the machine around it. v86 is one implementation, `ArrayMemory` the other. */

/** Guest-physical memory. The only door between a device and the machine's RAM. */
export interface GuestMemory {
  /** One past the highest RAM address, in bytes. */
  readonly size: number
  /** All of it, for reading, valid until the current call returns. */
  readonly view: DataView
  /** The same as words of 32 and of 16 bits, little-endian as every host of ours is. Who stores in them says so: `stored`. */
  readonly words: Uint32Array
  readonly halves: Uint16Array
  /** Whether all these bytes are RAM: no hole, no device window, no wrap. Any number may be asked for. */
  has(address: number, length: number): boolean
  /** Bytes for reading, valid until the current call returns: copy what must outlive an `await`. */
  slice(address: number, length: number): Uint8Array<ArrayBuffer>
  /** Bytes to be stored into, at once and before the current call returns; translated code over them is dropped. */
  target(address: number, length: number): Uint8Array<ArrayBuffer>
  /** Every other store goes through here, so that the CPU can drop translated code it covers. */
  write(address: number, bytes: Uint8Array): void
  setU16(address: number, value: number): void
  setU32(address: number, value: number): void
  /** Words among these bytes were stored: the CPU drops translated code they cover. */
  stored(address: number, length: number): void
}

/** A level-triggered wire to the interrupt controller. Sharers are ORed by whoever hands it out. */
export interface InterruptLine {
  set(level: boolean): void
}

/** A range of addresses a device answers for. Offsets are from its start; `size` is 1, 2 or 4 bytes. */
export interface Window {
  /** In bytes. */
  readonly length: number
  read(offset: number, size: number): number
  write(offset: number, size: number, value: number): void
}

/** Where PCI BARs land: the machine routes accesses there to the window until the returned function is called. */
export interface AddressSpaces {
  mapMemory(address: number, window: Window): () => void
  mapPorts(port: number, window: Window): () => void
}

/** The driver broke the protocol. The device asks for a reset; the machine lives on. */
export class GuestError extends Error {
  constructor(
    /** Where the specification forbids it. */
    readonly section: string,
    message: string,
  ) {
    super(`virtio §${section}: ${message}`)
    this.name = 'GuestError'
  }
}

/** A backend could not do its part (quota, network, file gone). The device reports it in its own protocol. */
export class BackendError extends Error {
  override name = 'BackendError'
}

/** Plain-array RAM, for tests and tools. Addresses start at 0 and have no hole. */
export class ArrayMemory implements GuestMemory {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly view: DataView<ArrayBuffer>
  readonly words: Uint32Array
  readonly halves: Uint16Array
  constructor(readonly size: number) {
    this.bytes = new Uint8Array(size)
    this.view = new DataView(this.bytes.buffer)
    this.words = new Uint32Array(this.bytes.buffer, 0, size >>> 2)
    this.halves = new Uint16Array(this.bytes.buffer, 0, size >>> 1)
  }
  has(address: number, length: number) {
    return address >= 0 && length >= 0 && address + length <= this.size
  }
  slice(address: number, length: number) {
    return this.bytes.subarray(address, address + length)
  }
  target(address: number, length: number) {
    return this.bytes.subarray(address, address + length)
  }
  write(address: number, bytes: Uint8Array) {
    this.bytes.set(bytes, address)
  }
  setU16(address: number, value: number) {
    this.view.setUint16(address, value, true)
  }
  setU32(address: number, value: number) {
    this.view.setUint32(address, value, true)
  }
  /** There is no translated code. */
  stored(_address: number, _length: number) {}
}
