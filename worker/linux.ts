/** From a description's kernel and initrd to a plan for starting them: downloads in parallel, unpacks outside the guest. */

import { isBzImage } from '../src/boot/bzimage.ts'
import { isElf, type KernelImage, readElf } from '../src/boot/elf.ts'
import { type Kernel, planLinux, readKernel, selfUnpacking } from '../src/boot/linux.ts'
import { BootError, type BootPlan } from '../src/boot/plan.ts'
import { DecompressError, decompress, decompressPayload } from './decompress.ts'
import type { FileSource } from './description.ts'
import { unpackInitrd } from './initrd.ts'
import { type LoadOptions, load } from './loader.ts'

export interface LinuxRequest extends Pick<LoadOptions, 'openFile' | 'signal'> {
  readonly kernel: FileSource | Blob
  readonly initrd?: FileSource | Blob | undefined
  /** RAM in bytes. */
  readonly memory: number
  readonly progress?: (progress: BootProgress) => void
}

/** Bytes; `total` where it is known. */
export interface BootProgress {
  readonly what: 'kernel' | 'initrd' | 'BIOS'
  readonly phase: 'download' | 'unpack' | 'done'
  readonly done: number
  readonly total?: number
}

/** Everything a machine needs to start this kernel, and to start it again. */
export interface PreparedLinux {
  /** As the kernel tells it, release and build; empty for a plain vmlinux. */
  readonly version: string
  /** Milliseconds, by what took them: `kernel download`, `kernel unpack`, `initrd download`, `initrd unpack`. */
  readonly phases: Readonly<Record<string, number>>
  /** A plan for one start: each has a random seed of its own. Fails with `BootError`. */
  plan(cmdline: string): BootPlan
}

/** Fails with `LoadError` or `BootError`, or with the signal's reason. */
export async function prepareLinux(request: LinuxRequest): Promise<PreparedLinux> {
  const phases: Record<string, number> = {}
  const { memory, signal } = request
  const fetched = async (what: BootProgress['what'], source: FileSource | Blob) => {
    const start = performance.now()
    const bytes = await load(source, {
      ...request,
      what: `the ${what}`,
      progress: (done, total) =>
        request.progress?.({ what, phase: 'download', done, ...(total !== undefined && { total }) }),
    })
    phases[`${what} download`] = performance.now() - start
    return bytes
  }
  const unpacked = async <T>(what: BootProgress['what'], bytes: Uint8Array, unpack: () => Promise<T>): Promise<T> => {
    signal?.throwIfAborted()
    request.progress?.({ what, phase: 'unpack', done: 0, total: bytes.length })
    const start = performance.now()
    const result = await unpack()
    phases[`${what} unpack`] = performance.now() - start
    request.progress?.({ what, phase: 'done', done: bytes.length, total: bytes.length })
    return result
  }

  const [kernel, initrd] = await Promise.all([
    fetched('kernel', request.kernel).then(bytes => unpacked('kernel', bytes, () => unpackKernel(bytes))),
    request.initrd &&
      fetched('initrd', request.initrd).then(async packed => ({
        packed,
        unpacked: await unpacked('initrd', packed, () => unpackInitrd(packed)),
      })),
  ])
  signal?.throwIfAborted()
  return {
    version: kernel.version,
    phases,
    plan: cmdline =>
      planLinux({
        image: kernel.image,
        headerBytes: kernel.headerBytes,
        initrd: initrd && (fitsTwice(kernel.image, initrd.unpacked, memory) ? initrd.unpacked : initrd.packed),
        cmdline,
        memory,
        seed: crypto.getRandomValues(new Uint8Array(32)),
      }),
  }
}

/** The guest copies an unpacked initramfs into its root file system before it frees it; a packed one takes less room. */
const fitsTwice = ({ segments }: KernelImage, initrd: Uint8Array, memory: number) =>
  Math.max(...segments.map(({ address, length }) => address + length)) + 2 * initrd.length < memory

interface UnpackedKernel {
  readonly version: string
  readonly image: KernelImage
  readonly headerBytes?: Uint8Array
}

/** A bzImage, a vmlinux, or either of them compressed as a whole. */
async function unpackKernel(file: Uint8Array): Promise<UnpackedKernel> {
  const kernel = readKernel(await unwrap(file))
  if ('image' in kernel) return { version: '', image: kernel.image }
  const { version, headerBytes } = kernel.bzImage
  return { version, headerBytes, image: await unpackBzImage(kernel) }
}

async function unwrap(file: Uint8Array): Promise<Uint8Array> {
  if (isBzImage(file) || isElf(file)) return file
  try {
    return (await decompress(file)) ?? file
  } catch (reason) {
    throw explained(reason, 'The file given as the kernel cannot be unpacked')
  }
}

async function unpackBzImage({ bzImage }: Extract<Kernel, { bzImage: unknown }>): Promise<KernelImage> {
  if (!bzImage.payload) return selfUnpacking(bzImage)
  try {
    const vmlinux = await decompressPayload(bzImage.payload)
    // Compressed in a way we do not know: the kernel itself does.
    return vmlinux && isElf(vmlinux) ? readElf(vmlinux) : selfUnpacking(bzImage)
  } catch (reason) {
    throw explained(reason, 'The kernel is damaged')
  }
}

const explained = (reason: unknown, what: string) =>
  reason instanceof DecompressError
    ? new BootError(`${what}: ${reason.message}. Download it again.`, { cause: reason })
    : reason
