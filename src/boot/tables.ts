/** The x86 boot protocol's structures: Documentation/arch/x86/boot.rst and zero-page.rst of Linux. */

import { bytes, le16, le32, le64, struct, u8 } from '../virtio/layout.ts'

/** At this offset both of a bzImage and of `boot_params`. */
export const SETUP_HEADER_AT = 0x1f1

export const SetupHeader = struct('setup_header', 'boot.rst', {
  setup_sects: u8('Size of the real-mode code, in 512-byte sectors; 0 means 4'),
  root_flags: le16('Root is mounted read-only'),
  syssize: le32('Size of the protected-mode code, in 16-byte paragraphs'),
  ram_size: le16('Obsolete'),
  vid_mode: le16('Video mode'),
  root_dev: le16('Default root device'),
  boot_flag: le16('0xAA55'),
  jump: le16('Jump instruction; its second byte is where the header ends, from 0x202'),
  header: le32('"HdrS"'),
  version: le16('Boot protocol version, major and minor byte'),
  realmode_swtch: le32('Boot loader hook'),
  start_sys_seg: le16('Obsolete'),
  kernel_version: le16('Where the version string is, less 0x200'),
  type_of_loader: u8('Boot loader; 0xff: none that has a number'),
  loadflags: u8('Boot protocol options', {
    LOADED_HIGH: 1,
    KASLR_FLAG: 2,
    QUIET_FLAG: 32,
    KEEP_SEGMENTS: 64,
    CAN_USE_HEAP: 128,
  }),
  setup_move_size: le16('Obsolete'),
  code32_start: le32('Where the protected-mode code starts when it is not relocated'),
  ramdisk_image: le32('Where the initrd is'),
  ramdisk_size: le32('Its size'),
  bootsect_kludge: le32('Obsolete'),
  heap_end_ptr: le16('End of the real-mode heap'),
  ext_loader_ver: u8('Boot loader version'),
  ext_loader_type: u8('Boot loader type'),
  cmd_line_ptr: le32('Where the command line is'),
  initrd_addr_max: le32('The last address an initrd may reach'),
  kernel_alignment: le32('Alignment of the protected-mode code'),
  relocatable_kernel: u8('It may be loaded elsewhere'),
  min_alignment: u8('Least alignment, as a power of 2'),
  xloadflags: le16('Boot protocol options', {
    XLF_KERNEL_64: 1,
    XLF_CAN_BE_LOADED_ABOVE_4G: 2,
    XLF_EFI_HANDOVER_32: 4,
    XLF_EFI_HANDOVER_64: 8,
    XLF_EFI_KEXEC: 16,
  }),
  cmdline_size: le32('Longest command line, without its terminating zero'),
  hardware_subarch: le32('Hardware subarchitecture; 0: a PC'),
  hardware_subarch_data: le64('Its data'),
  payload_offset: le32('Where the compressed kernel is in the protected-mode code'),
  payload_length: le32('Its size'),
  setup_data: le64('First of a list of setup_data'),
  pref_address: le64('Where it would like to be loaded'),
  init_size: le32('Memory it needs from there on until it can look at the memory map'),
  handover_offset: le32('EFI entry point'),
  kernel_info_offset: le32('Where kernel_info is'),
})

export const E820Entry = struct('boot_e820_entry', 'zero-page.rst', {
  addr: le64('Start'),
  size: le64('In bytes'),
  type: le32('What it is', { RAM: 1, RESERVED: 2, ACPI: 3, NVS: 4, UNUSABLE: 5 }),
})

/** The zero page. Everything a machine without firmware leaves at zero is padding here. */
export const BootParams = struct('boot_params', 'zero-page.rst', {
  unset: bytes(0x1e8, 'Screen, APM, EFI, drive tables'),
  e820_entries: u8('Entries in e820_table'),
  unset_1e9: bytes(8, 'EDD, keyboard; sentinel is left zero, or the kernel wipes what it did not expect'),
  hdr: bytes(SetupHeader.size, 'The setup header, as the kernel image has it, filled in'),
  unset_26c: bytes(0x2d0 - SETUP_HEADER_AT - SetupHeader.size, 'EDD signatures'),
  e820_table: bytes(128 * E820Entry.size, 'The memory map'),
  unset_cd0: bytes(0x1000 - 0x2d0 - 128 * E820Entry.size, 'EDD information'),
})

/** Header of one node of the `setup_data` list. */
export const SetupData = struct('setup_data', 'boot.rst', {
  next: le64('The next node, or 0'),
  type: le32('What its data is', { RNG_SEED: 9 }),
  len: le32('Size of the data that follows'),
})

export const SegmentDescriptor = struct('segment descriptor', 'SDM 3A 3.4.5', {
  limit_0: le16('Limit, bits 0–15'),
  base_0: le16('Base, bits 0–15'),
  base_16: u8('Base, bits 16–23'),
  access: u8('Present, ring, type', { ACCESSED: 1, WRITABLE: 2, CODE: 8, NOT_SYSTEM: 16, PRESENT: 128 }),
  limit_16: u8('Limit, bits 16–19, and flags', { SIZE_32: 64, PAGES: 128 }),
  base_24: u8('Base, bits 24–31'),
})

export const ElfHeader = struct('Elf32_Ehdr', 'elf(5)', {
  magic: le32('"\\x7fELF"'),
  class: u8('Word size', { ELFCLASS32: 1, ELFCLASS64: 2 }),
  data: u8('Byte order', { ELFDATA2LSB: 1, ELFDATA2MSB: 2 }),
  ident: bytes(10, 'Version, ABI, padding'),
  type: le16('What kind of file', { ET_REL: 1, ET_EXEC: 2, ET_DYN: 3, ET_CORE: 4 }),
  machine: le16('Architecture', { EM_386: 3, EM_PPC: 20, EM_ARM: 40, EM_X86_64: 62, EM_AARCH64: 183, EM_RISCV: 243 }),
  version: le32('1'),
  entry: le32('First instruction'),
  phoff: le32('Where the program headers are'),
  shoff: le32('Where the section headers are'),
  flags: le32('Processor flags'),
  ehsize: le16('Size of this header'),
  phentsize: le16('Size of one program header'),
  phnum: le16('How many there are'),
})

export const ProgramHeader = struct('Elf32_Phdr', 'elf(5)', {
  type: le32('What it describes', { PT_LOAD: 1, PT_NOTE: 4 }),
  offset: le32('Where its bytes are in the file'),
  vaddr: le32('Virtual address'),
  paddr: le32('Physical address'),
  filesz: le32('Bytes in the file'),
  memsz: le32('Bytes in memory; what the file lacks is zero'),
  flags: le32('Permissions'),
  align: le32('Alignment'),
})
