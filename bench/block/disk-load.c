// Loads a disk and says what it did: disk-load DEVICE KIND BLOCK DEPTH MILLISECONDS
// KIND is read, write, randread or randwrite (O_DIRECT, DEPTH of them in flight), fsync (each random write is followed by
// one), or bufread and bufwrite (once through MIB megabytes of the page cache, given as DEPTH, and an fsync).
// Prints "did OPERATIONS in MICROSECONDS". Freestanding: it needs no C library, so any gcc that knows -m32 makes it.
#include <asm/unistd.h>
#include <linux/aio_abi.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/time.h>
#include <stddef.h>

#define MOST (1 << 20)
#define DEPTHS 64

static unsigned char data[MOST] __attribute__((aligned(4096)));
static struct iocb blocks[DEPTHS], *batch[DEPTHS];
static struct io_event events[DEPTHS];

static long call(long number, long a, long b, long c, long d, long e) {
  long result;
  asm volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
  return result;
}

static int length(const char *text) {
  int n = 0;
  while (text[n]) n++;
  return n;
}

static void say(const char *text) { call(__NR_write, 1, (long)text, length(text), 0, 0); }

static void say_number(unsigned long number) {
  char digits[12], *at = digits + sizeof(digits) - 1;
  *at = 0;
  do *--at = '0' + number % 10;
  while (number /= 10);
  say(at);
}

static void die(const char *what, long error) {
  say(what);
  say(" failed: ");
  say_number(-error);
  say("\n");
  call(__NR_exit, 1, 0, 0, 0, 0);
}

static long check(const char *what, long result) {
  if (result < 0) die(what, result);
  return result;
}

static unsigned long number(const char *text) {
  unsigned long n = 0;
  while (*text) n = n * 10 + *text++ - '0';
  return n;
}

static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static unsigned long micros(void) {
  struct { long seconds, nanos; } now;
  call(__NR_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0, 0);
  return (unsigned long)now.seconds * 1000000 + now.nanos / 1000;
}

static unsigned long seed = 2463534242;
static unsigned long chance(void) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  return seed ^= seed << 5;
}

static long at(int file, int writes, unsigned long size, unsigned long long offset) {
  return call(writes ? __NR_pwrite64 : __NR_pread64, file, (long)data, size, (long)offset, (long)(offset >> 32));
}

static void report(unsigned long operations, unsigned long began) {
  unsigned long took = micros() - began;
  say("did ");
  say_number(operations);
  say(" in ");
  say_number(took);
  say("\n");
}

__attribute__((used)) static void run(char **argv) {
  const char *kind = argv[2];
  unsigned long size = number(argv[3]), depth = number(argv[4]), limit = number(argv[5]) * 1000;
  int buffered = kind[0] == 'b', random = same(kind, "randread") || same(kind, "randwrite") || same(kind, "fsync");
  int writes = same(kind, "write") || same(kind, "randwrite") || same(kind, "fsync") || same(kind, "bufwrite");
  int file = check("open", call(__NR_open, (long)argv[1], (writes ? O_RDWR : O_RDONLY) | O_LARGEFILE | (buffered ? 0 : O_DIRECT), 0, 0, 0));
  unsigned long long total = 0;
  check("BLKGETSIZE64", call(__NR_ioctl, file, BLKGETSIZE64, (long)&total, 0, 0));
  unsigned long there = total >> 12, each = size >> 12, slots = there / each, next = 0, operations = 0;
  for (unsigned long i = 0; i < MOST / 4; i++) ((unsigned long *)data)[i] = chance();

  unsigned long began = micros();
  if (buffered) {
    for (unsigned long count = depth * (MOST >> 12) / each; operations < count; operations++)
      check("a transfer", at(file, writes, size, (unsigned long long)operations * size));
    if (writes) check("fsync", call(__NR_fsync, file, 0, 0, 0, 0));
    report(operations, began);
    return;
  }
  aio_context_t context = 0;
  if (depth > 1) check("io_setup", call(__NR_io_setup, depth, (long)&context, 0, 0, 0));
  for (unsigned long i = 0; i < depth; i++) batch[i] = &blocks[i];
  for (unsigned long ready = depth; micros() - began < limit;) {
    for (unsigned long i = 0; i < ready; i++) {
      unsigned long long offset = (unsigned long long)((random ? chance() : next++) % slots) * size;
      if (depth == 1) {
        check("a transfer", at(file, writes, size, offset));
        if (same(kind, "fsync")) check("fsync", call(__NR_fsync, file, 0, 0, 0, 0));
        operations++;
        continue;
      }
      struct iocb *block = batch[i];
      block->aio_lio_opcode = writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
      block->aio_fildes = file;
      block->aio_buf = (unsigned long)data + (block - blocks) * size % MOST;
      block->aio_nbytes = size;
      block->aio_offset = offset;
    }
    if (depth == 1) continue;
    // All that are free go at once, and as many as are done by then make room for the next.
    for (unsigned long sent = 0; sent < ready;) sent += check("io_submit", call(__NR_io_submit, context, ready - sent, (long)(batch + sent), 0, 0));
    ready = check("io_getevents", call(__NR_io_getevents, context, 1, depth, (long)events, 0));
    for (unsigned long i = 0; i < ready; i++) {
      if (events[i].res != size) die("a transfer", events[i].res);
      batch[i] = (struct iocb *)(unsigned long)events[i].obj;
    }
    operations += ready;
  }
  report(operations, began);
}

__attribute__((naked, used)) void _start(void) {
  asm("lea 4(%esp), %eax; and $-16, %esp; sub $12, %esp; push %eax; call begin");
}
__attribute__((used)) void begin(char **argv) {
  run(argv);
  call(__NR_exit, 0, 0, 0, 0, 0);
}
