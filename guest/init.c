// The first program: mounts, finds the console, writes /etc/inittab and becomes busybox's init.
// A shell script did the same in two million instructions, a tenth of the whole boot: in an interpreted machine each fork and exec counts.
// As `ringlet-ports` it only makes the links of virtio console ports that came later.
// Compiled with nolibc, the small C library in the kernel's own source.
#include <linux/fcntl.h>

// One read: what the kernel has to say at once, as a string without its last newline
static int slurp(const char *path, char *text, int size) {
  int fd = open(path, O_RDONLY), length = fd < 0 ? -1 : read(fd, text, size - 1);
  if (fd >= 0) close(fd);
  if (length > 0 && text[length - 1] == '\n') length--;
  text[length < 0 ? 0 : length] = 0;
  return length;
}

// Joins strings up to a null pointer
static char *join(char *to, ...) {
  char *at = to;
  const char *from;
  va_list list;
  va_start(list, to);
  while ((from = va_arg(list, const char *)))
    while (*from) *at++ = *from++;
  va_end(list);
  *at = 0;
  return to;
}

static int has_word(const char *text, const char *word) {
  int length = strlen(word);
  for (const char *at = text; (at = strchr(at, word[0])); at++)
    if (!strncmp(at, word, length) && (at == text || at[-1] == ' ') && (!at[length] || at[length] == ' ')) return 1;
  return 0;
}

// /dev/virtio-ports/NAME for each named port, as udev does elsewhere
static void link_ports(void) {
  char entries[4096], path[320], name[256], target[320];
  int fd = open("/sys/class/virtio-ports", O_RDONLY | O_DIRECTORY), length;
  if (fd < 0) return;
  while ((length = getdents64(fd, (struct linux_dirent64 *)entries, sizeof(entries))) > 0)
    for (int at = 0; at < length;) {
      struct linux_dirent64 *entry = (struct linux_dirent64 *)(entries + at);
      at += entry->d_reclen;
      if (entry->d_name[0] == '.' || slurp(join(path, "/sys/class/virtio-ports/", entry->d_name, "/name", 0), name, sizeof(name)) <= 0) continue;
      mkdir("/dev/virtio-ports", 0755);
      symlink(join(target, "../", entry->d_name, 0), join(path, "/dev/virtio-ports/", name, 0));
    }
  close(fd);
}

int main(int argc, char **argv, char **envp) {
  char consoles[256], command_line[4096], inittab[512];
  const char *self = argv[0], *slash = strrchr(self, '/');
  if (!strcmp(slash ? slash + 1 : self, "ringlet-ports")) {
    link_ports();
    return 0;
  }

  mount("dev", "/dev", "devtmpfs", 0, "mode=755");
  mount("proc", "/proc", "proc", 0, 0);
  mount("sys", "/sys", "sysfs", 0, 0);
  mount("debug", "/sys/kernel/debug", "debugfs", 0, 0);
  mkdir("/dev/pts", 0755);
  mount("pts", "/dev/pts", "devpts", 0, "mode=620,gid=5");
  link_ports();

  // The console of a multiport device is announced by its host, which may be a little later than this
  while (slurp("/sys/class/tty/console/active", consoles, sizeof(consoles)) <= 0) msleep(10);
  const char *tty = strrchr(consoles, ' ');
  tty = tty ? tty + 1 : consoles;
  if (!strcmp(tty, "tty0")) tty = "tty1";
  int display = !strncmp(tty, "tty", 3) && tty[3] >= '0' && tty[3] <= '9';

  slurp("/proc/cmdline", command_line, sizeof(command_line));
  join(inittab,
       has_word(command_line, "ringlet.exec") ? "::respawn:/sbin/ringlet-exec\n" : "",
       has_word(command_line, "ip=dhcp") ? "::once:/bin/udhcpc -n -q -i eth0\n" : "",
       tty, "::respawn:-/bin/sh\n",
       "::ctrlaltdel:/sbin/reboot\n"
       "::shutdown:/bin/umount -a -r 2> /dev/null\n", 0);
  int fd = open("/etc/inittab", O_WRONLY | O_CREAT, 0644);
  write(fd, inittab, strlen(inittab));
  close(fd);

  char *arguments[] = {"init", 0};
  char *environment[] = {"HOME=/root", display ? "TERM=linux" : "TERM=xterm-256color", 0};
  return execve("/sbin/init", arguments, environment);
}
